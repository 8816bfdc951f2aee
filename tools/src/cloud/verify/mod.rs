//! Checks packaged disks by reading them back: the form, the sizes, the checksums, and that the disk inside is the source.
//!
//! Nothing here is shared with the writers but the layout's constants and how holes are found, so that a mistake in a
//! writer is not repeated.

mod archive;
mod disk;
mod fields;
mod gpt;
mod vhd;
mod vmdk;

#[cfg(test)]
mod tests;

use std::{fs::File, path::Path};

use anyhow::{Context as _, Result, ensure};

use self::vhd::Unit;
pub use self::{
    archive::open as unpack,
    disk::{Disk, Flat},
    gpt::check as partition_tables,
};
use super::Form;
use crate::progress::Progress;

/// Opens the disk in a packaged file, and checks the file's form. An archive is unpacked into the file's folder.
pub fn open(form: Form, packaged: &Path, progress: &mut Progress) -> Result<Box<dyn Disk>> {
    let file = File::open(packaged)?;
    let folder = packaged.parent().context("a file has a folder")?;
    Ok(match form {
        Form::GcpArchive => Box::new(archive::open(file, &tempfile::tempfile_in(folder)?, progress)?),
        Form::AwsRaw => Box::new(Flat::whole(file)?),
        Form::AwsVhd => Box::new(vhd::open(file, Unit::Sector)?),
        Form::AwsVmdk => Box::new(vmdk::open(file)?),
        Form::AzureVhd => Box::new(vhd::open(file, Unit::Mebibyte)?),
    })
}

/// Checks a packaged file against the disk that it was made of.
pub fn check(form: Form, packaged: &Path, source: &Path) -> Result<()> {
    let name = packaged.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let size = packaged.metadata()?.len();
    let progress = &mut Progress::new(format!("reading {name} back"), size);
    let inside = open(form, packaged, progress)?;
    let source = Flat::whole(File::open(source)?)?;
    match form {
        // Only these may have to grow.
        Form::GcpArchive | Form::AzureVhd => {
            ensure!(
                inside.size() >= source.size(),
                "the disk has {} bytes, the source {}",
                inside.size(),
                source.size()
            );
        }
        Form::AwsRaw | Form::AwsVhd | Form::AwsVmdk => {
            ensure!(
                inside.size() == source.size(),
                "the disk has {} bytes, the source {}",
                inside.size(),
                source.size()
            );
        }
    }
    gpt::same(&source, &*inside, progress)
}
