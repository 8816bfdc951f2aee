//! The pages through which messages pass: the thread's, and one of each Call.
use alloc::{vec, vec::Vec};
use core::{
    ptr::{self, NonNull},
    sync::atomic::{Ordering, fence},
};

use abi::{CallState, MAXIMUM_CAPABILITIES, MAXIMUM_WORDS, MessageBuffer, MessageInfo, Status};

/// One message buffer of this process. It stays mapped as long as the process lives.
///
/// The kernel writes into it at known times only: into the thread's during a system call, into a Call's while the
/// call is in flight. Counts that reach past its end are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Buffer(NonNull<MessageBuffer>);

impl Buffer {
    /// The buffer at an address.
    ///
    /// # Safety
    /// A message buffer of this process is mapped there for ever, and nothing but the kernel and the
    /// copies of this `Buffer` reach it.
    pub(crate) unsafe fn at(address: u64) -> Option<Self> {
        NonNull::new(ptr::with_exposed_provenance_mut(address as usize)).map(Self)
    }

    /// First word of the segment.
    pub(crate) fn segment(self) -> NonNull<u64> {
        // SAFETY: the field lies inside the buffer, which is mapped.
        unsafe { NonNull::new_unchecked(&raw mut (*self.0.as_ptr()).segment) }.cast()
    }

    /// Writes words into the segment, from word `start` on.
    pub(crate) fn write_words(self, start: usize, words: &[u64]) {
        let count = words.len().min(MAXIMUM_WORDS.saturating_sub(start));
        // SAFETY: `start + count` words fit into the segment, whose memory no reference covers.
        unsafe { self.segment().as_ptr().add(start).copy_from_nonoverlapping(words.as_ptr(), count) }
    }

    /// The first words of the segment.
    pub(crate) fn read_words(self, count: usize) -> Vec<u64> {
        let count = count.min(MAXIMUM_WORDS);
        let mut words = vec![0; count];
        // SAFETY: as in `write_words`.
        unsafe { self.segment().as_ptr().copy_to_nonoverlapping(words.as_mut_ptr(), count) };
        words
    }

    /// Writes the handles that a message carries.
    pub(crate) fn set_capabilities(self, handles: &[u32]) {
        for (index, handle) in handles.iter().enumerate().take(MAXIMUM_CAPABILITIES) {
            // SAFETY: the index is within the array, which lies in the mapped buffer.
            unsafe { (&raw mut (*self.0.as_ptr()).capabilities[index]).write(*handle) }
        }
    }

    /// The handles that a received message carries, and whatever lies behind them.
    pub(crate) fn capabilities(self) -> [u32; MAXIMUM_CAPABILITIES] {
        // SAFETY: the field lies in the mapped buffer.
        unsafe { (&raw const (*self.0.as_ptr()).capabilities).read() }
    }

    /// Says that the Call of this buffer is about to be submitted.
    pub(crate) fn set_in_flight(self) {
        // SAFETY: as in `capabilities`.
        unsafe { (&raw mut (*self.0.as_ptr()).state).write_volatile(CallState::InFlight as u32) }
    }

    /// Whether the call that the Call of this buffer carries was answered.
    pub(crate) fn is_done(self) -> bool {
        // SAFETY: as in `capabilities`; volatile, for the kernel writes it at any time.
        let state = unsafe { (&raw const (*self.0.as_ptr()).state).read_volatile() };
        // Acquire: pairs with the kernel's release before it writes the state, after all the rest.
        fence(Ordering::Acquire);
        state == CallState::Done as u32
    }

    /// How the call ended, and the counts of its answer. Only once [`Self::is_done`].
    pub(crate) fn outcome(self) -> (Status, MessageInfo) {
        // SAFETY: as in `capabilities`.
        let (status, info) = unsafe {
            let buffer = self.0.as_ptr();
            ((&raw const (*buffer).status).read_volatile(), (&raw const (*buffer).info).read_volatile())
        };
        (Status::from_raw(u64::from(status)), MessageInfo(info))
    }

    /// Puts back a page that was copied by [`Self::save`].
    #[cfg(target_os = "none")]
    pub(crate) fn restore(self, saved: &[u64; abi::PAGE_SIZE / 8]) {
        // SAFETY: the buffer is one mapped page.
        unsafe { self.0.as_ptr().cast::<[u64; abi::PAGE_SIZE / 8]>().write(*saved) }
    }

    /// A copy of the whole page.
    #[cfg(target_os = "none")]
    pub(crate) fn save(self) -> [u64; abi::PAGE_SIZE / 8] {
        // SAFETY: the buffer is one mapped page.
        unsafe { self.0.as_ptr().cast::<[u64; abi::PAGE_SIZE / 8]>().read() }
    }
}

/// Words that are copied and cleaned without looking how many there really are: most messages have no more.
pub(crate) const COPIED_AT_ONCE: usize = 8;

/// Copies words of a message.
///
/// # Safety
/// Both places have room for `count` words and for [`COPIED_AT_ONCE`], do not overlap, and hold
/// nothing else.
#[inline]
pub(crate) unsafe fn copy_words(from: NonNull<u64>, to: NonNull<u64>, count: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        to.cast::<[u64; COPIED_AT_ONCE]>().write(from.cast::<[u64; COPIED_AT_ONCE]>().read());
        if count > COPIED_AT_ONCE {
            let rest = count - COPIED_AT_ONCE;
            from.add(COPIED_AT_ONCE).copy_to_nonoverlapping(to.add(COPIED_AT_ONCE), rest);
        }
    }
}
