//! Writes a disk: partition tables, boot code, and a file system of given files.

use std::{
    collections::BTreeSet,
    fs,
    io::{Cursor, Write as _},
    os::unix::fs::FileExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use fatfs::{
    Date, DateTime, FatType, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider, format_volume,
};
use gpt::{GptConfig, disk::LogicalBlockSize, mbr::ProtectiveMBR, partition_types};

use super::{
    identity::Identity,
    layout::{self, Mebibytes, SECTOR_BYTES},
};
use crate::sparse::{self, NewFile};

/// Bytes of a cluster. FAT32 needs 65525 of them at least [FAT 1.03, FAT Type Determination]: the system
/// partition has twice as many of this size.
const CLUSTER: u32 = 1024;

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

    /// Where it is in the system partition.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is in it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
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
    layout::BIOS_BOOT_START
}

/// Writes a disk image. `finish` may change the file before it takes its name.
pub fn write(
    content: &Content,
    size: Mebibytes,
    output: &Path,
    finish: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let mut disk = NewFile::create(output, size.check()?.bytes())?;
    let identity = Identity::of(content, size.sectors());
    write_tables(content, size, &identity, disk.file())?;
    if let Some(bios) = &content.bios {
        let room = layout::BIOS_BOOT_SECTORS * SECTOR_BYTES;
        ensure!(
            bios.core.len() as u64 <= room,
            "the boot loader's second stage is too large: {} bytes",
            bios.core.len()
        );
        disk.file().write_all_at(&bios.core, layout::BIOS_BOOT_START * SECTOR_BYTES)?;
    }
    let system = file_system(&content.files, identity.volume_id())?;
    sparse::write_at(disk.file(), layout::SYSTEM_START * SECTOR_BYTES, &system)?;
    finish(disk.path())?;
    disk.complete()
}

fn write_tables(content: &Content, size: Mebibytes, identity: &Identity, disk: &mut fs::File) -> Result<()> {
    let last = u32::try_from(size.sectors() - 1).context("the disk is too large")?;
    let mut mbr = ProtectiveMBR::with_lb_size(last);
    if let Some(bios) = &content.bios {
        mbr.set_bootcode(bios.boot);
    }
    mbr.overwrite_lba0(disk)?;
    let mut table = GptConfig::new()
        .writable(true)
        .logical_block_size(LogicalBlockSize::Lb512)
        .create_from_device(disk, Some(identity.guid("disk")))?;
    let partitions = [
        ("BIOS boot", layout::BIOS_BOOT_START, layout::BIOS_BOOT_SECTORS, partition_types::BIOS),
        ("capOS", layout::SYSTEM_START, layout::SYSTEM_SECTORS, partition_types::EFI),
        ("capOS data", layout::DATA_START, size.data_sectors(), layout::data_type()),
    ];
    for (number, (name, start, sectors, kind)) in (1..).zip(partitions) {
        table.add_partition_at(name, number, start, sectors, kind, 0)?;
    }
    // The crate gives each a random GUID.
    let mut partitions = table.take_partitions();
    for partition in partitions.values_mut() {
        partition.part_guid = identity.guid(&partition.name);
    }
    table.update_partitions(partitions)?;
    table.write()?;
    Ok(())
}

/// A clock that stands at FAT's first day, so that the same files give the same bytes.
#[derive(Debug)]
struct FirstDay;

impl TimeProvider for FirstDay {
    fn get_current_date(&self) -> Date {
        Date { year: 1980, month: 1, day: 1 }
    }

    fn get_current_date_time(&self) -> DateTime {
        DateTime { date: self.get_current_date(), time: Time { hour: 0, min: 0, sec: 0, millis: 0 } }
    }
}

