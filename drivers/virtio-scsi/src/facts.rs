//! What units say of themselves, read and checked.

use crate::command::Unit;
use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use block::Access;

/// The most units that are served of one host.
pub const MAXIMUM_UNITS: usize = 32;

/// How many blocks of which size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Number of blocks.
    pub blocks: u64,
    /// Bytes of a block.
    pub block_bytes: u32,
    /// Whether blocks can be unmapped.
    pub provisioned: bool,
}

/// Limits of a unit; 0 where it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The most blocks of one transfer.
    pub transfer: u32,
    /// The most blocks of one unmap.
    pub unmap: u32,
    /// The most blocks of one write same.
    pub same: u64,
}

fn byte(bytes: &[u8], offset: usize) -> u8 {
    bytes.get(offset).copied().unwrap_or(0)
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_be_bytes([0, 1, 2, 3].map(|index| byte(bytes, offset + index)))
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from(u32_at(bytes, offset)) << 32 | u64::from(u32_at(bytes, offset + 4))
}

fn text(bytes: Option<&[u8]>) -> String {
    let printable = bytes.unwrap_or_default().iter().filter(|byte| (0x20..0x7f).contains(*byte));
    printable.map(|byte| char::from(*byte)).collect::<String>().trim().to_string()
}

/// Model and version of a disk; `None` for what is no disk, or not there [SPC-4 6.6.2].
pub fn inquiry(bytes: &[u8]) -> Option<(String, String)> {
    // A qualifier of 0 and the type of a disk.
    if byte(bytes, 0) != 0 || bytes.len() < 36 {
        return None;
    }
    let (vendor, product) = (text(bytes.get(8..16)), text(bytes.get(16..32)));
    Some(([vendor, product].join(" ").trim().to_string(), text(bytes.get(32..36))))
}

/// The numbers of a target's units, simple and flat ones [SPC-4 6.33], each once.
pub fn units(target: u8, bytes: &[u8]) -> Vec<Unit> {
    let length = u32_at(bytes, 0) as usize;
    let list = bytes.get(8..).unwrap_or_default();
    let list = list.get(..length.min(list.len())).unwrap_or_default();
    let mut all = Vec::new();
    for entry in list.chunks_exact(8).take(MAXIMUM_UNITS) {
        let number = u16::from_be_bytes([byte(entry, 0) & 0x3f, byte(entry, 1)]);
        let unit = Unit { target, number };
        // Peripheral or flat addressing, without levels below.
        if byte(entry, 0) & 0x80 == 0 && entry.get(2..) == Some(&[0; 6]) && !all.contains(&unit) {
            all.push(unit);
        }
    }
    all
}

/// Reads the answer of read capacity (16), or of (10) when `bytes` are 8. `None` for sizes that are not served.
pub fn capacity(bytes: &[u8]) -> Option<Capacity> {
    let (last, block_bytes, provisioned) = if bytes.len() == 8 {
        (u64::from(u32_at(bytes, 0)), u32_at(bytes, 4), false)
    } else {
        (u64_at(bytes, 0), u32_at(bytes, 8), byte(bytes, 14) & 0x80 != 0)
    };
    let good = block_bytes.is_power_of_two() && (512..=65_536).contains(&block_bytes);
    let blocks = last.checked_add(1)?.min(u64::MAX / 65_536);
    good.then_some(Capacity { blocks, block_bytes, provisioned })
}

/// Reads the page of limits [SBC-3 6.6.4].
pub fn limits(bytes: &[u8]) -> Limits {
    // A short page says nothing of what it does not have.
    Limits { transfer: u32_at(bytes, 8), unmap: u32_at(bytes, 20), same: u64_at(bytes, 36) }
}

/// Whether unmap is a command of the unit, by its page of provisioning [SBC-3 6.6.6].
pub fn provisioning(bytes: &[u8]) -> bool {
    byte(bytes, 1) == crate::spec::page::PROVISIONING && byte(bytes, 5) & 0x80 != 0
}

/// Reads the serial number's page.
pub fn serial(bytes: &[u8]) -> String {
    let end = (4 + usize::from(byte(bytes, 3))).min(bytes.len());
    text(bytes.get(4..end))
}

