//! Reads and checks a stream-optimized VMDK [VMDK 5.0: VMware Virtual Disk Format 5.0]. It shares nothing with what writes
//! it: it walks the markers from the front, and then checks that the tables say the same.

use std::{collections::BTreeMap, fs::File, io::Read as _, ops::Range, os::unix::fs::FileExt as _};

use anyhow::{Context as _, Result, bail, ensure};
use flate2::bufread::ZlibDecoder;

use super::{
    disk::Disk,
    fields::{le32, le64, take},
};

const SECTOR: u64 = 512;
const SECTOR_BYTES: usize = 512;

/// Longest descriptor that is read, in sectors.
const MAXIMUM_DESCRIPTOR: u64 = 128;

/// Sectors of a grain, and entries of a table: what the format prescribes for this kind.
const GRAIN_SECTORS: u64 = 128;
const GRAIN_BYTES: u64 = GRAIN_SECTORS * SECTOR;
const TABLE_ENTRIES: u64 = 512;

/// Where a grain's compressed bytes lie in the file.
type Place = Range<u64>;

/// The disk in a checked file.
pub struct Vmdk {
    file: File,
    size: u64,
    /// By number.
    grains: BTreeMap<u64, Place>,
}

/// What the markers said, in the order in which they stand in the file.
#[derive(Default)]
struct Walk {
    grains: BTreeMap<u64, Place>,
    /// Sector of the marker of each grain.
    markers: BTreeMap<u64, u64>,
    tables: Vec<(u64, Vec<u8>)>,
    directory: Option<(u64, Vec<u8>)>,
    footer: Option<[u8; SECTOR_BYTES]>,
}

/// Checks a file, and opens the disk in it.
pub fn open(file: File) -> Result<Vmdk> {
    let length = file.metadata()?.len();
    ensure!(length.is_multiple_of(SECTOR), "the file has {length} bytes, which are no whole sectors");
    let header = sector(&file, 0).context("the file has no header")?;
    check_header(&header)?;
    ensure!(
        le64(&header, 56) == u64::MAX,
        "the header says that the directory is at sector {}, not that the footer tells",
        le64(&header, 56)
    );
    let capacity = le64(&header, 12);
    check_descriptor(&file, &header, capacity)?;
    let walk = walk(&file, le64(&header, 64), length / SECTOR, capacity)?;
    let footer = walk.footer.context("there is no footer")?;
    check_footer(&header, &footer)?;
    let (start, directory) = walk.directory.as_ref().context("there is no grain directory")?;
    ensure!(
        le64(&footer, 56) == *start,
        "the footer says that the directory is at sector {}, but it is at {start}",
        le64(&footer, 56)
    );
    check_tables(&walk, directory, capacity)?;
    Ok(Vmdk { file, size: capacity * SECTOR, grains: walk.grains })
}

fn sector(file: &File, number: u64) -> Result<[u8; SECTOR_BYTES]> {
    let mut sector = [0; SECTOR_BYTES];
    let offset = number.checked_mul(SECTOR).context("a sector's number is too large")?;
    file.read_exact_at(&mut sector, offset)
        .with_context(|| format!("the file ends before sector {number}"))?;
    Ok(sector)
}

fn check_header(header: &[u8]) -> Result<()> {
    ensure!(take(header, 0) == *b"KDMV", "the header's magic is missing");
    ensure!(le32(header, 4) == 3, "the header is of version {}; compressed grains need 3", le32(header, 4));
    ensure!(
        le32(header, 8) == 0x3_0001,
        "the header's flags are {:#x}; a stream-optimized disk has 0x30001",
        le32(header, 8)
    );
    ensure!(
        take(header, 73) == *b"\n \r\n",
        "the header's line ends are {:?}: the file was transferred as text",
        String::from_utf8_lossy(&take::<4>(header, 73))
    );
    ensure!(take(header, 77) == 1u16.to_le_bytes(), "the header's compression is not deflate");
    ensure!(
        le64(header, 20) == GRAIN_SECTORS,
        "the header's grains have {} sectors, not 128",
        le64(header, 20)
    );
    ensure!(
        u64::from(le32(header, 44)) == TABLE_ENTRIES,
        "the header's grain tables have {} entries, not 512",
        le32(header, 44)
    );
    ensure!(
        le64(header, 12) > 0 && le64(header, 12).is_multiple_of(GRAIN_SECTORS),
        "the header's capacity of {} sectors is not made of whole grains",
        le64(header, 12)
    );
    ensure!(take(header, 72) == [0], "the disk was not closed properly");
    Ok(())
}

