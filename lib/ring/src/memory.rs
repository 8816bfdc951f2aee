//! Memory that is shared with another process, and checked raw access to it.

use alloc::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    sync::Arc,
};
use core::{
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64},
};

/// Alignment in bytes that shared memory has at least: that of a cache line.
pub(crate) const ALIGNMENT: usize = 64;

/// Memory that stays mapped, readable and writable, for as long as the value lives.
///
/// # Safety
///
/// `as_ptr()` and `len()` always answer the same; all bytes of the range are mapped read-write until the value is
/// dropped; the range starts on a multiple of 64; nothing in this process holds a
/// Rust reference to plain data in it.
pub unsafe trait SharedMemory {
    /// The first byte.
    fn as_ptr(&self) -> NonNull<u8>;
    /// Length in bytes.
    fn len(&self) -> usize;
    /// Whether there are no bytes at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

// SAFETY: a `Mapping` is page aligned, never moves, and is unmapped only when it is dropped; `rt` hands
// out no references to its bytes.
unsafe impl SharedMemory for rt::memory::Mapping {
    fn as_ptr(&self) -> NonNull<u8> {
        rt::memory::Mapping::as_ptr(self)
    }

    fn len(&self) -> usize {
        rt::memory::Mapping::len(self)
    }
}

/// Wraps memory for the rings in it, which all keep it mapped. It is an `Arc` so that rings over memory that may
/// change threads may do so too; over a mapping of this process they stay on theirs.
pub fn share<M: SharedMemory>(memory: M) -> Arc<M> {
    Arc::new(memory)
}

/// Zeroed heap memory, for rings inside one process: tests, and servers that call themselves.
pub struct HeapMemory {
    start: NonNull<u8>,
    layout: Layout,
}

impl HeapMemory {
    /// Allocates at least `bytes` zeroed bytes, in whole pages of 4096.
    ///
    /// # Panics
    ///
    /// When the size does not fit the address space.
    pub fn new(bytes: usize) -> Self {
        let size = bytes.max(1).next_multiple_of(4096);
        let layout = Layout::from_size_align(size, 4096).expect("a size that fits the address space");
        // SAFETY: the size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        Self { start: NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout)), layout }
    }
}

impl Drop for HeapMemory {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and freed only here.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

// SAFETY: the allocation is page aligned, lives until drop, and is reached only through this trait.
unsafe impl SharedMemory for HeapMemory {
    fn as_ptr(&self) -> NonNull<u8> {
        self.start
    }

    fn len(&self) -> usize {
        self.layout.size()
    }
}

// SAFETY: it owns its allocation, and all access goes through atomics or raw copies.
unsafe impl Send for HeapMemory {}
// SAFETY: as above.
unsafe impl Sync for HeapMemory {}

/// A checked part of shared memory that keeps the whole mapped.
pub(crate) struct Region<M> {
    start: NonNull<u8>,
    length: usize,
    memory: Arc<M>,
}

impl<M> Clone for Region<M> {
    fn clone(&self) -> Self {
        Self { start: self.start, length: self.length, memory: Arc::clone(&self.memory) }
    }
}

// SAFETY: a region is the memory's owner plus an address inside it; all access is atomic or by raw copy.
unsafe impl<M: Send + Sync> Send for Region<M> {}
// SAFETY: as above.
unsafe impl<M: Send + Sync> Sync for Region<M> {}

impl<M: SharedMemory> Region<M> {
    /// Bytes `offset .. offset + length` of `memory`; `None` when they are not all there or `offset` is
    /// not 64-byte aligned.
    pub(crate) fn new(memory: &Arc<M>, offset: usize, length: usize) -> Option<Self> {
        let start = memory.as_ptr();
        if !offset.is_multiple_of(ALIGNMENT)
            || !start.as_ptr().addr().is_multiple_of(ALIGNMENT)
            || offset.checked_add(length)? > memory.len()
        {
            return None;
        }
        // SAFETY: `offset` is at most the length of the memory, by the check above.
        let start = unsafe { start.byte_add(offset) };
        Some(Self { start, length, memory: Arc::clone(memory) })
    }

