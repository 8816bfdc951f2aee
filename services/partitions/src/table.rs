//! The partition table: a header and its entries, both from a disk that anybody may have written.

use alloc::{string::String, vec::Vec};
use core::fmt;
use gpt_disk_types::{Crc32, GptHeader, GptPartitionEntry, crc};

/// The most bytes of entries that are read: eight times what tools write.
pub const ENTRIES_BYTES: u32 = 128 << 10;

/// Bytes of the header that are there and covered by its checksum [UEFI-2.10 5.3.2].
const HEADER_BYTES: usize = 92;

/// Bytes of an entry that are used; entries may be larger.
const ENTRY_BYTES: usize = 128;

const _: () =
    assert!(size_of::<GptHeader>() == HEADER_BYTES && size_of::<GptPartitionEntry>() == ENTRY_BYTES);

/// Why a table cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableError {
    /// There is none.
    None,
    /// A checksum is wrong.
    Checksum,
    /// It stands in another block than it says.
    Place(u64),
    /// Its own numbers do not fit the disk, or each other.
    Numbers(&'static str),
    /// A partition is not inside the part of the disk that is for partitions.
    Outside(u32),
    /// Two partitions have blocks in common.
    Overlap(u32, u32),
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => write!(f, "no partition table"),
            Self::Checksum => write!(f, "a checksum is wrong"),
            Self::Place(place) => write!(f, "the table says that it stands in block {place}"),
            Self::Numbers(what) => write!(f, "{what} cannot be"),
            Self::Outside(number) => write!(f, "partition {number} lies outside of the disk's usable part"),
            Self::Overlap(first, second) => write!(f, "partitions {first} and {second} overlap"),
        }
    }
}

impl core::error::Error for TableError {}

/// A header whose numbers were checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// First block of the entries.
    pub entries_block: u64,
    /// Bytes of all entries; at most [`ENTRIES_BYTES`].
    pub entries_bytes: u32,
    entry_bytes: u32,
    checksum: Crc32,
    first_usable: u64,
    last_usable: u64,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number, from 1 on.
    pub number: u32,
    /// First block.
    pub first: u64,
    /// Number of blocks.
    pub count: u64,
    /// Its name; may be empty.
    pub name: String,
}

/// Reads the header that should stand in block `place` of a disk of `blocks` blocks.
pub fn header(bytes: &[u8], place: u64, blocks: u64, block_bytes: u32) -> Result<Header, TableError> {
    let bytes = bytes.get(..HEADER_BYTES).ok_or(TableError::None)?;
    let header: GptHeader = bytemuck::try_pod_read_unaligned(bytes).map_err(|_| TableError::None)?;
    if !header.is_signature_valid() {
        return Err(TableError::None);
    }
    if header.header_size.to_u32() as usize != HEADER_BYTES {
        return Err(TableError::Numbers("the size of the header"));
    }
    if header.header_crc32 != header.calculate_header_crc32() {
        return Err(TableError::Checksum);
    }
    if header.my_lba.to_u64() != place {
        return Err(TableError::Place(header.my_lba.to_u64()));
    }
    let (first_usable, last_usable) = (header.first_usable_lba.to_u64(), header.last_usable_lba.to_u64());
    if first_usable > last_usable || last_usable >= blocks {
        return Err(TableError::Numbers("the range of usable blocks"));
    }
    let (size, count) =
        (header.size_of_partition_entry.to_u32(), header.number_of_partition_entries.to_u32());
    let entries_bytes = size.checked_mul(count).filter(|bytes| *bytes <= ENTRIES_BYTES);
    let entries_bytes = entries_bytes.ok_or(TableError::Numbers("the number of entries"))?;
    // 128 times a power of two.
    if (size as usize) < ENTRY_BYTES || !size.is_power_of_two() || entries_bytes == 0 {
        return Err(TableError::Numbers("the size of an entry"));
    }
    let entries_block = header.partition_entry_lba.to_u64();
    let end = entries_block.checked_add(entries_bytes.div_ceil(block_bytes.max(1)).into());
    if entries_block == 0 || end.is_none_or(|end| end > blocks) {
        return Err(TableError::Numbers("the place of the entries"));
    }
    let checksum = header.partition_entry_array_crc32;
    Ok(Header { entries_block, entries_bytes, entry_bytes: size, checksum, first_usable, last_usable })
}

/// Reads the entries of a header: the partitions that are used, by number. One bad partition makes the table bad.
pub fn entries(bytes: &[u8], header: &Header) -> Result<Vec<Partition>, TableError> {
    let bytes = bytes.get(..header.entries_bytes as usize).ok_or(TableError::Numbers("the entries"))?;
    let checksum = crc::Crc::<u32>::new(&Crc32::ALGORITHM).checksum(bytes);
    if checksum != header.checksum.0.to_u32() {
        return Err(TableError::Checksum);
    }
    let mut partitions: Vec<Partition> = Vec::new();
    for (number, bytes) in (1..).zip(bytes.chunks_exact(header.entry_bytes as usize)) {
        let entry = bytes.get(..ENTRY_BYTES).and_then(|bytes| bytemuck::try_pod_read_unaligned(bytes).ok());
        let entry: GptPartitionEntry = entry.ok_or(TableError::Numbers("an entry"))?;
        if !entry.is_used() {
            continue;
        }
        let (first, last) = (entry.starting_lba.to_u64(), entry.ending_lba.to_u64());
        if first < header.first_usable || last > header.last_usable || first > last {
            return Err(TableError::Outside(number));
        }
        let overlap = |other: &&Partition| first < other.first + other.count && other.first <= last;
        if let Some(other) = partitions.iter().find(overlap) {
            return Err(TableError::Overlap(other.number, number));
        }
        let name = entry.name;
        partitions.push(Partition { number, first, count: last - first + 1, name: name.chars().collect() });
    }
    Ok(partitions)
}

