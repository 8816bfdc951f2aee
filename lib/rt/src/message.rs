//! The memory of messages: one segment of at most [`MAXIMUM_WORDS`] words, and its capabilities.
//!
//! A message is built in place where it can be: a request in the page of the Call that will carry
//! it. Memory that a builder gets must be zero, so pages and blocks are kept zero while they are
//! free, and a message cleans only the words that it used.
use alloc::{boxed::Box, vec, vec::Vec};
use core::{
    cell::{Cell, RefCell},
    ptr::{self, NonNull},
    slice,
};

use abi::MAXIMUM_WORDS;
use capnp::{
    Error, ErrorKind, Word, any_pointer,
    private::{
        arena::{BuilderArena, GeneratedCodeArena, ReaderArena},
        layout::{CapTable, PointerBuilder, PointerReader},
    },
    traits::{Imbue, ImbueMut},
};

use crate::{calls::CallPage, runtime::runtime};

/// Words that may be read from one received message, counting again what is read again: a bound on
/// the work that a message whose pointers overlap can cause.
const TRAVERSAL_LIMIT: u64 = 1 << 20;

/// Depth of nesting that is read.
const NESTING_LIMIT: i32 = 64;

/// Free blocks that are kept for reuse; further ones go back to the heap.
const KEPT_BLOCKS: usize = 8;

const WORD_BYTES: usize = 8;

/// The answer of a method without results may have no words at all: it reads as this null pointer.
static NOTHING: [Word; 1] = [capnp::word(0, 0, 0, 0, 0, 0, 0, 0)];
static NOTHING_ARENA: GeneratedCodeArena = GeneratedCodeArena::new(&NOTHING);

/// The segments of one message, as capnp's builders and readers want them.
struct Segments {
    /// The first segment, the only one of a message that can be sent.
    first: NonNull<u64>,
    capacity: u32,
    /// Words that a builder took or that were received.
    used: u32,
    /// Words that may not be zero.
    dirty: u32,
    /// Words that may still be read.
    traversal: Cell<u64>,
    /// Where builders go on when the first segment is full, since they cannot fail: such a message
    /// is refused when it is sent.
    overflow: Vec<Overflow>,
}

/// Where the first segment lies.
enum Storage {
    /// In the page of a Call.
    Page(CallPage),
    /// In a block of [`MAXIMUM_WORDS`] words that is kept zero for reuse.
    Block,
    /// In an allocation of exactly the words received.
    Exact,
}

/// One message: built here and sent, or received and read.
pub(crate) struct Message {
    segments: Segments,
    storage: Storage,
    /// Its capabilities, by the index that pointers name.
    pub(crate) capabilities: CapTable,
}

impl Message {
    /// An empty message in a Call's page.
    pub(crate) fn in_page(page: CallPage) -> Self {
        Self::new(page.buffer.segment(), MAXIMUM_WORDS as u32, Storage::Page(page))
    }

    /// An empty message in a block of the heap.
    pub(crate) fn in_block() -> Self {
        Self::new(runtime().blocks.take(), MAXIMUM_WORDS as u32, Storage::Block)
    }

    /// A message whose root is null.
    pub(crate) fn empty() -> Self {
        Self::received(Box::default())
    }

    /// A received message of these words.
    pub(crate) fn received(words: Box<[u64]>) -> Self {
        // At most `MAXIMUM_WORDS`.
        let length = words.len() as u32;
        let first = NonNull::from(Box::leak(words)).cast();
        let mut message = Self::new(first, length, Storage::Exact);
        message.segments.used = length;
        message
    }

    fn new(first: NonNull<u64>, capacity: u32, storage: Storage) -> Self {
        Self {
            segments: Segments {
                first,
                capacity,
                used: 0,
                dirty: 0,
                traversal: Cell::new(TRAVERSAL_LIMIT),
                overflow: Vec::new(),
            },
            storage,
            capabilities: Vec::new(),
        }
    }

    /// The Call whose page holds the message, if one does.
    pub(crate) fn page(&self) -> Option<&CallPage> {
        match &self.storage {
            Storage::Page(page) => Some(page),
            Storage::Block | Storage::Exact => None,
        }
    }

