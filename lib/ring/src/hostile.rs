//! A peer that writes anything anywhere, for the tests of all rings.

use crate::{HeapMemory, SharedMemory};
use std::sync::Arc;

/// Writes into ring memory behind the back of both sides.
pub(crate) fn poke(rings: &Arc<HeapMemory>, offset: usize, value: u32) {
    assert!(offset + 4 <= rings.len());
    let pointer = rings.as_ptr().as_ptr().wrapping_add(offset).cast::<u32>();
    // SAFETY: inside the allocation (checked) and aligned by the callers' offsets; one thread only.
    unsafe { pointer.write_volatile(value) }
}

/// Xorshift: a small generator whose run can be repeated from its seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
