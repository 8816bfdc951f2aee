//! Looking at mapped memory byte by byte.

use rt::memory::Mapping;

/// The bytes of a mapping, each read once.
pub fn bytes(mapping: &Mapping) -> impl Iterator<Item = u8> + '_ {
    let start = mapping.as_ptr();
    // SAFETY: the offset is inside the mapping, which is readable and lives as long as the iterator.
    (0..mapping.len()).map(move |offset| unsafe { start.add(offset).read_volatile() })
}
