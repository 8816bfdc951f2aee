//! Reads and checks the partition tables of a disk [UEFI 2.10 5.2.3, 5.3]. It shares nothing with what writes them.

use std::ops::Range;

use anyhow::{Result, ensure};
use uuid::Uuid;

use super::{
    disk::{self, Disk},
    fields::{le32, le64, take},
};
use crate::{
    image::layout::{DATA_TYPE, SECTOR_BYTES},
    progress::Progress,
};

const SECTOR: usize = SECTOR_BYTES as usize;

/// Size of a header of revision 1.0, and of the entries that we write.
const HEADER_BYTES: usize = 92;
const ENTRY_BYTES: u32 = 128;
const ENTRIES: u32 = 128;
const ENTRY_SECTORS: u64 = (ENTRY_BYTES * ENTRIES) as u64 / SECTOR_BYTES;

/// Types of the first two partitions [UEFI 2.10 5.3.3; GRUB's manual, BIOS installation].
const BIOS_BOOT: Uuid = Uuid::from_u128(0x21686148_6449_6e6f_744e_656564454649);
const EFI_SYSTEM: Uuid = Uuid::from_u128(0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b);

/// Bytes of code in the first sector.
const BOOT_CODE: Range<u64> = 0..440;

/// The tables of a disk.
#[derive(Debug)]
pub struct Table {
    /// The disk's GUID.
    pub disk: Uuid,
    /// All entries, as they are.
    entries: Vec<u8>,
    /// Used partitions, in the order of their entries.
    pub partitions: Vec<Partition>,
}

/// A partition.
#[derive(Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its type's GUID.
    pub kind: Uuid,
    /// Its bytes.
    pub range: Range<u64>,
}

/// What one of the two headers says.
struct Header {
    sector: u64,
    other: u64,
    usable: Range<u64>,
    disk: Uuid,
    entries_start: u64,
    entries_checksum: u32,
}

/// Reads and checks a disk's protective MBR and both partition tables.
pub fn check(disk: &dyn Disk) -> Result<Table> {
    ensure!(
        disk.size().is_multiple_of(SECTOR_BYTES),
        "the disk has {} bytes, which are no whole sectors",
        disk.size()
    );
    let sectors = disk.size() / SECTOR_BYTES;
    ensure!(
        sectors > 2 * (ENTRY_SECTORS + 2),
        "the disk has {sectors} sectors, too few for partition tables"
    );
    check_protective(disk, sectors)?;
    let primary = header(disk, 1, "first")?;
    ensure!(
        primary.other == sectors - 1,
        "the first GPT header says that the second is at sector {}, but the disk's last sector is {}",
        primary.other,
        sectors - 1
    );
    let backup = header(disk, sectors - 1, "second")?;
    ensure!(backup.other == 1, "the second GPT header says that the first is at sector {}", backup.other);
    ensure!(
        primary.disk == backup.disk,
        "the GPT headers name two disks: {} and {}",
        primary.disk,
        backup.disk
    );
    ensure!(primary.usable == backup.usable, "the GPT headers differ in which sectors are usable");
    let usable = 2 + ENTRY_SECTORS..sectors - 1 - ENTRY_SECTORS;
    ensure!(
        primary.usable == usable,
        "the GPT says that sectors {} to {} are usable; of this disk, {} to {} are",
        primary.usable.start,
        primary.usable.end.wrapping_sub(1),
        usable.start,
        usable.end - 1
    );
    ensure!(primary.entries_start == 2, "the first GPT entries start at sector {}", primary.entries_start);
    ensure!(
        backup.entries_start == usable.end,
        "the second GPT entries start at sector {}",
        backup.entries_start
    );
    let entries = read_entries(disk, &primary, "first")?;
    ensure!(entries == read_entries(disk, &backup, "second")?, "the two tables of GPT entries differ");
    let partitions = partitions(&entries, &usable)?;
    let kinds: Vec<Uuid> = partitions.iter().map(|partition| partition.kind).collect();
    ensure!(
        kinds == [BIOS_BOOT, EFI_SYSTEM, DATA_TYPE],
        "the partitions are not BIOS boot, EFI system and capOS data, but {kinds:?}"
    );
    Ok(Table { disk: primary.disk, entries, partitions })
}

/// Checks that `inside` has the boot code, the table's entries and the partitions of `source`, and nothing more. The
/// disk may be larger.
pub fn same(source: &dyn Disk, inside: &dyn Disk, progress: &mut Progress) -> Result<()> {
    let (ours, theirs) = (check(source)?, check(inside)?);
    disk::equal(source, inside, BOOT_CODE, "the boot code", progress)?;
    ensure!(ours.disk == theirs.disk, "the disk is {}, but the source is {}", theirs.disk, ours.disk);
    ensure!(ours.entries == theirs.entries, "the disk has other partitions than the source");
    for (number, partition) in (1..).zip(&ours.partitions) {
        let name = format!("partition {number}");
        disk::equal(source, inside, partition.range.clone(), &name, progress)?;
    }
    // Tables and partitions are equal: all else has to be nothing.
    let tables = [
        0..(2 + ENTRY_SECTORS) * SECTOR_BYTES,
        inside.size() - (1 + ENTRY_SECTORS) * SECTOR_BYTES..inside.size(),
    ];
    let known: Vec<_> =
        tables.into_iter().chain(theirs.partitions.iter().map(|partition| partition.range.clone())).collect();
    let mut buffer = [0; SECTOR];
    for extent in inside.extents()? {
        for start in extent.step_by(SECTOR) {
            if known.iter().any(|known| known.contains(&start)) {
                continue;
            }
            inside.read_at(&mut buffer, start)?;
            ensure!(
                buffer == [0; SECTOR],
                "the disk has something outside of its partitions, at byte {start:#x}"
            );
        }
    }
    Ok(())
}

