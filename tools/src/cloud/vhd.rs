//! Writes a disk as a fixed VHD: its bytes, and a footer behind them [VHD 1.0: Virtual Hard Disk Image Format
//! Specification, Hard Disk Footer Format].

use std::{fs::File, os::unix::fs::FileExt as _};

use anyhow::Result;
use uuid::Uuid;

use crate::{progress::Progress, sparse};

/// Bytes of the footer.
pub const FOOTER_BYTES: u64 = 512;

/// Who made the disk. Readers that know the maker take the size from the field "current size", others reckon it from
/// the geometry, which rounds down. This is the maker that Hyper-V, and so Azure, writes and reads.
const CREATOR: [u8; 4] = *b"win ";
const CREATOR_SYSTEM: [u8; 4] = *b"Wi2k";

/// A fixed disk.
const TYPE_FIXED: u32 = 2;

const CHECKSUM: usize = 64;

/// Writes a disk and its footer into a file of the disk's length and [`FOOTER_BYTES`]. The time in the footer is 0: the
/// same disk gives the same bytes.
pub fn write(disk: &File, name: Uuid, output: &File, progress: &mut Progress) -> Result<()> {
    let length = disk.metadata()?.len();
    sparse::copy(disk, output, 0, progress)?;
    output.write_all_at(&footer(length, name), length)?;
    Ok(())
}

fn footer(length: u64, name: Uuid) -> [u8; 512] {
    let geometry = Geometry::of(length / 512);
    let mut footer = Vec::with_capacity(512);
    footer.extend_from_slice(b"conectix");
    footer.extend_from_slice(&2u32.to_be_bytes()); // features: only the reserved bit, which is always set
    footer.extend_from_slice(&0x0001_0000u32.to_be_bytes()); // version 1.0
    footer.extend_from_slice(&u64::MAX.to_be_bytes()); // no header follows: the disk is fixed
    footer.extend_from_slice(&0u32.to_be_bytes()); // seconds since 2000
    footer.extend_from_slice(&CREATOR);
    footer.extend_from_slice(&0x000a_0000u32.to_be_bytes()); // the maker's version
    footer.extend_from_slice(&CREATOR_SYSTEM);
    footer.extend_from_slice(&length.to_be_bytes()); // original size
    footer.extend_from_slice(&length.to_be_bytes()); // current size
    footer.extend_from_slice(&geometry.cylinders.to_be_bytes());
    footer.extend_from_slice(&[geometry.heads, geometry.sectors]);
    footer.extend_from_slice(&TYPE_FIXED.to_be_bytes());
    footer.extend_from_slice(&0u32.to_be_bytes()); // the checksum's place
    footer.extend_from_slice(name.as_bytes());
    footer.resize(512, 0); // no saved state, and reserved
    let sum: u32 = footer.iter().map(|byte| u32::from(*byte)).sum();
    let mut bytes = [0; 512];
    bytes.copy_from_slice(&footer);
    if let Some(field) = bytes.get_mut(CHECKSUM..CHECKSUM + 4) {
        field.copy_from_slice(&(!sum).to_be_bytes());
    }
    bytes
}

/// Cylinders, heads and sectors a track.
#[derive(Debug, PartialEq, Eq)]
struct Geometry {
    cylinders: u16,
    heads: u8,
    sectors: u8,
}

impl Geometry {
    /// The geometry that the specification reckons for a disk [VHD 1.0, Appendix: CHS Calculation].
    fn of(sectors: u64) -> Self {
        let total = sectors.min(65535 * 16 * 255);
        if total >= 65535 * 16 * 63 {
            return Self::new(total / 255, 16, 255);
        }
        let mut track: u64 = 17;
        let mut cylinder_times_heads = total / track;
        let mut heads = cylinder_times_heads.div_ceil(1024).max(4);
        if cylinder_times_heads >= heads * 1024 || heads > 16 {
            track = 31;
            heads = 16;
            cylinder_times_heads = total / track;
        }
        if cylinder_times_heads >= heads * 1024 {
            track = 63;
            heads = 16;
            cylinder_times_heads = total / track;
        }
        Self::new(cylinder_times_heads, heads, track)
    }

    /// Each fits: the total is cut to what the largest geometry holds.
    fn new(cylinder_times_heads: u64, heads: u64, sectors: u64) -> Self {
        Self {
            cylinders: u16::try_from(cylinder_times_heads / heads).unwrap_or(u16::MAX),
            heads: u8::try_from(heads).unwrap_or(u8::MAX),
            sectors: u8::try_from(sectors).unwrap_or(u8::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometries_are_those_of_the_specification() {
        let geometry = |mebibytes: u64| {
            let Geometry { cylinders, heads, sectors } = Geometry::of(mebibytes << 11);
            (cylinders, heads, sectors)
        };
        assert_eq!(geometry(32), (963, 4, 17));
        assert_eq!(geometry(256), (520, 16, 63));
        assert_eq!(geometry(1 << 10), (2080, 16, 63));
        assert_eq!(geometry(3 << 20), (65535, 16, 255));
    }
}
