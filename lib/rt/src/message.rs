//! The memory of messages: one segment of at most [`MAXIMUM_WORDS`] words, and its capabilities.
//!
//! A message is built in place where it can be: a request in the page of the Call that will carry
//! it. Memory that a builder gets must be zero, so what is free is kept zero, and a message cleans only the words
//! that it used. Bodies are kept for reuse together with their memory: on the path of a call no message
//! is allocated.
use alloc::{boxed::Box, vec, vec::Vec};
use core::{
    mem::{self, ManuallyDrop},
    ops::{Deref, DerefMut},
    ptr::{self, NonNull},
    slice,
};

use abi::MAXIMUM_WORDS;
use capnp::{
    Error, Word, any_pointer,
    private::{
        arena::{GeneratedCodeArena, ReaderArena},
        layout::{CapTable, PointerBuilder, PointerReader},
    },
    traits::{Imbue, ImbueMut},
};

use crate::{
    buffer::{self, Buffer},
    runtime::runtime,
    segments::Segments,
};

/// An answer or parameters without fields may have no words at all: they read as this null pointer.
static NOTHING: [Word; 1] = [capnp::word(0, 0, 0, 0, 0, 0, 0, 0)];
static NOTHING_ARENA: GeneratedCodeArena = GeneratedCodeArena::new(&NOTHING);

/// Where a message's words lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the page of this Call.
    Page(CallId),
    /// In memory of the heap.
    Block,
}

/// One Call object of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallId {
    /// Its handle.
    pub(crate) handle: u32,
    /// Its number, from 0 on.
    pub(crate) index: u32,
    /// Its page.
    pub(crate) buffer: Buffer,
}

/// A message and its memory, in use or free.
pub(crate) struct Body {
    segments: Segments,
    capabilities: CapTable,
    place: Place,
    /// The next one in the list of free bodies that this one is in.
    next: Option<NonNull<Body>>,
}

impl Body {
    /// A body for the page of a Call.
    pub(crate) fn of_call(call: CallId) -> Box<Self> {
        Self::new(call.buffer.segment(), Place::Page(call))
    }

    /// A body with a block of the heap.
    #[cold]
    pub(crate) fn of_block() -> Box<Self> {
        let memory = Box::leak(vec![0_u64; MAXIMUM_WORDS].into_boxed_slice());
        Self::new(NonNull::from(memory).cast(), Place::Block)
    }

    fn new(first: NonNull<u64>, place: Place) -> Box<Self> {
        // SAFETY: the memory is a Call's page, or a leaked block that `drop` takes back; this body
        // owns it, and it is zero.
        let segments = unsafe { Segments::new(first) };
        Box::new(Self { segments, capabilities: Vec::new(), place, next: None })
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if self.place == Place::Block {
            let memory = ptr::slice_from_raw_parts_mut(self.segments.first().as_ptr(), MAXIMUM_WORDS);
            // SAFETY: `of_block` leaked this box, and nothing else frees it.
            drop(unsafe { Box::from_raw(memory) });
        }
    }
}

/// One message: built here and sent, or received and read. Its memory is used again when it is dropped.
pub(crate) struct Message(ManuallyDrop<Box<Body>>);

impl Deref for Message {
    type Target = Body;

    fn deref(&self) -> &Body {
        &self.0
    }
}

impl DerefMut for Message {
    fn deref_mut(&mut self) -> &mut Body {
        &mut self.0
    }
}

impl Drop for Message {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the message is being dropped, so that nothing takes it a second time.
        let mut body = unsafe { ManuallyDrop::take(&mut self.0) };
        if !body.is_plain() {
            body.clear();
        }
        body.segments.clean();
        match body.place {
            Place::Page(_) => runtime().calls.put(body),
            Place::Block => runtime().blocks.put(body),
        }
    }
}

impl Message {
    /// An empty message in the page of a Call.
    #[inline]
    pub(crate) fn in_page(body: Box<Body>) -> Self {
        Self(ManuallyDrop::new(body))
    }

    /// An empty message in memory of the heap.
    pub(crate) fn in_block() -> Self {
        Self(ManuallyDrop::new(runtime().blocks.take()))
    }
}

impl Body {
    /// Replaces the next one in the list that it is in; the one before.
    #[inline]
    pub(crate) fn set_next(&mut self, next: Option<NonNull<Self>>) -> Option<NonNull<Self>> {
        mem::replace(&mut self.next, next)
    }

