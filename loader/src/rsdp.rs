//! Finds the ACPI root system description pointer in a BIOS's memory [ACPI-6.5 5.2.5].

use crate::PhysicalMemory;

const SIGNATURE: &[u8; 8] = b"RSD PTR ";
const FIRST_LENGTH: usize = 20;
const SECOND_LENGTH: usize = 36;

/// Where the BIOS data area keeps the segment of the extended BIOS data area.
const EBDA_SEGMENT: u64 = 0x40e;

/// Searches the first KiB of the extended BIOS data area and the BIOS's read-only memory [ACPI-6.5 5.2.5.1].
pub fn search(memory: &impl PhysicalMemory) -> Option<u64> {
    let segment = memory.bytes(EBDA_SEGMENT, 2)?.first_chunk::<2>()?;
    let extended = u64::from(u16::from_le_bytes(*segment)) << 4;
    search_range(memory, extended, 1024).or_else(|| search_range(memory, 0xe_0000, 0x2_0000))
}

fn search_range(memory: &impl PhysicalMemory, start: u64, length: usize) -> Option<u64> {
    let bytes = memory.bytes(start, length)?;
    let offset =
        (0..length).step_by(16).find(|offset| bytes.get(*offset..).and_then(checked_length).is_some())?;
    start.checked_add(u64::try_from(offset).ok()?)
}

/// Length of the pointer at the start of `bytes`, if its signature and checksums hold.
pub fn checked_length(bytes: &[u8]) -> Option<usize> {
    if bytes.first_chunk::<8>()? != SIGNATURE {
        return None;
    }
    let sums_to_zero = |length| {
        let sum = bytes.get(..length)?.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        (sum == 0).then_some(length)
    };
    let length = sums_to_zero(FIRST_LENGTH)?;
    let revision = *bytes.get(15)?;
    if revision < 2 { Some(length) } else { sums_to_zero(SECOND_LENGTH) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A pointer with correct checksums.
    pub(crate) fn valid(revision: u8) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.resize(if revision < 2 { FIRST_LENGTH } else { SECOND_LENGTH }, 0);
        bytes[15] = revision;
        bytes[16] = 0x12;
        fix(&mut bytes, 8, FIRST_LENGTH);
        if revision >= 2 {
            bytes[20] = 36;
            fix(&mut bytes, 32, SECOND_LENGTH);
        }
        bytes
    }

    fn fix(bytes: &mut [u8], at: usize, length: usize) {
        let sum = bytes[..length].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        bytes[at] = bytes[at].wrapping_sub(sum);
    }

    struct Memory(Vec<u8>);

    impl PhysicalMemory for Memory {
        fn bytes(&self, address: u64, length: usize) -> Option<&[u8]> {
            self.0.get(usize::try_from(address).ok()?..)?.get(..length)
        }
    }

    fn machine(at: usize, pointer: &[u8]) -> Memory {
        let mut bytes = vec![0; 1 << 20];
        bytes[0x40e..0x410].copy_from_slice(&0x9fc0u16.to_le_bytes());
        bytes[at..][..pointer.len()].copy_from_slice(pointer);
        Memory(bytes)
    }

    #[test]
    fn finds_it_in_both_places() {
        assert_eq!(search(&machine(0x9fc10, &valid(0))), Some(0x9fc10));
        assert_eq!(search(&machine(0xf5ad0, &valid(2))), Some(0xf5ad0));
    }

    #[test]
    fn skips_what_is_unaligned_or_damaged() {
        assert_eq!(search(&machine(0xf5ad1, &valid(0))), None);
        let mut damaged = valid(2);
        damaged[33] ^= 1;
        assert_eq!(search(&machine(0xf5ad0, &damaged)), None);
    }

    #[test]
    fn a_pointer_that_is_cut_off_is_none() {
        assert_eq!(checked_length(&valid(2)[..30]), None);
        assert_eq!(checked_length(&valid(0)), Some(20));
        assert_eq!(checked_length(b"RSD"), None);
    }
}
