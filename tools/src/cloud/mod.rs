//! Disks in the forms that clouds import.
//!
//! | form | file | disk |
//! |---|---|---|
//! | Compute Engine | `disk.raw.tar.gz` | grown to whole GiB |
//! | EC2 | `capos-aws.raw`, `capos-aws.vhd`, `capos-aws.vmdk` | as it is |
//! | Azure | `capos-azure.vhd` | grown to whole MiB |
//!
//! Each is written next to its name, read back and compared with its source, and only then takes its name.

mod archive;
mod boot;
mod grow;
mod verify;
mod vhd;
mod vmdk;

use std::{fs::File, io::BufWriter, os::unix::fs::MetadataExt as _, path::Path, time::Instant};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

pub use self::boot::{boot, run as run_images};
use self::verify::Flat;
pub use self::verify::{Disk, check, open, partition_tables};
use crate::{
    paths::Paths,
    progress::Progress,
    qemu::DiskFormat,
    sparse::{self, NewFile},
};

/// Who imports a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Cloud {
    /// Google Compute Engine.
    Gcp,
    /// Amazon EC2.
    Aws,
    /// Microsoft Azure.
    Azure,
}

impl Cloud {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Gcp, Self::Aws, Self::Azure];
}

/// A packaged form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A gzip stream of a tar archive with the member `disk.raw`.
    GcpArchive,
    /// The disk's bytes.
    AwsRaw,
    /// A fixed VHD.
    AwsVhd,
    /// A stream-optimized VMDK.
    AwsVmdk,
    /// A fixed VHD of whole MiB.
    AzureVhd,
}

impl Form {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::GcpArchive, Self::AwsRaw, Self::AwsVhd, Self::AwsVmdk, Self::AzureVhd];

    /// Name of the file.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::GcpArchive => "disk.raw.tar.gz",
            Self::AwsRaw => "capos-aws.raw",
            Self::AwsVhd => "capos-aws.vhd",
            Self::AwsVmdk => "capos-aws.vmdk",
            Self::AzureVhd => "capos-azure.vhd",
        }
    }

    /// Who imports it.
    pub const fn cloud(self) -> Cloud {
        match self {
            Self::GcpArchive => Cloud::Gcp,
            Self::AwsRaw | Self::AwsVhd | Self::AwsVmdk => Cloud::Aws,
            Self::AzureVhd => Cloud::Azure,
        }
    }

    /// The form of the disk inside, for QEMU.
    pub const fn disk_format(self) -> DiskFormat {
        match self {
            Self::GcpArchive | Self::AwsRaw => DiskFormat::Raw,
            Self::AwsVhd | Self::AzureVhd => DiskFormat::Vhd,
            Self::AwsVmdk => DiskFormat::Vmdk,
        }
    }

    /// What the disk's size must be a multiple of, in bytes.
    const fn unit(self) -> u64 {
        match self {
            Self::GcpArchive => 1 << 30,
            Self::AzureVhd => 1 << 20,
            Self::AwsRaw | Self::AwsVhd | Self::AwsVmdk => 512,
        }
    }
}

/// Name of the only member of an archive.
pub const MEMBER: &str = "disk.raw";

/// Packages a disk in every form of these clouds, and prints what was written.
pub fn package(paths: &Paths, source: &Path, clouds: &[Cloud]) -> Result<()> {
    for form in Form::ALL.into_iter().filter(|form| clouds.contains(&form.cloud())) {
        let output = paths.cloud_folder().join(form.file_name());
        package_form(form, source, &output)?;
    }
    Ok(())
}

/// Packages a disk in one form, reads it back, and prints what was written.
pub fn package_form(form: Form, source: &Path, output: &Path) -> Result<()> {
    let started = Instant::now();
    let mut file = NewFile::create(output, 0)?;
    write(form, source, &mut file).with_context(|| output.display().to_string())?;
    check(form, file.path(), source).with_context(|| format!("{}, read back", output.display()))?;
    file.complete()?;
    let data = output.metadata()?;
    println!(
        "{}: {} bytes, {} KiB on disk, {:.1} s, sha256 {}",
        output.display(),
        data.len(),
        data.blocks() / 2,
        started.elapsed().as_secs_f64(),
        hex(&digest(output)?)
    );
    Ok(())
}

fn write(form: Form, source: &Path, output: &mut NewFile) -> Result<()> {
    let mut source = File::open(source).with_context(|| source.display().to_string())?;
    let length = source.metadata()?.len();
    let progress = &mut Progress::new(format!("writing {}", form.file_name()), length);
    let id = identity(&source)?;
    if !length.is_multiple_of(form.unit()) {
        source = grown(&source, form.unit(), output.path(), progress)?;
    }
    let length = source.metadata()?.len();
    match form {
        Form::GcpArchive => archive::write(&source, MEMBER, BufWriter::new(output.file()), progress),
        Form::AwsRaw => {
            output.file().set_len(length)?;
            Ok(sparse::copy(&source, output.file(), 0, progress)?)
        }
        Form::AwsVhd | Form::AzureVhd => {
            output.file().set_len(length + vhd::FOOTER_BYTES)?;
            vhd::write(&source, id, output.file(), progress)
        }
        Form::AwsVmdk => {
            let id = u32::from_le_bytes(id.into_bytes().first_chunk().copied().unwrap_or_default());
            // The two highest numbers mean that there is no content, or no parent.
            vmdk::write(&source, form.file_name(), id >> 1, BufWriter::new(output.file()), progress)
        }
    }
}

/// A copy of a disk that has grown to a multiple of `unit`. The file has no name.
fn grown(source: &File, unit: u64, near: &Path, progress: &mut Progress) -> Result<File> {
    let length = source.metadata()?.len();
    let mut copy = NewFile::create(&near.with_extension("grown"), length)?;
    sparse::copy(source, copy.file(), 0, progress)?;
    grow::to_multiple(copy.file(), unit)?;
    Ok(copy.file().try_clone()?)
}

/// What tells a disk's content from others: its GUID, which follows from the content.
fn identity(source: &File) -> Result<Uuid> {
    let disk = Flat::whole(source.try_clone()?)?;
    Ok(partition_tables(&disk).context("the source")?.disk)
}

/// SHA-256 of a file.
pub fn digest(path: &Path) -> Result<[u8; 32]> {
    let mut file = File::open(path).with_context(|| path.display().to_string())?;
    let progress = &mut Progress::new(format!("hashing {}", path.display()), file.metadata()?.len());
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut length = 0;
    loop {
        let read = std::io::Read::read(&mut file, &mut buffer)?;
        if read == 0 {
            return Ok(hash.finalize().into());
        }
        hash.update(buffer.get(..read).unwrap_or_default());
        length += read as u64;
        progress.at(length);
    }
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
