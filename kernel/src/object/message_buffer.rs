//! The page through which one thread or Call sends and receives messages.
//!
//! It is user memory that the kernel reaches through the direct map, never through user addresses: no access can
//! fault. User code may write it at any time, so the kernel copies before it looks.

use super::account::Account;
use super::address_space::{AddressSpace, Placement};
use super::memory_object::{MemoryObject, View};
use crate::error::Error;
use abi::{CallState, MAXIMUM_CAPABILITIES, MAXIMUM_WORDS, MessageInfo, Status};
use alloc::sync::Arc;
use core::ptr::{self, NonNull};
use schema::memory_capnp::Protection;

/// A message buffer and the page behind it.
#[derive(Clone)]
pub struct MessageBuffer {
    page: NonNull<abi::MessageBuffer>,
    _memory: Arc<MemoryObject>,
}

// SAFETY: the page is shared memory that is only accessed with volatile or whole-word copies.
unsafe impl Send for MessageBuffer {}
// SAFETY: as above.
unsafe impl Sync for MessageBuffer {}

impl MessageBuffer {
    /// A new page, mapped at `address`.
    pub fn map(space: &AddressSpace, account: &Arc<Account>, address: u64) -> Result<Self, Error> {
        let memory = MemoryObject::new(account, 1)?;
        let placement = Placement { offset: 0, pages: 1, address };
        space.map_memory(&memory, View::Full, &placement, Protection::ReadWrite)?;
        let page = memory.frame(0).and_then(|frame| NonNull::new(frame.pointer()));
        Ok(Self { page: page.ok_or(Error::failed("no page"))?, _memory: memory })
    }

    /// Copies `words` words of segment into another buffer.
    #[inline]
    pub fn copy_segment(&self, words: usize, to: &Self) {
        let words = words.min(MAXIMUM_WORDS);
        // SAFETY: both segments are `MAXIMUM_WORDS` long, and different pages (or the same, then nothing moves).
        unsafe {
            copy_words(&raw const (*self.page.as_ptr()).segment, &raw mut (*to.page.as_ptr()).segment, words)
        };
    }

    /// Copies `words` words of segment into kernel memory.
    #[inline]
    pub fn read_segment(&self, words: usize, to: &mut [u64; MAXIMUM_WORDS]) {
        // SAFETY: both are `MAXIMUM_WORDS` long, and `to` is kernel memory.
        unsafe { copy_words(&raw const (*self.page.as_ptr()).segment, to, words.min(MAXIMUM_WORDS)) };
    }

    /// Copies words into the segment.
    pub fn write_segment(&self, words: &[u64]) {
        let count = words.len().min(MAXIMUM_WORDS);
        // SAFETY: `count` is within both.
        unsafe { copy_words(words.as_ptr().cast(), &raw mut (*self.page.as_ptr()).segment, count) };
    }

    /// Writes a text, padded to whole words; returns how it is announced.
    pub fn write_text(&self, text: &str) -> MessageInfo {
        let bytes = text.as_bytes();
        let words = bytes.len().div_ceil(8).min(MAXIMUM_WORDS);
        for (index, chunk) in bytes.chunks(8).take(words).enumerate() {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            // SAFETY: `index` is below `MAXIMUM_WORDS`.
            unsafe {
                let segment = (&raw mut (*self.page.as_ptr()).segment).cast::<u64>();
                segment.add(index).write_volatile(u64::from_le_bytes(word));
            }
        }
        MessageInfo::new(0, words as u16, 0)
    }

    /// The handles of a message, as user code wrote them just now.
    pub fn capabilities(&self) -> [u32; MAXIMUM_CAPABILITIES] {
        // SAFETY: the field is in the page.
        unsafe { (&raw const (*self.page.as_ptr()).capabilities).read_volatile() }
    }

    /// Writes one handle of a message.
    pub fn set_capability(&self, index: usize, handle: u32) {
        if index < MAXIMUM_CAPABILITIES {
            // SAFETY: the index is within the field.
            unsafe {
                (&raw mut (*self.page.as_ptr()).capabilities).cast::<u32>().add(index).write_volatile(handle)
            };
        }
    }

    /// The start of the message that lies there.
    pub fn first_words<const N: usize>(&self) -> [u64; N] {
        const { assert!(N <= MAXIMUM_WORDS) };
        // SAFETY: the index is below `MAXIMUM_WORDS`.
        core::array::from_fn(|index| unsafe {
            (&raw const (*self.page.as_ptr()).segment).cast::<u64>().add(index).read_volatile()
        })
    }

    /// Where the Call of this buffer stands, as user code can write it.
    pub fn call_state(&self) -> u32 {
        // SAFETY: the field is in the page.
        unsafe { (&raw const (*self.page.as_ptr()).state).read_volatile() }
    }

    /// Writes where the Call of this buffer stands.
    pub fn set_call_state(&self, state: CallState, status: Status, info: MessageInfo) {
        let page = self.page.as_ptr();
        // SAFETY: the fields are in the page. The state is written last: user code looks at it first.
        unsafe {
            (&raw mut (*page).status).write_volatile(status as u32);
            (&raw mut (*page).info).write_volatile(info.0);
            core::sync::atomic::fence(core::sync::atomic::Ordering::Release);
            (&raw mut (*page).state).write_volatile(state as u32);
        }
    }
}

/// # Safety
///
/// Both ranges must be valid for `words` words.
#[inline]
unsafe fn copy_words(from: *const [u64; MAXIMUM_WORDS], to: *mut [u64; MAXIMUM_WORDS], words: usize) {
    if ptr::eq(from, to) {
        return;
    }
    // SAFETY: by the caller's word. The string instruction reads shared memory once.
    unsafe {
        core::arch::asm!("rep movsq", inout("rcx") words => _, inout("rsi") from => _, inout("rdi") to => _,
            options(nostack, preserves_flags));
    }
}
