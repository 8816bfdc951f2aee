//! The segments of one message, as capnp's builders and readers want them.
use alloc::{boxed::Box, vec, vec::Vec};
use core::{cell::Cell, ptr, ptr::NonNull};

use abi::MAXIMUM_WORDS;
use capnp::{
    Error, ErrorKind,
    private::arena::{BuilderArena, ReaderArena},
};

use crate::buffer::COPIED_AT_ONCE;

/// Words that may be read from one received message, counting again what is read again: a bound on
/// the work that a message whose pointers overlap can cause.
pub(crate) const TRAVERSAL_LIMIT: u64 = 1 << 20;

/// Depth of nesting that is read.
pub(crate) const NESTING_LIMIT: i32 = 64;

/// Words of the first segment.
const CAPACITY: u32 = MAXIMUM_WORDS as u32;

const WORD_BYTES: usize = 8;

/// One segment, and what did not fit into it.
pub(crate) struct Segments {
    first: NonNull<u64>,
    /// Words that a builder took or that were received.
    used: u32,
    /// Words that may not be zero, besides the first [`COPIED_AT_ONCE`] and those in use.
    dirty: u32,
    /// Words that may still be read.
    traversal: Cell<u64>,
    /// Where builders go on when the first segment is full, since they cannot fail: such a message
    /// is refused when it is sent.
    overflow: Vec<Overflow>,
}

impl Segments {
    /// Empty segments, of which the first has [`MAXIMUM_WORDS`] words at `first`.
    ///
    /// # Safety
    /// The words are zero, and belong to the new value as long as it lives.
    pub(crate) unsafe fn new(first: NonNull<u64>) -> Self {
        Self { first, used: 0, dirty: 0, traversal: Cell::new(TRAVERSAL_LIMIT), overflow: Vec::new() }
    }

    /// First word.
    #[inline]
    pub(crate) fn first(&self) -> NonNull<u64> {
        self.first
    }

    /// Words in use of the first segment.
    #[inline]
    pub(crate) fn used(&self) -> usize {
        self.used as usize
    }

    /// Whether there is more than the first segment.
    #[inline]
    pub(crate) fn has_overflow(&self) -> bool {
        !self.overflow.is_empty()
    }

    /// Takes the first word, which is the root pointer, unless it is taken.
    #[inline]
    pub(crate) fn begin(&mut self) {
        if self.used == 0 {
            self.used = 1;
        }
    }

    /// Notes that the first `words` words were written from outside.
    #[inline]
    pub(crate) fn set_used(&mut self, words: usize) {
        debug_assert!(words <= MAXIMUM_WORDS);
        if self.used as usize > COPIED_AT_ONCE {
            self.dirty = self.dirty.max(self.used);
        }
        self.used = words as u32;
    }

    /// Makes the first segment as new.
    #[inline]
    pub(crate) fn clean(&mut self) {
        // SAFETY: the first segment has more words than this, and they belong to this value.
        unsafe { self.first.cast::<[u64; COPIED_AT_ONCE]>().write([0; COPIED_AT_ONCE]) };
        if self.dirty.max(self.used) as usize > COPIED_AT_ONCE {
            self.clean_rest();
        }
        self.used = 0;
        self.dirty = 0;
        self.traversal.set(TRAVERSAL_LIMIT);
    }

    #[cold]
    fn clean_rest(&mut self) {
        let rest = self.dirty.max(self.used) as usize - COPIED_AT_ONCE;
        // SAFETY: `dirty` and `used` words of the first segment belong to this value.
        unsafe { self.first.add(COPIED_AT_ONCE).write_bytes(0, rest) };
    }

    /// Drops what did not fit into the first segment.
    pub(crate) fn clear(&mut self) {
        self.overflow = Vec::new();
    }

    #[inline]
    fn take(&mut self, words: u32) -> Option<u32> {
        let start = self.used;
        if words > CAPACITY - start {
            return None;
        }
        self.used = start + words;
        Some(start)
    }

    /// Start and words of a segment.
    #[inline]
    fn segment(&self, id: u32) -> Option<(NonNull<u64>, u32)> {
        if id == 0 { Some((self.first, self.used)) } else { self.overflow_segment(id) }
    }

    #[cold]
    fn overflow_segment(&self, id: u32) -> Option<(NonNull<u64>, u32)> {
        self.overflow.get(id as usize - 1).map(|segment| (segment.words, segment.used))
    }
}

#[cold]
pub(crate) fn no_segment(id: u32) -> Error {
    Error::from_kind(ErrorKind::InvalidSegmentId(id))
}

#[cold]
fn outside() -> Error {
    Error::from_kind(ErrorKind::MessageContainsOutOfBoundsPointer)
}