fn check_descriptor(file: &File, header: &[u8], capacity: u64) -> Result<()> {
    let (start, sectors) = (le64(header, 28), le64(header, 36));
    let end = le64(header, 64).min(file.metadata()?.len() / SECTOR);
    ensure!(
        start > 0 && (1..=MAXIMUM_DESCRIPTOR).contains(&sectors) && start.saturating_add(sectors) <= end,
        "the descriptor is said to have {sectors} sectors from {start} on"
    );
    let mut text = vec![0; usize::try_from(sectors * SECTOR)?];
    file.read_exact_at(&mut text, start * SECTOR).context("the file ends before its descriptor does")?;
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    text.truncate(end);
    let text = String::from_utf8(text).context("the descriptor is no text")?;
    let value = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(|value| value.trim_matches('"'))
    };
    let kind = value("createType").context("the descriptor has no createType")?;
    ensure!(kind == "streamOptimized", "the descriptor's createType is {kind:?}, not \"streamOptimized\"");
    ensure!(value("parentCID") == Some("ffffffff"), "the descriptor names a parent disk");
    let id = value("CID").context("the descriptor has no CID")?;
    ensure!(u32::from_str_radix(id, 16).is_ok_and(|id| id < 0xffff_fffe), "the descriptor's CID is {id:?}");
    let mut extents = text.lines().filter(|line| line.starts_with("RW ") || line.starts_with("RDONLY "));
    let extent = extents.next().context("the descriptor has no extent")?;
    ensure!(extents.next().is_none(), "the descriptor has more than one extent");
    let mut words = extent.split(' ').skip(1);
    let (stated, kind) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    ensure!(
        stated.parse() == Ok(capacity),
        "the descriptor's extent has {stated} sectors, the header's capacity is {capacity}"
    );
    ensure!(kind == "SPARSE", "the descriptor's extent is of kind {kind:?}, not SPARSE");
    Ok(())
}

/// Walks all markers, and checks that each grain can be decompressed.
fn walk(file: &File, start: u64, end: u64, capacity: u64) -> Result<Walk> {
    let mut walk = Walk::default();
    let mut position = start;
    loop {
        ensure!(position < end, "the file ends without its end marker");
        let marker = sector(file, position)?;
        let (value, size, kind) = (le64(&marker, 0), le32(&marker, 8), le32(&marker, 12));
        if size != 0 {
            ensure!(walk.directory.is_none(), "a grain at sector {position} stands behind the directory");
            let offset = position * SECTOR + 12;
            let place = offset..offset + u64::from(size);
            ensure!(place.end <= end * SECTOR, "the grain at sector {position} leaves the file");
            ensure!(
                value.is_multiple_of(GRAIN_SECTORS) && value < capacity,
                "the marker at sector {position} places its grain at the disk's sector {value}"
            );
            let number = value / GRAIN_SECTORS;
            let last = walk.grains.last_key_value().map(|(last, _)| *last);
            ensure!(
                last.is_none_or(|last| last < number),
                "the grain at sector {position} is not in the order of the disk"
            );
            grain(file, &place).with_context(|| format!("the grain at sector {position}"))?;
            position += (place.end - position * SECTOR).div_ceil(SECTOR);
            walk.markers.insert(number, offset / SECTOR);
            walk.grains.insert(number, place);
            continue;
        }
        position += 1;
        match kind {
            0 => break,
            1 | 2 => {
                ensure!(value <= end - position, "a table at sector {position} leaves the file");
                let mut table = vec![0; usize::try_from(value * SECTOR)?];
                file.read_exact_at(&mut table, position * SECTOR)?;
                if kind == 1 {
                    walk.tables.push((position, table));
                } else {
                    ensure!(walk.directory.is_none(), "there are two grain directories");
                    walk.directory = Some((position, table));
                }
                position += value;
            }
            3 => {
                walk.footer = Some(sector(file, position)?);
                position += 1;
            }
            other => bail!("the marker at sector {} is of unknown type {other}", position - 1),
        }
    }
    ensure!(position == end, "{} sectors follow the end marker", end - position);
    Ok(walk)
}

