//! The word that a ring of frames holds for each buffer.

use super::Kind;
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

    /// The index of the buffer of this kind that holds all of the bytes. What the flags say is the caller's to check.
    pub(super) fn check(self, kind: Kind) -> Result<u32, PeerFault> {
        let fault = PeerFault::Range { offset: self.offset, length: self.length.into() };
        let offset = self.offset.checked_sub(kind.offset).ok_or(fault)?;
        let (number, start) = (offset / kind.bytes, offset % kind.bytes);
        if number >= kind.count || u32::from(self.length) > kind.bytes - start {
            return Err(fault);
        }
        Ok(kind.first + number)
    }
}
