//! What is on a disk, part by part, each with its hash.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read as _},
};

use anyhow::{Context as _, Result, ensure};
use capnp::message::{ReaderOptions, SegmentArray};
use fatfs::{Dir, FileSystem, FsOptions};
use schema::boot_capnp::boot_package;
use sha2::{Digest as _, Sha256};

use crate::cloud::{Disk, partition_tables};

/// A hash.
pub type Sha = [u8; 32];

/// Bytes of code in the first sector.
const BOOT_CODE: usize = 440;

/// Where the boot package is in the system partition.
const PACKAGE: &str = "boot/package";

/// Names of all parts of a disk that were built, with their hashes. The names are those of the record:
///
/// | name | what |
/// |---|---|
/// | `boot-code` | the first sector's code |
/// | `bios-boot` | the BIOS boot partition |
/// | `esp/<path>` | a file of the system partition |
/// | `program/<name>` | a program in the boot package |
/// | `manifest` | the manifest in the boot package, as a canonical message |
pub type Parts = BTreeMap<String, Sha>;

/// The name of what this repository built, if a part is such.
pub fn built_here(part: &str) -> Option<&str> {
    match part {
        "esp/boot/kernel" => Some("kernel"),
        "esp/boot/loader" => Some("loader"),
        other => other.strip_prefix("program/"),
    }
}

/// Reads all parts of a disk.
pub fn read(disk: &dyn Disk) -> Result<Parts> {
    let partitions = partition_tables(disk)?.partitions;
    let [bios_boot, system, _data] = &partitions[..] else { anyhow::bail!("the disk has other partitions") };
    let mut parts = Parts::new();
    parts.insert("boot-code".into(), hash(&bytes(disk, 0..BOOT_CODE as u64)?));
    parts.insert("bios-boot".into(), hash(&bytes(disk, bios_boot.range.clone())?));
    let volume = Cursor::new(bytes(disk, system.range.clone())?);
    let system = FileSystem::new(volume, FsOptions::new()).context("the system partition cannot be read")?;
    let mut files = BTreeMap::new();
    read_folder(&system.root_dir(), "", &mut files)?;
    for (path, content) in &files {
        parts.insert(format!("esp/{path}"), hash(content));
    }
    let package = files.get(PACKAGE).with_context(|| format!("the system partition has no {PACKAGE}"))?;
    read_package(package, &mut parts).context("the boot package")?;
    Ok(parts)
}

fn hash(bytes: &[u8]) -> Sha {
    Sha256::digest(bytes).into()
}

fn bytes(disk: &dyn Disk, range: std::ops::Range<u64>) -> Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(range.end - range.start)?];
    disk.read_at(&mut bytes, range.start)?;
    Ok(bytes)
}

fn read_folder(
    folder: &Dir<'_, Cursor<Vec<u8>>>,
    path: &str,
    files: &mut BTreeMap<String, Vec<u8>>,
) -> Result<()> {
    for entry in folder.iter() {
        let entry = entry.with_context(|| format!("the folder /{path} cannot be read"))?;
        let name = entry.file_name();
        if name == "." || name == ".." {
            continue;
        }
        let path = if path.is_empty() { name } else { format!("{path}/{name}") };
        if entry.is_dir() {
            read_folder(&entry.to_dir(), &path, files)?;
        } else {
            let mut content = Vec::new();
            entry.to_file().read_to_end(&mut content).with_context(|| format!("/{path} cannot be read"))?;
            files.insert(path, content);
        }
    }
    Ok(())
}

/// Programs and manifest of a boot package, which is one segment without a table. Checks the hashes that it states.
fn read_package(package: &[u8], parts: &mut Parts) -> Result<()> {
    let segments = [package];
    let segments = SegmentArray::new(&segments);
    let mut options = ReaderOptions::new();
    options.traversal_limit_in_words(Some(2 * package.len() / 8));
    let message = capnp::message::Reader::new(segments, options);
    let package = message.get_root::<boot_package::Reader<'_>>()?;
    let mut manifest = capnp::message::Builder::new_default();
    manifest.set_root_canonical(package.get_manifest()?)?;
    parts.insert("manifest".into(), hash(&manifest.get_segments_for_output().concat()));
    for binary in package.get_binaries()? {
        let name = binary.get_name()?.to_str()?;
        let sha = hash(binary.get_content()?);
        ensure!(binary.get_sha256()? == sha, "the package states another hash of {name} than it has");
        parts.insert(format!("program/{name}"), sha);
    }
    Ok(())
}