/// Where `start` moved by an offset points, if that lies inside the segment or just behind it.
#[inline]
pub(crate) fn check_offset(
    first: *const u8,
    words: u32,
    start: *const u8,
    offset_in_words: i32,
) -> Result<*const u8, Error> {
    let target = start.wrapping_offset(offset_in_words as isize * WORD_BYTES as isize);
    // What lies before the segment wraps around to a large offset.
    let offset = target.addr().wrapping_sub(first.addr());
    if offset > words as usize * WORD_BYTES { Err(outside()) } else { Ok(target) }
}

/// Checks that `size` words at `start` lie inside the segment.
#[inline]
pub(crate) fn contains_interval(
    first: *const u8,
    words: u32,
    start: *const u8,
    size: usize,
) -> Result<(), Error> {
    // What lies before the segment wraps around to a large offset.
    let offset = start.addr().wrapping_sub(first.addr());
    let words = words as usize;
    if size > words || offset > (words - size) * WORD_BYTES { Err(outside()) } else { Ok(()) }
}

/// Counts words that are read against what may still be read.
#[inline]
pub(crate) fn count_read(left: &Cell<u64>, words: u64) -> Result<(), Error> {
    match left.get().checked_sub(words) {
        Some(rest) => {
            left.set(rest);
            Ok(())
        }
        None => Err(Error::from_kind(ErrorKind::ReadLimitExceeded)),
    }
}

// SAFETY: `get_segment` gives pointers to memory that lives as long as the arena, with lengths within it;
// `contains_interval` and `check_offset` accept only what lies inside the named segment.
unsafe impl ReaderArena for Segments {
    #[inline]
    fn get_segment(&self, id: u32) -> Result<(*const u8, u32), Error> {
        let (start, words) = self.segment(id).ok_or_else(|| no_segment(id))?;
        Ok((start.as_ptr().cast_const().cast(), words))
    }

    unsafe fn check_offset(
        &self,
        id: u32,
        start: *const u8,
        offset_in_words: i32,
    ) -> Result<*const u8, Error> {
        let (first, words) = self.get_segment(id)?;
        check_offset(first, words, start, offset_in_words)
    }

    #[inline]
    fn contains_interval(&self, id: u32, start: *const u8, size: usize) -> Result<(), Error> {
        let (first, words) = self.get_segment(id)?;
        contains_interval(first, words, start, size)?;
        self.amplified_read(size as u64)
    }

    #[inline]
    fn amplified_read(&self, words: u64) -> Result<(), Error> {
        count_read(&self.traversal, words)
    }

    fn nesting_limit(&self) -> i32 {
        NESTING_LIMIT
    }

    fn size_in_words(&self) -> usize {
        self.used as usize + self.overflow.iter().map(|segment| segment.used as usize).sum::<usize>()
    }
}

// SAFETY: words given out are zero, inside their segment, and given out once.
unsafe impl BuilderArena for Segments {
    #[inline]
    fn allocate(&mut self, id: u32, words: u32) -> Option<u32> {
        if id == 0 { self.take(words) } else { self.overflow.get_mut(id as usize - 1)?.take(words) }
    }

    fn allocate_anywhere(&mut self, words: u32) -> (u32, u32) {
        if let Some(start) = self.take(words) {
            return (0, start);
        }
        if let Some(last) = self.overflow.last_mut()
            && let Some(start) = last.take(words)
        {
            return (self.overflow.len() as u32, start);
        }
        self.overflow.push(Overflow::new(words));
        (self.overflow.len() as u32, 0)
    }

    #[inline]
    fn get_segment_mut(&mut self, id: u32) -> (*mut u8, u32) {
        match id.checked_sub(1).and_then(|index| self.overflow.get(index as usize)) {
            None => (self.first.as_ptr().cast(), CAPACITY),
            Some(segment) => (segment.words.as_ptr().cast(), segment.capacity),
        }
    }

    fn as_reader(&self) -> &dyn ReaderArena {
        self
    }
}

/// A segment beyond the first.
struct Overflow {
    words: NonNull<u64>,
    capacity: u32,
    used: u32,
}

impl Overflow {
    /// A segment whose first `words` words are taken.
    fn new(words: u32) -> Self {
        let capacity = words.max(MAXIMUM_WORDS as u32);
        let memory = Box::leak(vec![0_u64; capacity as usize].into_boxed_slice());
        Self { words: NonNull::from(memory).cast(), capacity, used: words }
    }

    fn take(&mut self, words: u32) -> Option<u32> {
        let start = self.used;
        if words > self.capacity - start {
            return None;
        }
        self.used = start + words;
        Some(start)
    }
}

impl Drop for Overflow {
    fn drop(&mut self) {
        let memory = ptr::slice_from_raw_parts_mut(self.words.as_ptr(), self.capacity as usize);
        // SAFETY: `new` leaked this box, and nothing else frees it.
        drop(unsafe { Box::from_raw(memory) });
    }
}
