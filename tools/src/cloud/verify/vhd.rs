//! Reads and checks a fixed VHD [VHD 1.0: Virtual Hard Disk Image Format Specification, Hard Disk Footer Format]. It shares
//! nothing with what writes it.

use std::{fs::File, os::unix::fs::FileExt as _};

use anyhow::{Result, ensure};

use super::{
    disk::Flat,
    fields::{be32, be64, take},
};

const FOOTER: usize = 512;
const CHECKSUM: usize = 64;

/// Makers whose disks are as large as "current size" says, for every reader that we know of; of others, some reckon the
/// size from the geometry.
const SIZED_MAKERS: [[u8; 4]; 3] = [*b"win ", *b"qem2", *b"wa\0\0"];

/// The largest geometry, which stands for all that is larger.
const LARGEST_GEOMETRY: u64 = 65535 * 16 * 255;

/// What the disk's size must be a multiple of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Sectors.
    Sector,
    /// MiB, as Azure wants it.
    Mebibyte,
}

/// Checks a file, and opens the disk in it.
pub fn open(file: File, unit: Unit) -> Result<Flat> {
    let length = file.metadata()?.len();
    ensure!(
        length.is_multiple_of(FOOTER as u64) && length > FOOTER as u64,
        "the file has {length} bytes, which are no sectors with a footer"
    );
    let size = length - FOOTER as u64;
    let mut footer = [0; FOOTER];
    file.read_exact_at(&mut footer, size)?;
    ensure!(take(&footer, 0) == *b"conectix", "the footer's cookie is missing");
    let stated = be32(&footer, CHECKSUM);
    let sum: u32 = footer
        .iter()
        .enumerate()
        .filter(|(offset, _)| !(CHECKSUM..CHECKSUM + 4).contains(offset))
        .map(|(_, byte)| u32::from(*byte))
        .sum();
    ensure!(stated == !sum, "the footer's checksum is {stated:#010x}; it should be {:#010x}", !sum);
    ensure!(be32(&footer, 8) == 2, "the footer's features are {:#x}; a plain disk has 0x2", be32(&footer, 8));
    ensure!(be32(&footer, 12) == 0x0001_0000, "the footer is of version {:#010x}", be32(&footer, 12));
    ensure!(be32(&footer, 60) == 2, "the disk is of type {}, not fixed (2)", be32(&footer, 60));
    ensure!(
        be64(&footer, 16) == u64::MAX,
        "the footer says that a header follows at {:#x}; a fixed disk has none",
        be64(&footer, 16)
    );
    let maker: [u8; 4] = take(&footer, 28);
    ensure!(
        SIZED_MAKERS.contains(&maker),
        "the maker {:?} makes some readers take the size from the geometry",
        String::from_utf8_lossy(&maker)
    );
    ensure!(
        be64(&footer, 48) == size,
        "the current size is {} bytes, but {size} lie before the footer",
        be64(&footer, 48)
    );
    ensure!(be64(&footer, 40) == size, "the original size is {} bytes, not {size}", be64(&footer, 40));
    check_geometry(take(&footer, 56), size / 512)?;
    ensure!(take::<16>(&footer, 68) != [0; 16], "the disk has no identity");
    ensure!(footer[84] == 0, "the disk is saved together with a machine's state");
    ensure!(take::<427>(&footer, 85) == [0; 427], "the footer's reserved bytes are used");
    if unit == Unit::Mebibyte {
        ensure!(
            size.is_multiple_of(1 << 20),
            "the disk has {size} bytes, which are no whole MiB, as Azure wants them"
        );
    }
    Ok(Flat::new(file, size))
}

/// The geometry holds no more than the disk has, and less by under one cylinder of the largest kind.
fn check_geometry([high, low, heads, track]: [u8; 4], sectors: u64) -> Result<()> {
    let cylinders = u16::from_be_bytes([high, low]);
    let cylinder = u64::from(heads) * u64::from(track);
    let total = u64::from(cylinders) * cylinder;
    let sectors = sectors.min(LARGEST_GEOMETRY);
    ensure!(
        total <= sectors && sectors - total < cylinder,
        "the geometry {cylinders}/{heads}/{track} holds {total} sectors of {sectors}"
    );
    Ok(())
}