/// Whether the unit may be written, whether it knows forced unit access, and whether it has a write cache: from the
/// pages of mode sense (6) [SPC-4 7.5.5].
pub fn mode(bytes: &[u8]) -> (Access, bool, bool) {
    let specific = byte(bytes, 2);
    let access = if specific & 0x80 != 0 { Access::ReadOnly } else { Access::ReadWrite };
    // Until the end of what the unit says there is.
    let end = (usize::from(byte(bytes, 0)) + 1).min(bytes.len());
    let mut place = 4 + usize::from(byte(bytes, 3));
    let mut cached = false;
    while place + 2 < end {
        if byte(bytes, place) & 0x3f == crate::spec::page::CACHE {
            cached = byte(bytes, place + 2) & 4 != 0;
        }
        place += 2 + usize::from(byte(bytes, place + 1));
    }
    (access, specific & 0x10 != 0, cached)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_disks_are_disks() {
        let mut page = [b' '; 36];
        page[..8].copy_from_slice(&[0, 0, 5, 2, 31, 0, 0, 0]);
        page[8..14].copy_from_slice(b"Google");
        page[16..30].copy_from_slice(b"PersistentDisk");
        page[32] = b'1';
        assert_eq!(inquiry(&page), Some(("Google PersistentDisk".into(), "1".into())));
        for kind in [0x05, 0x1f, 0x20, 0x7f] {
            page[0] = kind;
            assert_eq!(inquiry(&page), None);
        }
        assert_eq!(inquiry(&[0; 35]), None);
    }

    #[test]
    fn lists_of_units_are_bounded_by_themselves() {
        let mut list = vec![0, 0, 0, 24, 0, 0, 0, 0];
        for unit in [[0, 0], [0x41, 2], [0, 0], [0, 7]] {
            list.extend(unit);
            list.extend([0; 6]);
        }
        let units = units(3, &list);
        assert_eq!(units, [Unit { target: 3, number: 0 }, Unit { target: 3, number: 0x102 }]);
        assert!(super::units(3, &[0xff; 7]).is_empty());
        assert!(super::units(3, &[0xff; 4096]).is_empty());
    }

    #[test]
    fn capacities_are_checked() {
        let long = |last: u64, size: u32| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&last.to_be_bytes());
            bytes[8..12].copy_from_slice(&size.to_be_bytes());
            bytes[14] = 0x80;
            capacity(&bytes)
        };
        assert_eq!(long(99, 4096), Some(Capacity { blocks: 100, block_bytes: 4096, provisioned: true }));
        assert_eq!((long(99, 520), long(99, 0), long(u64::MAX, 512)), (None, None, None));
        assert_eq!(long(u64::MAX - 1, 512).map(|capacity| capacity.blocks), Some(u64::MAX / 65_536));
        assert_eq!(capacity(&[0, 0, 0, 9, 0, 0, 2, 0]).map(|capacity| capacity.blocks), Some(10));
        assert_eq!(capacity(&[]), None);
    }

    #[test]
    fn modes_are_walked_within_their_length() {
        // Two pages: one of two bytes, then the cache's.
        let page = [14, 0, 0x90, 0, 0x01, 2, 0, 0, 0x08, 4, 4, 0, 0, 0, 0, 0];
        assert_eq!(mode(&page), (Access::ReadOnly, true, true));
        let mut short = page;
        short[0] = 8;
        assert_eq!(mode(&short), (Access::ReadOnly, true, false));
        assert_eq!(mode(&[]), (Access::ReadWrite, false, false));
        assert_eq!(mode(&[0xff; 40]), (Access::ReadOnly, true, false));
        assert_eq!(mode(&[0xff, 0, 0, 0, 8, 0, 4, 8, 0, 4]), (Access::ReadWrite, false, true));
    }

    #[test]
    fn short_pages_say_nothing() {
        assert_eq!(limits(&[]), Limits::default());
        assert!(!provisioning(&[]) && provisioning(&[0, 0xb2, 0, 4, 0, 0x80]));
        assert_eq!(
            (serial(&[0, 0x80, 0, 3, b'a', b'b', b'c', b'd']), serial(&[0, 0x80, 0, 200])),
            ("abc".into(), "".into())
        );
    }
}