fn sector(disk: &dyn Disk, number: u64) -> Result<[u8; SECTOR]> {
    let mut sector = [0; SECTOR];
    disk.read_at(&mut sector, number * SECTOR_BYTES)?;
    Ok(sector)
}

/// [UEFI 2.10 5.2.3] The one partition of type 0xEE covers all of the disk.
fn check_protective(disk: &dyn Disk, sectors: u64) -> Result<()> {
    let sector = sector(disk, 0)?;
    ensure!(take(&sector, 510) == [0x55, 0xaa], "the MBR's signature is missing");
    let entry: [u8; 16] = take(&sector, 446);
    ensure!(
        take(&entry, 4) == [0xee],
        "the MBR's first partition is of type {:#04x}, not protective",
        entry[4]
    );
    ensure!(le32(&entry, 8) == 1, "the protective partition starts at sector {}", le32(&entry, 8));
    let expected = u32::try_from(sectors - 1).unwrap_or(u32::MAX);
    ensure!(
        le32(&entry, 12) == expected,
        "the protective partition has {} sectors; it should have {expected}",
        le32(&entry, 12)
    );
    ensure!(take::<48>(&sector, 462) == [0; 48], "the MBR has more than one partition");
    Ok(())
}

fn header(disk: &dyn Disk, number: u64, name: &str) -> Result<Header> {
    let sector = sector(disk, number)?;
    ensure!(take(&sector, 0) == *b"EFI PART", "the {name} GPT header is missing");
    ensure!(
        le32(&sector, 8) == 0x0001_0000,
        "the {name} GPT header is of revision {:#010x}",
        le32(&sector, 8)
    );
    ensure!(
        le32(&sector, 12) == HEADER_BYTES as u32,
        "the {name} GPT header has {} bytes",
        le32(&sector, 12)
    );
    let mut bytes: [u8; HEADER_BYTES] = take(&sector, 0);
    let stated = le32(&bytes, 16);
    // The checksum is made with zeros in its own place.
    bytes[16..20].fill(0);
    let checksum = crc32fast::hash(&bytes);
    ensure!(
        stated == checksum,
        "the {name} GPT header's checksum is {stated:#010x}; it should be {checksum:#010x}"
    );
    ensure!(
        le64(&bytes, 24) == number,
        "the {name} GPT header says that it is at sector {}",
        le64(&bytes, 24)
    );
    ensure!(
        le32(&bytes, 80) == ENTRIES && le32(&bytes, 84) == ENTRY_BYTES,
        "the {name} GPT header has {} entries of {} bytes",
        le32(&bytes, 80),
        le32(&bytes, 84)
    );
    Ok(Header {
        sector: number,
        other: le64(&bytes, 32),
        usable: le64(&bytes, 40)..le64(&bytes, 48).saturating_add(1),
        disk: Uuid::from_bytes_le(take(&bytes, 56)),
        entries_start: le64(&bytes, 72),
        entries_checksum: le32(&bytes, 88),
    })
}

fn read_entries(disk: &dyn Disk, header: &Header, name: &str) -> Result<Vec<u8>> {
    let mut entries = vec![0; (ENTRY_BYTES * ENTRIES) as usize];
    disk.read_at(&mut entries, header.entries_start * SECTOR_BYTES)?;
    let checksum = crc32fast::hash(&entries);
    ensure!(
        checksum == header.entries_checksum,
        "the {name} GPT entries' checksum is {:#010x} in the header at sector {}; it should be {checksum:#010x}",
        header.entries_checksum,
        header.sector
    );
    Ok(entries)
}

fn partitions(entries: &[u8], usable: &Range<u64>) -> Result<Vec<Partition>> {
    let mut partitions: Vec<Partition> = Vec::new();
    for (number, entry) in (1..).zip(entries.chunks_exact(ENTRY_BYTES as usize)) {
        let kind = Uuid::from_bytes_le(take(entry, 0));
        if kind.is_nil() {
            continue;
        }
        let (first, last) = (le64(entry, 32), le64(entry, 40));
        ensure!(first <= last, "partition {number} ends before it starts");
        ensure!(
            usable.contains(&first) && usable.contains(&last),
            "partition {number}, sectors {first} to {last}, is not in the usable sectors"
        );
        let range = first * SECTOR_BYTES..(last + 1) * SECTOR_BYTES;
        if let Some(other) =
            partitions.iter().position(|other| other.range.start < range.end && range.start < other.range.end)
        {
            anyhow::bail!("partition {number} overlaps partition {}", other + 1);
        }
        partitions.push(Partition { kind, range });
    }
    Ok(partitions)
}