    /// The root, to be written.
    pub(crate) fn builder(&mut self) -> any_pointer::Builder<'_> {
        if self.segments.used == 0 {
            // The root pointer is the first word.
            self.segments.take(1);
        }
        let root = self.segments.first.as_ptr().cast::<u8>();
        let mut builder = any_pointer::Builder::new(PointerBuilder::get_root(&mut self.segments, 0, root));
        builder.imbue_mut(&mut self.capabilities);
        builder
    }

    /// The root, to be read.
    pub(crate) fn reader(&self) -> Result<any_pointer::Reader<'_>, Error> {
        let arena: &dyn ReaderArena = if self.segments.used == 0 { &NOTHING_ARENA } else { &self.segments };
        let mut reader = any_pointer::Reader::new(PointerReader::get_root_from_arena(arena)?);
        reader.imbue(&self.capabilities);
        Ok(reader)
    }

    /// The words of the message. Errors: `failed` when it does not fit into one segment.
    pub(crate) fn words(&self) -> Result<&[u64], Error> {
        if !self.segments.overflow.is_empty() {
            return Err(Error::failed(alloc::format!(
                "message too large: a message is at most {MAXIMUM_WORDS} words"
            )));
        }
        // SAFETY: `used` words from `first` on are within the capacity, initialised, and belong to
        // this message, which is borrowed as long as the slice.
        Ok(unsafe { slice::from_raw_parts(self.segments.first.as_ptr(), self.segments.used as usize) })
    }

    /// Appends words that are a whole message of their own.
    pub(crate) fn fill(&mut self, words: &[u64]) {
        debug_assert!(self.segments.used == 0 && words.len() <= self.segments.capacity as usize);
        let length = words.len().min(self.segments.capacity as usize);
        self.segments.take(length as u32);
        // SAFETY: the message owns `capacity` words from `first` on and `length` is at most that;
        // `words` is borrowed, so it does not overlap memory that is mutably borrowed here.
        unsafe {
            self.segments.first.as_ptr().copy_from_nonoverlapping(words.as_ptr(), length);
        }
    }

    /// Turns the request in a Call's page into the answer of `words` words that the kernel wrote over it.
    pub(crate) fn become_answer(&mut self, words: usize, capabilities: CapTable) {
        self.segments.used = words.min(self.segments.capacity as usize) as u32;
        self.segments.dirty = self.segments.dirty.max(self.segments.used);
        self.capabilities = capabilities;
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        let Segments { first, capacity, dirty, .. } = self.segments;
        match self.storage {
            Storage::Exact => {
                let memory = ptr::slice_from_raw_parts_mut(first.as_ptr(), capacity as usize);
                // SAFETY: for this storage, `first` and `capacity` are those of a box that
                // `received` took apart, and nothing else frees it.
                drop(unsafe { Box::from_raw(memory) });
            }
            Storage::Block => {
                clean(first, dirty);
                runtime().blocks.put(first);
            }
            Storage::Page(page) => {
                clean(first, dirty);
                runtime().calls.put(page);
            }
        }
    }
}

/// Makes the first `dirty` words zero again.
fn clean(first: NonNull<u64>, dirty: u32) {
    // SAFETY: only called by the owner of at least `dirty` words from `first` on.
    unsafe { first.as_ptr().write_bytes(0, dirty as usize) }
}

impl Segments {
    /// Takes words of the first segment for a builder.
    fn take(&mut self, words: u32) -> Option<u32> {
        let start = self.used;
        if words > self.capacity - start {
            return None;
        }
        self.used = start + words;
        self.dirty = self.dirty.max(self.used);
        Some(start)
    }

    fn overflow_index(segment: u32) -> Option<usize> {
        Some(segment.checked_sub(1)? as usize)
    }
}

// SAFETY: `get_segment` gives pointers to memory that lives as long as the arena, with lengths
// within it, and `contains_interval` accepts only what lies inside the named segment.
unsafe impl ReaderArena for Segments {
    #[inline]
    fn get_segment(&self, id: u32) -> Result<(*const u8, u32), Error> {
        if id == 0 {
            return Ok((self.first.as_ptr().cast_const().cast(), self.used));
        }
        Self::overflow_index(id)
            .and_then(|index| self.overflow.get(index))
            .map(|segment| (segment.words.as_ptr().cast_const().cast(), segment.used))
            .ok_or_else(|| Error::from_kind(ErrorKind::InvalidSegmentId(id)))
    }

    fn contains_interval(&self, id: u32, start: *const u8, size: usize) -> Result<(), Error> {
        let (first, length) = self.get_segment(id)?;
        let inside = (start as usize)
            .checked_sub(first as usize)
            .zip(size.checked_mul(WORD_BYTES))
            .and_then(|(offset, bytes)| offset.checked_add(bytes))
            .is_some_and(|end| end <= length as usize * WORD_BYTES);
        if inside {
            self.amplified_read(size as u64)
        } else {
            Err(Error::from_kind(ErrorKind::MessageContainsOutOfBoundsPointer))
        }
    }

    fn amplified_read(&self, words: u64) -> Result<(), Error> {
        match self.traversal.get().checked_sub(words) {
            Some(left) => {
                self.traversal.set(left);
                Ok(())
            }
            None => Err(Error::from_kind(ErrorKind::ReadLimitExceeded)),
        }
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
    fn allocate(&mut self, id: u32, words: u32) -> Option<u32> {
        if id == 0 {
            return self.take(words);
        }
        self.overflow.get_mut(Self::overflow_index(id)?)?.take(words)
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

    fn get_segment_mut(&mut self, id: u32) -> (*mut u8, u32) {
        match Self::overflow_index(id).and_then(|index| self.overflow.get(index)) {
            Some(segment) => (segment.words.as_ptr().cast(), segment.capacity),
            None => (self.first.as_ptr().cast(), self.capacity),
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
        // SAFETY: `new` took this box apart, and nothing else frees it.
        drop(unsafe { Box::from_raw(memory) });
    }
}

/// Free blocks of [`MAXIMUM_WORDS`] words, all zero.
pub(crate) struct Blocks {
    free: RefCell<Vec<NonNull<u64>>>,
}

impl Blocks {
    pub(crate) const fn new() -> Self {
        Self { free: RefCell::new(Vec::new()) }
    }

    /// A block that the caller owns until [`Self::put`].
    fn take(&self) -> NonNull<u64> {
        if let Some(block) = self.free.borrow_mut().pop() {
            return block;
        }
        NonNull::from(Box::leak(vec![0_u64; MAXIMUM_WORDS].into_boxed_slice())).cast()
    }

    /// Gives back a block that is zero again.
    fn put(&self, block: NonNull<u64>) {
        let mut free = self.free.borrow_mut();
        if free.len() < KEPT_BLOCKS {
            free.push(block);
            return;
        }
        let memory = ptr::slice_from_raw_parts_mut(block.as_ptr(), MAXIMUM_WORDS);
        // SAFETY: every block comes from the box in `take`, and its owner gave it up.
        drop(unsafe { Box::from_raw(memory) });
    }
}
