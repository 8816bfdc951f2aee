//! Reads and checks an image for Compute Engine: gzip [RFC 1952] around a tar archive in the old GNU format [GNU tar
//! manual, Basic Tar Format, Old GNU Format] with one member. It shares nothing with what writes it, and decodes both
//! formats itself, so that each fault has its name.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    ops::Range,
};

use anyhow::{Context as _, Result, bail, ensure};
use crc32fast::Hasher;
use flate2::bufread::DeflateDecoder;

use super::{
    disk::Flat,
    fields::{le32, take},
};
use crate::{progress::Progress, sparse};

const BLOCK: usize = 512;

/// The name that Compute Engine looks for, and what the disk's size must be a multiple of.
const MEMBER: &str = "disk.raw";
const UNIT: u64 = 1 << 30;

/// Offsets in a header: of the map, and of the flag that more of it follows; each of its parts.
const MAP: Range<usize> = 386..482;
const MAP_MORE: usize = 482;
const REAL_SIZE: Range<usize> = 483..495;
/// The same in a block that continues the map.
const MORE_MAP: Range<usize> = 0..504;
const MORE_MORE: usize = 504;

/// Checks a file, and unpacks the disk in it to `output`, which is empty.
pub fn open(file: File, output: &File, progress: &mut Progress) -> Result<Flat> {
    let mut input = BufReader::with_capacity(1 << 16, file);
    check_gzip_header(&mut input)?;
    let mut stream = Checked::new(DeflateDecoder::new(input));
    let disk = unpack(&mut stream, output, progress);
    // What the checksum says comes first: it explains whatever else seems wrong.
    stream.drain().context("the gzip stream cannot be decompressed")?;
    let (checksum, length, mut input) = stream.finish();
    let mut trailer = [0; 8];
    input.read_exact(&mut trailer).context("the gzip stream ends without its trailer")?;
    ensure!(
        le32(&trailer, 0) == checksum,
        "the gzip checksum is {:#010x}; it should be {checksum:#010x}",
        le32(&trailer, 0)
    );
    ensure!(
        le32(&trailer, 4) == length,
        "the gzip stream says that it has {} bytes; it has {length}",
        le32(&trailer, 4)
    );
    ensure!(input.fill_buf()?.is_empty(), "something follows the gzip stream");
    disk
}

/// [RFC 1952 2.3]
fn check_gzip_header(input: &mut impl Read) -> Result<()> {
    let mut header = [0; 10];
    input.read_exact(&mut header).context("the file is too short for gzip")?;
    ensure!(header[..2] == [0x1f, 0x8b], "the file is not gzip");
    ensure!(header[2] == 8, "the gzip method is {}, not deflate (8)", header[2]);
    ensure!(header[3] == 0, "the gzip header has flags {:#04x}; none are expected", header[3]);
    Ok(())
}

/// A stream whose CRC-32 and length are reckoned as it is read.
struct Checked<R> {
    inner: DeflateDecoder<R>,
    hash: Hasher,
    /// Modulo 2^32, as gzip counts.
    length: u32,
}

impl<R: BufRead> Checked<R> {
    fn new(inner: DeflateDecoder<R>) -> Self {
        Self { inner, hash: Hasher::new(), length: 0 }
    }

    fn drain(&mut self) -> io::Result<()> {
        io::copy(self, &mut io::sink()).map(drop)
    }

    fn finish(self) -> (u32, u32, R) {
        (self.hash.finalize(), self.length, self.inner.into_inner())
    }
}

impl<R: BufRead> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(buffer.get(..read).unwrap_or_default());
        self.length = self.length.wrapping_add(read as u32);
        Ok(read)
    }
}

/// Unpacks the only member.
fn unpack(stream: &mut impl Read, output: &File, progress: &mut Progress) -> Result<Flat> {
    let header = block(stream)?;
    check_header(&header)?;
    let stored = number(header.get(124..136).unwrap_or_default()).context("the member's size")?;
    let mut map = Vec::new();
    let size = if header[156] == b'S' {
        let mut more = read_map(&header, MAP, MAP_MORE, &mut map)?;
        while more {
            more = read_map(&block(stream)?, MORE_MAP, MORE_MORE, &mut map)?;
        }
        number(header.get(REAL_SIZE).unwrap_or_default()).context("the member's real size")?
    } else {
        map.push(0..stored);
        stored
    };
    ensure!(size.is_multiple_of(UNIT) && size > 0, "{MEMBER} has {size} bytes, which are no whole GiB");
    check_map(&map, size, stored)?;
    output.set_len(size)?;
    for extent in map {
        copy(stream, output, extent, progress)?;
    }
    let padding = usize::try_from(stored.next_multiple_of(BLOCK as u64) - stored)?;
    let mut last = [0; BLOCK];
    stream
        .read_exact(last.get_mut(..padding).unwrap_or_default())
        .context("the member's last block is cut")?;
    check_end(stream)?;
    Ok(Flat::new(output.try_clone()?, size))
}