/// A FAT32 file system with these files [UEFI 13.3: the system partition of a fixed disk is FAT32].
fn file_system(files: &[File], volume_id: u32) -> Result<Vec<u8>> {
    let bytes = usize::try_from(layout::SYSTEM_SECTORS * SECTOR_BYTES)?;
    let sum: usize = files.iter().map(|file| file.bytes.len()).sum();
    ensure!(
        sum < bytes,
        "the files, {} MiB, do not fit in a system partition of {} MiB",
        sum >> 20,
        bytes >> 20
    );
    let mut volume = Cursor::new(vec![0; bytes]);
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat32)
        .bytes_per_cluster(CLUSTER)
        .volume_id(volume_id)
        .volume_label(*b"CAPOS      ");
    format_volume(&mut volume, options).context("cannot format the system partition")?;
    {
        let system = FileSystem::new(&mut volume, FsOptions::new().time_provider(&FirstDay))?;
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
    use std::{io::Read as _, os::unix::fs::MetadataExt as _};

    use super::*;

    fn example(bios: Option<BiosCode>) -> Content {
        let files = vec![
            File::new("EFI/BOOT/BOOTX64.EFI", b"loader".to_vec()),
            File::new("boot/kernel", vec![7; 100_000]),
            File::new("boot/grub/grub.cfg", b"boot".to_vec()),
        ];
        Content { files, bios }
    }

    fn encode(content: &Content) -> Result<Vec<u8>> {
        let folder = tempfile::tempdir()?;
        let output = folder.path().join("disk");
        write(content, Mebibytes::DEFAULT, &output, |_| Ok(()))?;
        let blocks = fs::metadata(&output)?.blocks();
        ensure!(blocks * 512 < 8 << 20, "the file has no holes: {blocks} blocks");
        Ok(fs::read(&output)?)
    }

    #[test]
    fn a_disk_has_its_partitions_and_the_files() {
        let disk = encode(&example(None)).expect("a disk");
        assert_eq!(disk.len() as u64, Mebibytes::DEFAULT.bytes());
        let table = GptConfig::new().open_from_device(Cursor::new(disk.clone())).expect("a table");
        let partitions = table.partitions();
        assert_eq!(partitions.len(), 3);
        assert_eq!(partitions[&1].part_type_guid, partition_types::BIOS);
        assert_eq!(partitions[&2].part_type_guid, partition_types::EFI);
        assert_eq!(partitions[&3].part_type_guid.guid, layout::DATA_TYPE);
        assert_eq!((partitions[&3].last_lba + 1) * SECTOR_BYTES, 255 << 20);
        let start = usize::try_from(partitions[&2].first_lba * SECTOR_BYTES).expect("small");
        let end = usize::try_from((partitions[&2].last_lba + 1) * SECTOR_BYTES).expect("small");
        assert_eq!(end - start, 128 << 20);
        let system = FileSystem::new(Cursor::new(disk[start..end].to_vec()), FsOptions::new()).expect("FAT");
        assert_eq!(system.fat_type(), FatType::Fat32);
        let mut kernel = Vec::new();
        let boot = system.root_dir().open_dir("boot").expect("there");
        boot.open_file("kernel").expect("there").read_to_end(&mut kernel).expect("readable");
        assert_eq!(kernel, vec![7; 100_000]);
        let entry = boot.iter().filter_map(Result::ok).find(|entry| entry.file_name() == "kernel");
        let date = entry.expect("there").modified().date;
        assert_eq!((date.year, date.month, date.day), (1980, 1, 1), "a clock was asked");
    }

    #[test]
    fn the_same_content_gives_the_same_bytes() {
        let first = encode(&example(None)).expect("a disk");
        assert!(first == encode(&example(None)).expect("a disk"), "the disks differ");
        let mut other = example(None);
        other.files.push(File::new("more", Vec::new()));
        assert!(first != encode(&other).expect("a disk"), "different content gave the same disk");
    }

    #[test]
    fn boot_code_and_second_stage_lie_where_the_bios_looks() {
        let bios = BiosCode { boot: [0x90; 440], core: vec![0xcc; 1000] };
        let disk = encode(&example(Some(bios))).expect("a disk");
        assert_eq!(disk[..440], [0x90; 440]);
        assert_eq!(disk[510..512], [0x55, 0xaa]);
        let core = usize::try_from(core_sector() * SECTOR_BYTES).expect("small");
        assert_eq!(disk[core..core + 1000], [0xcc; 1000]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let bios = BiosCode { boot: [0; 440], core: vec![0; (1 << 20) + 1] };
        let error = encode(&example(Some(bios))).expect_err("refused").to_string();
        assert_eq!(error, "the boot loader's second stage is too large: 1048577 bytes");
        let mut large = example(None);
        large.files.push(File::new("large", vec![0; 128 << 20]));
        let error = encode(&large).expect_err("refused").to_string();
        assert_eq!(error, "the files, 128 MiB, do not fit in a system partition of 128 MiB");
    }
}
