//! Parameters of a call from outside: a copy of the words that lay in the thread's buffer, which the next
//! receive overwrites.
use alloc::boxed::Box;
use core::{cell::Cell, mem::MaybeUninit, ptr::NonNull};

use abi::{MAXIMUM_WORDS, MessageInfo};
use capnp::{
    Error, any_pointer,
    private::{arena::ReaderArena, capability::ParamsHook, layout::CapTable},
};

use crate::{
    buffer::{self, Buffer, COPIED_AT_ONCE},
    capability, message,
    segments::{self, NESTING_LIMIT, TRAVERSAL_LIMIT},
};

/// Words that most calls' parameters fit into.
const FEW_WORDS: usize = 24;
const _: () = assert!(FEW_WORDS >= COPIED_AT_ONCE);

/// Takes the message out of the thread's buffer: copies its words, and takes over its handles.
#[inline]
pub(crate) fn take(buffer: Buffer, info: MessageInfo) -> Box<dyn ParamsHook> {
    if info.words() <= FEW_WORDS && info.capabilities() == 0 {
        Received::<FEW_WORDS>::take(buffer, info.words(), None)
    } else {
        take_large(buffer, info)
    }
}

#[inline(never)]
fn take_large(buffer: Buffer, info: MessageInfo) -> Box<dyn ParamsHook> {
    let handles = buffer.capabilities();
    let capabilities = capability::adopt(&handles[..info.capabilities().min(handles.len())]);
    let capabilities = (!capabilities.is_empty()).then(|| Box::new(capabilities));
    if info.words() <= FEW_WORDS {
        Received::<FEW_WORDS>::take(buffer, info.words(), capabilities)
    } else {
        Received::<MAXIMUM_WORDS>::take(buffer, info.words().min(MAXIMUM_WORDS), capabilities)
    }
}

/// A received message of at most `N` words.
struct Received<const N: usize> {
    capabilities: Option<Box<CapTable>>,
    used: u32,
    /// Words that may still be read.
    traversal: Cell<u64>,
    words: [MaybeUninit<u64>; N],
}

impl<const N: usize> Received<N> {
    /// A copy of the first `used` words, at most `N`, made where it stays.
    #[inline]
    fn take(buffer: Buffer, used: usize, capabilities: Option<Box<CapTable>>) -> Box<Self> {
        let mut received = Box::<Self>::new_uninit();
        let place = received.as_mut_ptr();
        // SAFETY: all fields but the words, which need not be, are initialised. `used` is at most
        // `N`; both places of the copy have room for that and for `COPIED_AT_ONCE`.
        unsafe {
            (&raw mut (*place).capabilities).write(capabilities);
            // At most `MAXIMUM_WORDS`.
            (&raw mut (*place).used).write(used as u32);
            (&raw mut (*place).traversal).write(Cell::new(TRAVERSAL_LIMIT));
            let words = NonNull::new_unchecked(&raw mut (*place).words).cast();
            buffer::copy_words(buffer.segment(), words, used);
            received.assume_init()
        }
    }
}

impl<const N: usize> ParamsHook for Received<N> {
    fn get(&self) -> Result<any_pointer::Reader<'_>, Error> {
        message::read(self, self.used as usize, self.capabilities.as_deref())
    }
}

// SAFETY: segment 0 is the first `used` of `words`, which are initialised; there is no other.
// `contains_interval` and `check_offset` accept only what lies inside it.
unsafe impl<const N: usize> ReaderArena for Received<N> {
    #[inline]
    fn get_segment(&self, id: u32) -> Result<(*const u8, u32), Error> {
        if id == 0 { Ok((self.words.as_ptr().cast(), self.used)) } else { Err(segments::no_segment(id)) }
    }

    unsafe fn check_offset(
        &self,
        id: u32,
        start: *const u8,
        offset_in_words: i32,
    ) -> Result<*const u8, Error> {
        let (first, words) = self.get_segment(id)?;
        segments::check_offset(first, words, start, offset_in_words)
    }

    #[inline]
    fn contains_interval(&self, id: u32, start: *const u8, size: usize) -> Result<(), Error> {
        let (first, words) = self.get_segment(id)?;
        segments::contains_interval(first, words, start, size)?;
        self.amplified_read(size as u64)
    }

    #[inline]
    fn amplified_read(&self, words: u64) -> Result<(), Error> {
        segments::count_read(&self.traversal, words)
    }

    fn nesting_limit(&self) -> i32 {
        NESTING_LIMIT
    }

    fn size_in_words(&self) -> usize {
        self.used as usize
    }
}
