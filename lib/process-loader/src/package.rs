//! The boot package: finds the binaries in it.

use abi::PAGE_SIZE;
use alloc::{string::String, vec::Vec};
use capnp::message::{Reader, ReaderOptions, SegmentArray};
use core::ops::Range;
use schema::boot_capnp::{binary, boot_package};

/// Most binaries of a package: one for each entry of a manifest, and init.
const MAXIMUM_BINARIES: u32 = 65;

/// Longest name of a binary, in bytes.
const MAXIMUM_NAME: usize = 31;

/// Depth of the deepest pointer of a package, with room.
const NESTING: i32 = 16;

/// Where a binary lies in a package, and what its content must hash to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary {
    /// Its name.
    pub name: String,
    /// SHA-256 of its content, as the package says it.
    pub sha256: [u8; 32],
    /// Its bytes in the package; they start on a page boundary.
    pub range: Range<usize>,
}

impl Binary {
    /// The page of the package in which it starts.
    pub fn first_page(&self) -> u32 {
        // A segment has at most 2^29 words, so that its pages fit.
        (self.range.start / PAGE_SIZE) as u32
    }
}

/// Lends the root of a package, a message of one segment without a segment table, to `read`.
///
/// # Errors
/// Those of `read`, and when the bytes are no such message.
pub fn with_package<R>(
    bytes: &[u8],
    read: impl FnOnce(boot_package::Reader<'_>) -> capnp::Result<R>,
) -> capnp::Result<R> {
    let segments = [bytes];
    let mut options = ReaderOptions::new();
    // Each word may be read twice, so that a list of binaries that overlap cannot cost more than the package is long.
    options.traversal_limit_in_words(Some(bytes.len() / 4)).nesting_limit(NESTING);
    let message = Reader::new(SegmentArray::new(&segments), options);
    read(message.get_root()?)
}

/// All binaries of a package.
///
/// # Errors
/// When the package or one of its binaries is malformed, or a binary is not page aligned.
pub fn binaries(bytes: &[u8]) -> capnp::Result<Vec<Binary>> {
    with_package(bytes, |package| {
        let list = package.get_binaries()?;
        if list.len() > MAXIMUM_BINARIES {
            return Err(failed("the boot package has too many binaries"));
        }
        list.iter().map(|binary| locate(bytes, binary)).collect()
    })
}

fn locate(bytes: &[u8], binary: binary::Reader<'_>) -> capnp::Result<Binary> {
    let name = binary.get_name()?;
    if name.len() > MAXIMUM_NAME {
        return Err(failed("a name in the boot package is too long"));
    }
    let sha256 =
        binary.get_sha256()?.try_into().map_err(|_| failed("a hash of the boot package is not 32 bytes"))?;
    let content = binary.get_content()?;
    let start = content.as_ptr().addr().wrapping_sub(bytes.as_ptr().addr());
    let end = start.checked_add(content.len()).filter(|&end| end <= bytes.len());
    // Content that is missing lies nowhere in the package.
    match end {
        _ if content.is_empty() => Err(failed("a binary of the boot package is empty")),
        Some(end) if start.is_multiple_of(PAGE_SIZE) => {
            Ok(Binary { name: name.to_string()?, sha256, range: start..end })
        }
        _ => Err(failed("a binary of the boot package is not page aligned")),
    }
}

fn failed(reason: &str) -> capnp::Error {
    capnp::Error::failed(reason.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use capnp::message::{Builder, HeapAllocator};

    /// A package with two binaries, padded as the host tool does it.
    fn package(misalign: usize) -> Vec<u64> {
        let mut message = Builder::new(HeapAllocator::new().first_segment_words(4096));
        let mut binaries = message.init_root::<boot_package::Builder<'_>>().init_binaries(2);
        for index in 0..2 {
            let mut binary = binaries.reborrow().get(index);
            binary.set_name(["init", "netstack"][index as usize]);
            binary.set_sha256(&[index as u8; 32]);
        }
        for index in 0..2_u32 {
            let used = message.size_in_words() * 8;
            let mut binaries =
                message.get_root::<boot_package::Builder<'_>>().unwrap().get_binaries().unwrap();
            let padding = used.next_multiple_of(PAGE_SIZE) - used + misalign;
            binaries.reborrow().get(index).init_padding(padding as u32);
            binaries.get(index).set_content(&[index as u8 + 7; 5000]);
        }
        let segments = message.get_segments_for_output();
        assert_eq!(segments.len(), 1);
        segments[0].chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect()
    }

    fn bytes(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// Page-aligned copy, as the kernel maps the package.
    fn with_aligned<R>(bytes: &[u8], read: impl FnOnce(&[u8]) -> R) -> R {
        let mut room = vec![0; bytes.len() + PAGE_SIZE];
        let start = room.as_ptr().align_offset(PAGE_SIZE);
        room[start..start + bytes.len()].copy_from_slice(bytes);
        read(&room[start..start + bytes.len()])
    }

    #[test]
    fn binaries_are_found_where_they_lie() {
        with_aligned(&bytes(&package(0)), |bytes| {
            let binaries = binaries(bytes).unwrap();
            assert_eq!(binaries[1].name, "netstack");
            assert_eq!(binaries[1].sha256, [1; 32]);
            assert_eq!(binaries[1].range.start % PAGE_SIZE, 0);
            assert_eq!(bytes[binaries[1].range.clone()], [8; 5000]);
            assert_eq!(binaries[0].first_page() as usize * PAGE_SIZE, binaries[0].range.start);
        });
    }

    #[test]
    fn a_binary_off_its_page_is_refused() {
        let error = with_aligned(&bytes(&package(8)), binaries).unwrap_err();
        assert!(error.extra.contains("not page aligned"), "{error}");
    }

    #[test]
    fn changed_bytes_are_read_or_refused() {
        let original = bytes(&package(0));
        for place in (0..400).chain([4096, 8192]) {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = original.clone();
                changed[place] = value;
                with_aligned(&changed, |bytes| {
                    for binary in binaries(bytes).unwrap_or_default() {
                        assert!(bytes.get(binary.range).is_some());
                    }
                });
            }
        }
        for length in (0..original.len()).step_by(8) {
            with_aligned(&original[..length], |bytes| drop(binaries(bytes)));
        }
    }
}