    /// A shared structure of atomics at the start of the region.
    ///
    /// # Panics
    ///
    /// When the region is smaller than `T`: the caller made it of that size.
    pub(crate) fn header<T: SharedLayout>(&self) -> &T {
        assert!(size_of::<T>() <= self.length && align_of::<T>() <= ALIGNMENT);
        // SAFETY: the range is mapped while `self.memory` lives, long enough and aligned (checked), and `T` is made
        // only of atomics, for which every bit pattern is valid and which others may change.
        unsafe { self.start.cast::<T>().as_ref() }
    }

    /// The `index`-th 64-bit word; `None` past the end.
    pub(crate) fn word(&self, index: usize) -> Option<&AtomicU64> {
        let offset = index.checked_mul(8)?;
        if offset.checked_add(8)? > self.length {
            return None;
        }
        // SAFETY: the word is inside the region (checked), aligned to 8 because the region is to 64, and
        // an atomic is valid for every bit pattern and for changes by others.
        Some(unsafe { self.start.byte_add(offset).cast::<AtomicU64>().as_ref() })
    }

    /// The first byte of `offset .. offset + length`, if all of them are inside.
    fn bytes(&self, offset: usize, length: usize) -> Option<NonNull<u8>> {
        if offset.checked_add(length)? > self.length {
            return None;
        }
        // SAFETY: `offset` is at most the length of the region, by the check above.
        Some(unsafe { self.start.byte_add(offset) })
    }

    /// Copies from the region into `target`. `None`, with nothing done, when the range is not inside.
    // An empty range is usual: what does not reach the end of a ring has no second part.
    pub(crate) fn copy_out(&self, offset: usize, target: &mut [u8]) -> Option<()> {
        if target.is_empty() {
            return Some(());
        }
        let source = self.bytes(offset, target.len())?;
        // SAFETY: both ranges are valid for the length and cannot overlap, since no reference to shared memory
        // exists. The peer may change the bytes meanwhile; they are plain bytes and are checked
        // where they lie after the copy.
        unsafe { source.as_ptr().copy_to_nonoverlapping(target.as_mut_ptr(), target.len()) };
        Some(())
    }

    /// Copies `source` into the region. `None`, with nothing done, when the range is not inside.
    pub(crate) fn copy_in(&self, offset: usize, source: &[u8]) -> Option<()> {
        if source.is_empty() {
            return Some(());
        }
        let target = self.bytes(offset, source.len())?;
        // SAFETY: as in `copy_out`.
        unsafe { target.as_ptr().copy_from_nonoverlapping(source.as_ptr(), source.len()) };
        Some(())
    }

    /// Lends a range to `f` in place. `None`, without calling it, when the range is not inside.
    ///
    /// The slice lies in memory that the peer can write while `f` runs: see [`crate::frame`], "In place".
    pub(crate) fn lend<R>(&self, offset: usize, length: usize, f: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let start = self.bytes(offset, length)?;
        // SAFETY: the range is mapped while `self` lives. Every byte value is a valid `u8`, so what the peer writes
        // meanwhile can change the values that `f` reads, and nothing else: the peer is another process
        // whose stores the compiler cannot see. `f` cannot keep the slice.
        Some(f(unsafe { NonNull::slice_from_raw_parts(start, length).as_ref() }))
    }

    /// Lends a range to `f` for writing. `None`, without calling it, when the range is not inside.
    ///
    /// The caller holds the range by the ring's protocol, so that no other slice of it exists in this process.
    pub(crate) fn lend_mut<R>(
        &mut self,
        offset: usize,
        length: usize,
        f: impl FnOnce(&mut [u8]) -> R,
    ) -> Option<R> {
        let start = self.bytes(offset, length)?;
        // SAFETY: as in `lend`; `&mut self` keeps a second slice through this region from being made meanwhile, and
        // clones of a region are made only for buffers that are handed out one by one, by value.
        Some(f(unsafe { NonNull::slice_from_raw_parts(start, length).as_mut() }))
    }
}

/// Structures that may lie in shared memory.
///
/// # Safety
///
/// `repr(C)`, made of atomic integers only, aligned to at most 64.
pub(crate) unsafe trait SharedLayout {}

// SAFETY: an atomic integer.
unsafe impl SharedLayout for AtomicU32 {}
