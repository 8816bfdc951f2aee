//! The word that a ring of frames holds for each buffer.

use super::FrameLayout;
use crate::PeerFault;

/// Where a frame lies in the buffers; as read from a ring it is a claim that is still to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) offset: u32,
    pub(super) length: u16,
    pub(super) flags: u16,
}

impl Descriptor {
    pub(super) const fn to_word(self) -> u64 {
        self.offset as u64 | (self.length as u64) << 32 | (self.flags as u64) << 48
    }

    pub(super) const fn from_word(word: u64) -> Self {
        Self { offset: word as u32, length: (word >> 32) as u16, flags: (word >> 48) as u16 }
    }

    /// The index of the buffer that holds all of the bytes, if it is one of `first .. first + count`.
    pub(super) fn check(self, layout: &FrameLayout, first: u32, count: u32) -> Result<u32, PeerFault> {
        if self.flags != 0 {
            return Err(PeerFault::Flags(self.flags));
        }
        let index = self.offset / layout.buffer_bytes;
        let start = self.offset % layout.buffer_bytes;
        if index < first || index - first >= count || u32::from(self.length) > layout.buffer_bytes - start {
            return Err(PeerFault::Range { offset: self.offset, length: self.length.into() });
        }
        Ok(index)
    }
}