/// The name under which a partition can be exported besides its number: its own, if that can be one in a manifest.
pub fn export_name(partition: &Partition) -> Option<&str> {
    let name = partition.name.as_str();
    let good = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    (good && (1..32).contains(&name.len())).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpt::{GptConfig, disk::LogicalBlockSize, mbr::ProtectiveMBR, partition_types::LINUX_FS};
    use std::io::Cursor;

    const BLOCKS: u64 = 4096;

    /// A disk with two partitions, written by another crate.
    fn disk() -> Vec<u8> {
        let mut device = Cursor::new(vec![0; BLOCKS as usize * 512]);
        let mbr = ProtectiveMBR::with_lb_size(BLOCKS as u32 - 1);
        mbr.overwrite_lba0(&mut device).expect("room");
        let config = GptConfig::new().writable(true).logical_block_size(LogicalBlockSize::Lb512);
        let mut disk = config.create_from_device(device, None).expect("a disk");
        disk.add_partition("boot", 100 * 512, LINUX_FS, 0, None).expect("room");
        disk.add_partition("The Data", 200 * 512, LINUX_FS, 0, None).expect("room");
        disk.write().expect("room").into_inner()
    }

    fn block(disk: &[u8], place: u64) -> &[u8] {
        &disk[place as usize * 512..]
    }

    fn read(disk: &[u8], place: u64) -> Result<Vec<Partition>, TableError> {
        let header = header(&block(disk, place)[..512], place, BLOCKS, 512)?;
        entries(block(disk, header.entries_block), &header)
    }

    #[test]
    fn both_tables_of_a_disk_say_the_same() {
        let disk = disk();
        let partitions = read(&disk, 1).expect("good");
        assert_eq!(read(&disk, BLOCKS - 1), Ok(partitions.clone()));
        let [boot, data] = &partitions[..] else { panic!("two partitions") };
        assert_eq!((boot.number, boot.count, export_name(boot)), (1, 100, Some("boot")));
        assert_eq!(
            (data.number, data.count, data.name.as_str(), export_name(data)),
            (2, 200, "The Data", None)
        );
        assert!(boot.first + boot.count <= data.first);
    }

    #[test]
    fn a_changed_byte_is_seen() {
        let good = disk();
        for place in (512..512 + 92).chain(1024..1024 + 256) {
            let mut disk = good.clone();
            disk[place] ^= 1;
            assert!(read(&disk, 1).is_err(), "byte {place}");
        }
        assert_eq!(read(&good, 2), Err(TableError::None));
        assert_eq!(header(&[], 1, BLOCKS, 512), Err(TableError::None));
    }

    /// A good disk whose header was changed, with the right checksum.
    fn forged(change: impl FnOnce(&mut GptHeader)) -> Result<Vec<Partition>, TableError> {
        let mut disk = disk();
        let mut header: GptHeader = bytemuck::pod_read_unaligned(&disk[512..604]);
        change(&mut header);
        header.update_header_crc32();
        disk[512..604].copy_from_slice(bytemuck::bytes_of(&header));
        read(&disk, 1)
    }

    #[test]
    fn numbers_that_cannot_be_are_refused() {
        let numbers =
            |result: Result<Vec<Partition>, TableError>| matches!(result, Err(TableError::Numbers(_)));
        assert!(forged(|_| ()).is_ok());
        assert!(numbers(forged(|header| header.number_of_partition_entries.set(0))));
        assert!(numbers(forged(|header| header.number_of_partition_entries.set(u32::MAX))));
        assert!(numbers(forged(|header| header.size_of_partition_entry.set(64))));
        assert!(numbers(forged(|header| header.size_of_partition_entry.set(192))));
        assert!(numbers(forged(|header| header.partition_entry_lba.0.set(u64::MAX))));
        assert!(numbers(forged(|header| header.partition_entry_lba.0.set(0))));
        assert!(numbers(forged(|header| header.last_usable_lba.0.set(BLOCKS))));
        assert!(numbers(forged(|header| header.header_size.set(512))));
        assert_eq!(forged(|header| header.my_lba.0.set(9)), Err(TableError::Place(9)));
        assert_eq!(forged(|header| header.first_usable_lba.0.set(3000)), Err(TableError::Outside(1)));
    }

    #[test]
    fn overlapping_and_reversed_partitions_are_refused() {
        let good = disk();
        let change = |entry: usize, first: u64, last: u64| {
            let mut disk = good.clone();
            let place = 1024 + entry * 128;
            disk[place + 32..place + 40].copy_from_slice(&first.to_le_bytes());
            disk[place + 40..place + 48].copy_from_slice(&last.to_le_bytes());
            let header = header(&disk[512..1024], 1, BLOCKS, 512).expect("good");
            let checksum = crc::Crc::<u32>::new(&Crc32::ALGORITHM).checksum(&disk[1024..1024 + 16384]);
            entries(
                &disk[1024..],
                &Header { checksum: Crc32(gpt_disk_types::U32Le::from_u32(checksum)), ..header },
            )
        };
        assert!(change(1, 1000, 1000).is_ok());
        assert_eq!(change(1, 50, 60), Err(TableError::Overlap(1, 2)));
        assert_eq!(change(1, 1000, 999), Err(TableError::Outside(2)));
        assert_eq!(change(1, 1000, u64::MAX), Err(TableError::Outside(2)));
        assert_eq!(change(0, 0, 10), Err(TableError::Outside(1)));
    }
}