    /// Whether it has no capabilities and is one segment: then it can be sent as it is.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.capabilities.is_empty() && !self.segments.has_overflow()
    }

    /// Number of words of the first segment.
    #[inline]
    pub(crate) fn used(&self) -> usize {
        self.segments.used()
    }

    /// Its Call, if it lies in the page of one.
    #[inline]
    pub(crate) fn call(&self) -> Option<&CallId> {
        match &self.place {
            Place::Page(call) => Some(call),
            Place::Block => None,
        }
    }

    /// Its capabilities, by the index that pointers name.
    #[inline]
    pub(crate) fn capabilities(&self) -> &CapTable {
        &self.capabilities
    }

    /// Drops its capabilities, and what did not fit into one segment.
    #[cold]
    fn clear(&mut self) {
        self.capabilities.clear();
        self.segments.clear();
    }

    /// Takes its capabilities away.
    pub(crate) fn take_capabilities(&mut self) -> CapTable {
        mem::take(&mut self.capabilities)
    }

    /// The root, to be written.
    #[inline]
    pub(crate) fn builder(&mut self) -> any_pointer::Builder<'_> {
        self.segments.begin();
        let root = self.segments.first().as_ptr().cast::<u8>();
        let mut builder = any_pointer::Builder::new(PointerBuilder::get_root(&mut self.segments, 0, root));
        builder.imbue_mut(&mut self.capabilities);
        builder
    }

    /// The root, to be read.
    #[inline]
    pub(crate) fn reader(&self) -> Result<any_pointer::Reader<'_>, Error> {
        read(&self.segments, self.segments.used(), Some(&self.capabilities))
    }

    /// Number of words. Errors: `failed` when the message does not fit into one segment.
    #[inline]
    pub(crate) fn length(&self) -> Result<usize, Error> {
        if self.segments.has_overflow() { Err(too_large()) } else { Ok(self.segments.used()) }
    }

    /// Its words, of a message that fits into one segment.
    pub(crate) fn words(&self) -> &[u64] {
        // SAFETY: `used` words from `first` on are within the capacity, initialised, and belong to
        // this message, which is borrowed as long as the slice.
        unsafe { slice::from_raw_parts(self.segments.first().as_ptr(), self.segments.used()) }
    }

    /// Copies its words into a buffer.
    #[inline]
    pub(crate) fn copy_to(&self, buffer: Buffer) {
        // SAFETY: both have room for as many words, and are different memory.
        unsafe { buffer::copy_words(self.segments.first(), buffer.segment(), self.segments.used()) };
    }

    /// Moves the content of a message that fits into one segment here, into an empty one.
    pub(crate) fn take_over(&mut self, mut from: Message) {
        let words = from.segments.used();
        // SAFETY: both have room for as many words, and are different memory.
        unsafe { buffer::copy_words(from.segments.first(), self.segments.first(), words) };
        self.segments.set_used(words);
        self.capabilities = from.take_capabilities();
    }

    /// Turns the request in a Call's page into the answer that the kernel wrote over it.
    #[inline]
    pub(crate) fn become_answer(&mut self, words: usize, capabilities: CapTable) {
        self.segments.set_used(words.min(MAXIMUM_WORDS));
        if !self.capabilities.is_empty() || !capabilities.is_empty() {
            self.capabilities = capabilities;
        }
    }
}

/// The root of a message of `words` words in an arena.
#[inline]
pub(crate) fn read<'a>(
    arena: &'a impl ReaderArena,
    words: usize,
    capabilities: Option<&'a CapTable>,
) -> Result<any_pointer::Reader<'a>, Error> {
    if words == 0 {
        return nothing();
    }
    let mut reader = any_pointer::Reader::new(PointerReader::get_root_from_arena(arena)?);
    if let Some(capabilities) = capabilities {
        reader.imbue(capabilities);
    }
    Ok(reader)
}

/// The root of a message without words: a null pointer.
#[cold]
#[inline(never)]
fn nothing() -> Result<any_pointer::Reader<'static>, Error> {
    PointerReader::get_root_from_arena(&NOTHING_ARENA).map(any_pointer::Reader::new)
}

#[cold]
fn too_large() -> Error {
    Error::failed(alloc::format!("message too large: a message is at most {MAXIMUM_WORDS} words"))
}