/// The bytes of a grain; the decoder checks their Adler-32.
fn grain(file: &File, place: &Place) -> Result<Vec<u8>> {
    let mut compressed = vec![0; usize::try_from(place.end - place.start)?];
    file.read_exact_at(&mut compressed, place.start)?;
    let mut bytes = Vec::new();
    let mut decoder = ZlibDecoder::new(&compressed[..]);
    // One byte more than a grain has shows one that is too long, and no grain can fill the memory.
    decoder.by_ref().take(GRAIN_BYTES + 1).read_to_end(&mut bytes).context("it cannot be decompressed")?;
    ensure!(bytes.len() as u64 == GRAIN_BYTES, "it has {} bytes", bytes.len());
    ensure!(decoder.into_inner().is_empty(), "more follows its compressed bytes");
    Ok(bytes)
}

fn check_footer(header: &[u8], footer: &[u8]) -> Result<()> {
    check_header(footer).context("in the footer")?;
    let without_directory = |record: &[u8]| {
        let mut record = record.to_vec();
        if let Some(field) = record.get_mut(56..64) {
            field.fill(0);
        }
        record
    };
    ensure!(without_directory(header) == without_directory(footer), "header and footer differ");
    Ok(())
}

/// Checks that directory and tables lead to each grain that there is, and to no other.
fn check_tables(walk: &Walk, directory: &[u8], capacity: u64) -> Result<()> {
    let tables = capacity.div_ceil(GRAIN_SECTORS * TABLE_ENTRIES);
    ensure!(
        directory.len() as u64 == (tables * 4).next_multiple_of(SECTOR),
        "the grain directory has {} bytes for {tables} tables",
        directory.len()
    );
    let mut used = 0;
    for number in 0..tables {
        let start = u64::from(le32(directory, usize::try_from(number)? * 4));
        let first = number * TABLE_ENTRIES;
        if start == 0 {
            ensure!(
                walk.grains.range(first..first + TABLE_ENTRIES).next().is_none(),
                "the grain directory has no table {number}, which has grains"
            );
            continue;
        }
        let table = walk.tables.iter().find(|(position, _)| *position == start);
        let (_, table) = table.with_context(|| {
            format!("the grain directory places table {number} at sector {start}, where none is")
        })?;
        ensure!(table.len() as u64 == TABLE_ENTRIES * 4, "grain table {number} has {} bytes", table.len());
        used += 1;
        for entry in 0..TABLE_ENTRIES {
            let stated = u64::from(le32(table, usize::try_from(entry)? * 4));
            let actual = walk.markers.get(&(first + entry)).copied().unwrap_or(0);
            ensure!(
                stated == actual,
                "grain table {number} places grain {entry} at sector {stated}, but it is at {actual}"
            );
        }
    }
    ensure!(used == walk.tables.len(), "{} grain tables are in no directory", walk.tables.len() - used);
    Ok(())
}

impl Disk for Vmdk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let mut position = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let inside = usize::try_from(position % GRAIN_BYTES)?;
            let length = rest.len().min(usize::try_from(GRAIN_BYTES)? - inside);
            let (part, behind) = rest.split_at_mut(length);
            match self.grains.get(&(position / GRAIN_BYTES)) {
                Some(place) => {
                    let bytes = grain(&self.file, place)?;
                    part.copy_from_slice(bytes.get(inside..inside + length).context("inside the grain")?);
                }
                None => part.fill(0),
            }
            position += length as u64;
            rest = behind;
        }
        Ok(())
    }

    fn extents(&self) -> Result<Vec<Range<u64>>> {
        Ok(self.grains.keys().map(|number| number * GRAIN_BYTES..(number + 1) * GRAIN_BYTES).collect())
    }
}