fn block(stream: &mut impl Read) -> Result<[u8; BLOCK]> {
    let mut block = [0; BLOCK];
    stream.read_exact(&mut block).context("the archive ends in the middle")?;
    Ok(block)
}

fn check_header(header: &[u8; BLOCK]) -> Result<()> {
    ensure!(!sparse::is_zero(header), "the archive is empty");
    let stated = number(&header[148..156]).context("the header's checksum")?;
    let spaces = 8 * u64::from(b' ');
    let sum = |range: Range<usize>| {
        header.get(range).unwrap_or_default().iter().map(|byte| u64::from(*byte)).sum::<u64>()
    };
    let checksum = sum(0..148) + spaces + sum(156..BLOCK);
    ensure!(stated == checksum, "the tar header's checksum is {stated}; it should be {checksum}");
    let magic: [u8; 8] = take(header, 257);
    ensure!(
        magic == *b"ustar  \0",
        "the tar header's magic is {:?}, not that of the old GNU format",
        String::from_utf8_lossy(&magic)
    );
    let name: [u8; 100] = take(header, 0);
    let name = String::from_utf8_lossy(&name);
    let name = name.trim_end_matches('\0');
    ensure!(name == MEMBER, "the member is named {name:?}, not {MEMBER:?}");
    ensure!(
        matches!(header[156], b'0' | b'S'),
        "the member is of type {:?}, not a file",
        char::from(header[156])
    );
    Ok(())
}

/// A number in octal digits, or in base 256 where its first bit is set.
fn number(field: &[u8]) -> Result<u64> {
    match field {
        [first, rest @ ..] if first & 0x80 != 0 => {
            let mut value = u64::from(first & 0x7f);
            for byte in rest {
                ensure!(value < 1 << 56, "the number is too large");
                value = value << 8 | u64::from(*byte);
            }
            Ok(value)
        }
        digits => {
            let text = String::from_utf8_lossy(digits);
            let text = text.trim_matches([' ', '\0']);
            u64::from_str_radix(text, 8).with_context(|| format!("{text:?} is no octal number"))
        }
    }
}

/// Reads what one block has of the map; tells whether more follows.
fn read_map(block: &[u8], range: Range<usize>, more: usize, map: &mut Vec<Range<u64>>) -> Result<bool> {
    for entry in block.get(range).unwrap_or_default().chunks_exact(24) {
        if entry[0] == 0 {
            break;
        }
        let (start, length) = entry.split_at(12);
        let start = number(start).context("the map")?;
        let end = start.checked_add(number(length).context("the map")?).context("the map wraps")?;
        map.push(start..end);
    }
    Ok(block.get(more) == Some(&1))
}

fn check_map(map: &[Range<u64>], size: u64, stored: u64) -> Result<()> {
    let mut end = 0;
    for extent in map {
        ensure!(extent.start >= end, "the map's part at {:#x} is not behind the one before", extent.start);
        end = extent.end;
    }
    ensure!(end == size, "the map ends at {end:#x}, the disk at {size:#x}");
    let sum: u64 = map.iter().map(|extent| extent.end - extent.start).sum();
    ensure!(sum == stored, "the map places {sum} bytes, but the member has {stored}");
    Ok(())
}

fn copy(stream: &mut impl Read, output: &File, extent: Range<u64>, progress: &mut Progress) -> Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let mut position = extent.start;
    while position < extent.end {
        let length = usize::try_from(extent.end - position)?.min(buffer.len());
        let part = buffer.get_mut(..length).unwrap_or_default();
        stream.read_exact(part).context("the archive ends within its member")?;
        sparse::write_at(output, position, part)?;
        position += length as u64;
        progress.at(position);
    }
    Ok(())
}

/// The archive ends with two blocks of zeros at least, and nothing else follows.
fn check_end(stream: &mut impl Read) -> Result<()> {
    for _ in 0..2 {
        let end = block(stream).context("the archive's end")?;
        if !sparse::is_zero(&end) {
            bail!("something follows {MEMBER} in the archive");
        }
    }
    let mut rest = [0; BLOCK];
    loop {
        let read = stream.read(&mut rest)?;
        if read == 0 {
            return Ok(());
        }
        ensure!(sparse::is_zero(rest.get(..read).unwrap_or_default()), "something follows the archive's end");
    }
}
