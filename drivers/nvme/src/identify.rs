//! What controller and namespaces say of themselves: pages of 4096 bytes, read and checked.

use crate::{
    names::{controller_name, namespace_name, text},
    spec::{PAGE_BYTES, VERSION_1_1},
};
use alloc::{format, string::String, vec::Vec};

/// Offsets in the controller's page [NVMe-2.1 5.1.13.2.1].
mod controller_field {
    pub(super) const VENDOR: usize = 0;
    pub(super) const SERIAL: core::ops::Range<usize> = 4..24;
    pub(super) const MODEL: core::ops::Range<usize> = 24..64;
    pub(super) const FIRMWARE: core::ops::Range<usize> = 64..72;
    pub(super) const MAXIMUM_TRANSFER: usize = 77;
    pub(super) const VERSION: usize = 80;
    pub(super) const ABORT_LIMIT: usize = 258;
    pub(super) const EVENT_LIMIT: usize = 259;
    pub(super) const NAMESPACES: usize = 516;
    pub(super) const OPTIONAL_COMMANDS: usize = 520;
    pub(super) const WRITE_CACHE: usize = 525;
}

/// Offsets in a namespace's page [NVM-1.1 4.1.5.1].
mod namespace_field {
    pub(super) const BLOCKS: usize = 0;
    pub(super) const FORMATS: usize = 25;
    pub(super) const FORMAT: usize = 26;
    pub(super) const PROTECTION: usize = 29;
    pub(super) const WRITE_PROTECTED: usize = 99;
    pub(super) const GLOBAL_IDENTIFIER: core::ops::Range<usize> = 104..120;
    pub(super) const EXTENDED_IDENTIFIER: core::ops::Range<usize> = 120..128;
    pub(super) const FIRST_FORMAT: usize = 128;
}

/// The most namespaces that are served.
pub const MAXIMUM_NAMESPACES: usize = 32;

/// Bits of the optional commands.
const HAS_DATASET_MANAGEMENT: u16 = 1 << 2;
const HAS_WRITE_ZEROES: u16 = 1 << 3;

/// What a controller said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControllerFacts {
    /// PCI vendor.
    pub vendor: u16,
    /// Serial number.
    pub serial: String,
    /// Model.
    pub model: String,
    /// Version of its firmware.
    pub firmware: String,
    /// The most bytes of one transfer, if it is limited; counted in pages of the smallest size.
    pub maximum_transfer: Option<u64>,
    /// How many commands can be aborted at once.
    pub aborts: u16,
    /// How many event requests it takes.
    pub events: u16,
    /// The largest namespace number.
    pub namespaces: u32,
    /// Whether it can list its active namespaces.
    pub lists_namespaces: bool,
    /// Whether it takes dataset management commands.
    pub discards: bool,
    /// Whether it takes write zeroes commands.
    pub zeroes: bool,
    /// Whether it has a cache that the power takes away.
    pub write_cache: bool,
    /// What the cloud calls it.
    pub name: String,
}

/// What a namespace said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceFacts {
    /// Bytes of a block.
    pub block_bytes: u32,
    /// Number of blocks.
    pub blocks: u64,
    /// Whether it refuses writes.
    pub write_protected: bool,
    /// What the cloud calls it.
    pub name: String,
    /// Its global identifier, in hexadecimal digits; may be empty.
    pub identifier: String,
}

/// Why a namespace cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceProblem {
    /// It is not active.
    Inactive,
    /// Its blocks are of a size that is not served, as a power of two.
    BlockSize(u8),
    /// Its blocks have metadata.
    Metadata(u16),
    /// Its blocks are protected by tags that must be computed.
    Protection,
    /// The page is too short, or names a format that it does not have.
    Malformed,
}

fn byte(page: &[u8], offset: usize) -> u8 {
    page.get(offset).copied().unwrap_or(0)
}

fn u16_at(page: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes([byte(page, offset), byte(page, offset + 1)])
}

fn u32_at(page: &[u8], offset: usize) -> u32 {
    u32::from(u16_at(page, offset)) | u32::from(u16_at(page, offset + 2)) << 16
}

/// Reads a controller's page. `page_shift` is its smallest page, as a power of two.
pub fn controller(page: &[u8], page_shift: u32) -> ControllerFacts {
    use controller_field as field;
    let range = |range: core::ops::Range<usize>| text(page.get(range).unwrap_or_default());
    let transfer = u32::from(byte(page, field::MAXIMUM_TRANSFER));
    let optional = u16_at(page, field::OPTIONAL_COMMANDS);
    let version = u32_at(page, field::VERSION);
    let (vendor, model) = (u16_at(page, field::VENDOR), range(field::MODEL));
    ControllerFacts {
        vendor,
        serial: range(field::SERIAL),
        firmware: range(field::FIRMWARE),
        maximum_transfer: (transfer != 0).then(|| 1_u64.checked_shl(transfer + page_shift)).flatten(),
        aborts: u16::from(byte(page, field::ABORT_LIMIT)) + 1,
        events: u16::from(byte(page, field::EVENT_LIMIT)) + 1,
        namespaces: u32_at(page, field::NAMESPACES),
        lists_namespaces: version >= VERSION_1_1,
        discards: optional & HAS_DATASET_MANAGEMENT != 0,
        zeroes: optional & HAS_WRITE_ZEROES != 0,
        write_cache: byte(page, field::WRITE_CACHE) & 1 != 0,
        name: controller_name(vendor, &model, page),
        model,
    }
}

