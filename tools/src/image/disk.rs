//! Writes a disk: partition tables, boot code, and a file system of given files.

use std::{
    collections::BTreeSet,
    io::{Cursor, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions, format_volume};
use gpt::{GptConfig, disk::LogicalBlockSize, mbr::ProtectiveMBR, partition_types};

use super::MAXIMUM_FILES;

const SECTOR: usize = 512;

/// First sector of each partition: both on borders of 1 MiB, as firmware and flash like it.
const BIOS_BOOT_START: u64 = 2048;
const SYSTEM_START: u64 = 4096;

/// Smallest disk.
const MINIMUM_BYTES: usize = 64 << 20;

/// What the second partition table takes at the end.
const TABLE_BYTES: usize = 1 << 20;

/// A file of the system partition.
pub struct File {
    path: String,
    bytes: Vec<u8>,
}

impl File {
    /// A file; its folders are divided by `/`.
    pub fn new(path: &str, bytes: Vec<u8>) -> Self {
        Self { path: path.into(), bytes }
    }
}

/// Code that a BIOS runs.
pub struct BiosCode {
    /// The first sector's code.
    pub boot: [u8; 440],
    /// What the BIOS boot partition holds.
    pub core: Vec<u8>,
}

/// Everything on a disk.
#[derive(Default)]
pub struct Content {
    /// Files of the system partition.
    pub files: Vec<File>,
    /// Code for BIOS machines.
    pub bios: Option<BiosCode>,
}

/// LBA at which the BIOS boot partition starts.
pub const fn core_sector() -> u64 {
    BIOS_BOOT_START
}

/// Writes a disk image.
pub fn write(content: &Content, output: &Path) -> Result<()> {
    crate::package::write(output, &encode(content)?)
}

fn encode(content: &Content) -> Result<Vec<u8>> {
    let files: usize = content.files.iter().map(|file| file.bytes.len()).sum();
    ensure!(files <= MAXIMUM_FILES, "the files are too large for the image: {} MiB", files >> 20);
    // A sixteenth more holds FAT's tables and the ends of clusters.
    let start = usize::try_from(SYSTEM_START)? * SECTOR;
    let bytes = (start + files + files / 16 + (4 << 20)).max(MINIMUM_BYTES).next_multiple_of(1 << 20);
    let mut disk = Cursor::new(vec![0; bytes + TABLE_BYTES]);
    let system_sectors = u64::try_from(bytes / SECTOR)? - SYSTEM_START;

    let last = u32::try_from(disk.get_ref().len() / SECTOR - 1).context("the disk is too large")?;
    let mut mbr = ProtectiveMBR::with_lb_size(last);
    if let Some(bios) = &content.bios {
        mbr.set_bootcode(bios.boot);
    }
    mbr.overwrite_lba0(&mut disk)?;
    let mut table = GptConfig::new()
        .writable(true)
        .logical_block_size(LogicalBlockSize::Lb512)
        .create_from_device(&mut disk, None)?;
    table.add_partition_at(
        "BIOS boot",
        1,
        BIOS_BOOT_START,
        SYSTEM_START - BIOS_BOOT_START,
        partition_types::BIOS,
        0,
    )?;
    table.add_partition_at("capOS", 2, SYSTEM_START, system_sectors, partition_types::EFI, 0)?;
    table.write()?;

    if let Some(bios) = &content.bios {
        let room = usize::try_from(SYSTEM_START - BIOS_BOOT_START)? * SECTOR;
        ensure!(
            bios.core.len() <= room,
            "the boot loader's second stage is too large: {} bytes",
            bios.core.len()
        );
        disk.seek(SeekFrom::Start(BIOS_BOOT_START * SECTOR as u64))?;
        disk.write_all(&bios.core)?;
    }
    let system = file_system(&content.files, usize::try_from(system_sectors)? * SECTOR)?;
    disk.seek(SeekFrom::Start(SYSTEM_START * SECTOR as u64))?;
    disk.write_all(&system)?;
    Ok(disk.into_inner())
}

/// A FAT32 file system with these files [UEFI 13.3: the system partition of a fixed disk is FAT32].
fn file_system(files: &[File], bytes: usize) -> Result<Vec<u8>> {
    let mut volume = Cursor::new(vec![0; bytes]);
    // FAT32 needs 65525 clusters at least: the smallest partition has them with clusters of one sector only.
    let cluster = if bytes < 256 << 20 { SECTOR } else { 4096 };
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat32)
        .bytes_per_cluster(u32::try_from(cluster)?)
        .volume_label(*b"CAPOS      ");
    format_volume(&mut volume, options).context("cannot format the system partition")?;
    {
        let system = FileSystem::new(&mut volume, FsOptions::new())?;
        let root = system.root_dir();
        let mut folders = BTreeSet::new();
        for file in files {
            for (end, _) in file.path.match_indices('/') {
                let folder = file.path.get(..end).unwrap_or_default();
                if folders.insert(folder) {
                    root.create_dir(folder).with_context(|| folder.to_owned())?;
                }
            }
            let mut out = root.create_file(&file.path).with_context(|| file.path.clone())?;
            out.write_all(&file.bytes).with_context(|| file.path.clone())?;
        }
    }
    Ok(volume.into_inner())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn example(bios: Option<BiosCode>) -> Content {
        let files = vec![
            File::new("EFI/BOOT/BOOTX64.EFI", b"loader".to_vec()),
            File::new("boot/kernel", vec![7; 100_000]),
            File::new("boot/grub/grub.cfg", b"boot".to_vec()),
        ];
        Content { files, bios }
    }

    #[test]
    fn a_disk_has_both_partitions_and_the_files() {
        let disk = encode(&example(None)).expect("a disk");
        assert!(disk.len() >= MINIMUM_BYTES);
        let table = GptConfig::new().open_from_device(Cursor::new(disk.clone())).expect("a table");
        let partitions = table.partitions();
        assert_eq!(partitions[&1].part_type_guid, partition_types::BIOS);
        assert_eq!(partitions[&2].part_type_guid, partition_types::EFI);
        let start = usize::try_from(partitions[&2].first_lba).expect("small") * SECTOR;
        let end = usize::try_from(partitions[&2].last_lba + 1).expect("small") * SECTOR;
        let system = FileSystem::new(Cursor::new(disk[start..end].to_vec()), FsOptions::new()).expect("FAT");
        assert_eq!(system.fat_type(), FatType::Fat32);
        let mut kernel = Vec::new();
        system
            .root_dir()
            .open_file("boot/kernel")
            .expect("there")
            .read_to_end(&mut kernel)
            .expect("readable");
        assert_eq!(kernel, vec![7; 100_000]);
    }

    #[test]
    fn boot_code_and_second_stage_lie_where_the_bios_looks() {
        let bios = BiosCode { boot: [0x90; 440], core: vec![0xcc; 1000] };
        let disk = encode(&example(Some(bios))).expect("a disk");
        assert_eq!(disk[..440], [0x90; 440]);
        assert_eq!(disk[510..512], [0x55, 0xaa]);
        let core = usize::try_from(core_sector()).expect("small") * SECTOR;
        assert_eq!(disk[core..core + 1000], [0xcc; 1000]);
    }

    #[test]
    fn a_second_stage_that_does_not_fit_is_refused() {
        let bios = BiosCode { boot: [0; 440], core: vec![0; 2 << 20] };
        assert!(encode(&example(Some(bios))).is_err());
    }
}