/// Reads a list of active namespaces: numbers above `after`, rising, up to the first that is not.
pub fn active_namespaces(page: &[u8], after: u32) -> Vec<u32> {
    let mut last = after;
    let mut all = Vec::new();
    for offset in (0..PAGE_BYTES as usize).step_by(4) {
        let number = u32_at(page, offset);
        if number <= last || all.len() == MAXIMUM_NAMESPACES {
            break;
        }
        last = number;
        all.push(number);
    }
    all
}

/// Reads a namespace's page.
pub fn namespace(page: &[u8], controller: &ControllerFacts) -> Result<NamespaceFacts, NamespaceProblem> {
    use namespace_field as field;
    let blocks = u64::from(u32_at(page, field::BLOCKS)) | u64::from(u32_at(page, field::BLOCKS + 4)) << 32;
    if blocks == 0 {
        return Err(NamespaceProblem::Inactive);
    }
    // The number of the format: four bits, and two more above a bit that says how metadata is moved.
    let format = byte(page, field::FORMAT);
    let index = format & 0xf | format >> 1 & 0x30;
    if index > byte(page, field::FORMATS) {
        return Err(NamespaceProblem::Malformed);
    }
    let place = field::FIRST_FORMAT + 4 * usize::from(index);
    let (metadata, shift) = (u16_at(page, place), byte(page, place + 2));
    if metadata != 0 {
        return Err(NamespaceProblem::Metadata(metadata));
    }
    if byte(page, field::PROTECTION) & 7 != 0 {
        return Err(NamespaceProblem::Protection);
    }
    if !(9..=16).contains(&shift) {
        return Err(NamespaceProblem::BlockSize(shift));
    }
    let identifier = [field::GLOBAL_IDENTIFIER, field::EXTENDED_IDENTIFIER]
        .into_iter()
        .filter_map(|range| page.get(range))
        .find(|bytes| bytes.iter().any(|byte| *byte != 0))
        .unwrap_or_default();
    Ok(NamespaceFacts {
        block_bytes: 1 << shift,
        // What cannot be counted in bytes is not there.
        blocks: blocks.min(u64::MAX >> shift),
        write_protected: byte(page, field::WRITE_PROTECTED) & 1 != 0,
        name: namespace_name(&controller.model, controller.vendor, page),
        identifier: identifier.iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut page = vec![0; 4096];
        for (offset, bytes) in parts {
            page[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        page
    }

    #[test]
    fn a_controller_is_read() {
        let facts = controller(
            &page(&[
                (0, &[0x36, 0x1b]),
                (4, b"  serial1 "),
                (24, b"QEMU NVMe Ctrl    "),
                (64, b"7.2"),
                (77, &[7]),
                (80, &[0, 4, 1, 0]),
                (258, &[3, 3]),
                (516, &[0, 1]),
                (520, &[0x5c]),
                (525, &[7]),
            ]),
            12,
        );
        assert_eq!(
            (facts.vendor, &*facts.serial, &*facts.model, &*facts.firmware),
            (0x1b36, "serial1", "QEMU NVMe Ctrl", "7.2")
        );
        assert_eq!((facts.maximum_transfer, facts.aborts, facts.events), (Some(512 << 10), 4, 4));
        assert_eq!((facts.namespaces, facts.lists_namespaces), (256, true));
        assert!(facts.discards && facts.zeroes && facts.write_cache);
        assert_eq!(controller(&page(&[]), 12).maximum_transfer, None);
        assert_eq!(controller(&page(&[(77, &[200])]), 12).maximum_transfer, None);
    }

    #[test]
    fn namespaces_are_listed_until_the_numbers_stop_rising() {
        let list = |numbers: &[u32]| {
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            active_namespaces(&page(&[(0, &bytes)]), 0)
        };
        assert_eq!(list(&[1, 2, 7]), [1, 2, 7]);
        assert_eq!(list(&[5, 5, 6]), [5]);
        assert_eq!(list(&[3, 2]), [3]);
        assert!(list(&[]).is_empty());
        let many: Vec<u32> = (1..1000).collect();
        assert_eq!(list(&many).len(), MAXIMUM_NAMESPACES);
    }

    #[test]
    fn formats_that_are_not_served_are_refused() {
        let facts = |parts: &[(usize, &[u8])]| {
            let size: &[u8] = &[0, 16];
            let mut all = vec![(0, size)];
            all.extend_from_slice(parts);
            namespace(&page(&all), &ControllerFacts::default())
        };
        let good = facts(&[(25, &[7]), (26, &[4]), (128 + 16, &[0, 0, 12, 0]), (120, &[1, 2])]);
        let good = good.expect("4096-byte blocks");
        assert_eq!((good.block_bytes, good.blocks, &*good.identifier), (4096, 4096, "0102000000000000"));
        assert_eq!(facts(&[(128, &[0, 0, 8])]), Err(NamespaceProblem::BlockSize(8)));
        assert_eq!(facts(&[(128, &[0, 0, 17])]), Err(NamespaceProblem::BlockSize(17)));
        assert_eq!(facts(&[(128, &[8, 0, 9])]), Err(NamespaceProblem::Metadata(8)));
        assert_eq!(facts(&[(26, &[1])]), Err(NamespaceProblem::Malformed));
        assert_eq!(facts(&[(29, &[1]), (128, &[0, 0, 9])]), Err(NamespaceProblem::Protection));
        assert_eq!(facts(&[(0, &[0, 0])]), Err(NamespaceProblem::Inactive));
        assert_eq!(namespace(&[], &ControllerFacts::default()), Err(NamespaceProblem::Inactive));
    }
}
