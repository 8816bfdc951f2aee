//! Requests and answers, and their words in the rings.

use super::{BUFFER_ALIGNMENT, BlockLayout, REQUEST_WORDS};
use crate::PeerFault;

/// What tells the unanswered requests of a queue apart: a number below its depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u16);

/// Whether a write may stay in the device's cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// It is lost with the power until a flush, where the device has such a cache.
    Cached,
    /// It is answered when it would outlive the power.
    Durable,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// 0: fills the data from the blocks.
    Read,
    /// 1: writes the data to the blocks.
    Write(WriteMode),
    /// 2: makes all writes that were answered outlive the power; its blocks are 0.
    Flush,
    /// 3: says that nobody needs what is in the blocks; they may read as anything until they are written.
    Discard,
    /// 4: makes the blocks read as zeroes.
    WriteZeroes,
}

/// One request. As taken from a ring, its tag and the place of its data are checked; its blocks are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Names it.
    pub tag: Tag,
    /// What to do.
    pub operation: Operation,
    /// First block.
    pub block: u64,
    /// Number of blocks.
    pub blocks: u32,
    /// Where its data is in the buffers.
    pub offset: u32,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Done.
    Done = 0,
    /// Not all blocks are blocks of the device; nothing was done.
    OutOfRange = 1,
    /// The device, or this view of it, cannot be changed; nothing was done.
    ReadOnly = 2,
    /// More blocks than one request can have, or none; nothing was done.
    BadLength = 3,
    /// The device cannot do this.
    Unsupported = 4,
    /// The medium failed: the blocks cannot be read or written.
    Medium = 5,
    /// The device failed. What was to be written may or may not be.
    Device = 6,
    /// The device did not answer in time, although it was reset. What was to be written may or may not be.
    TimedOut = 7,
}

/// Bit of the flags.
const FORCED_UNIT_ACCESS: u8 = 1;

impl Operation {
    /// Whether the request moves bytes from or to its buffers.
    pub const fn has_data(self) -> bool {
        matches!(self, Self::Read | Self::Write(_))
    }

    /// Whether the blocks may be others afterwards.
    pub const fn changes(self) -> bool {
        matches!(self, Self::Write(_) | Self::Discard | Self::WriteZeroes)
    }

    const fn code(self) -> (u8, u8) {
        match self {
            Self::Read => (0, 0),
            Self::Write(WriteMode::Cached) => (1, 0),
            Self::Write(WriteMode::Durable) => (1, FORCED_UNIT_ACCESS),
            Self::Flush => (2, 0),
            Self::Discard => (3, 0),
            Self::WriteZeroes => (4, 0),
        }
    }

    const fn from_code(code: u8, flags: u8) -> Result<Self, PeerFault> {
        Ok(match (code, flags) {
            (0, 0) => Self::Read,
            (1, 0) => Self::Write(WriteMode::Cached),
            (1, FORCED_UNIT_ACCESS) => Self::Write(WriteMode::Durable),
            (2, 0) => Self::Flush,
            (3, 0) => Self::Discard,
            (4, 0) => Self::WriteZeroes,
            (0..=4, flags) => return Err(PeerFault::Flags(flags as u16)),
            (code, _) => return Err(PeerFault::Operation(code)),
        })
    }
}

impl Request {
    /// The words of the ring.
    pub(super) const fn to_words(self) -> [u64; REQUEST_WORDS] {
        let (code, flags) = self.operation.code();
        let first =
            code as u64 | (flags as u64) << 8 | (self.tag.0 as u64) << 16 | (self.blocks as u64) << 32;
        [first, self.block, self.offset as u64]
    }

    /// Reads the words, and checks that its data lies in the buffers.
    pub(super) fn from_words(words: [u64; REQUEST_WORDS], layout: &BlockLayout) -> Result<Self, PeerFault> {
        let [first, block, place] = words;
        let operation = Operation::from_code(first as u8, (first >> 8) as u8)?;
        let (tag, blocks, offset) = (Tag((first >> 16) as u16), (first >> 32) as u32, place as u32);
        let bytes = if operation.has_data() { u64::from(blocks) * u64::from(layout.block_bytes) } else { 0 };
        let inside = u64::from(offset) + bytes <= u64::from(layout.buffer_bytes);
        if place >> 32 != 0 || !offset.is_multiple_of(BUFFER_ALIGNMENT) || !inside {
            return Err(PeerFault::Range { offset, length: u32::try_from(bytes).unwrap_or(u32::MAX) });
        }
        Ok(Self { tag, operation, block, blocks, offset })
    }
}

impl Status {
    /// All of them, by their number.
    const ALL: [Self; 8] = [
        Self::Done,
        Self::OutOfRange,
        Self::ReadOnly,
        Self::BadLength,
        Self::Unsupported,
        Self::Medium,
        Self::Device,
        Self::TimedOut,
    ];

    pub(super) const fn to_word(self, tag: Tag) -> u64 {
        tag.0 as u64 | (self as u64) << 16
    }

    pub(super) fn from_word(word: u64) -> Result<(Tag, Self), PeerFault> {
        let number = (word >> 16) as u8;
        let status = Self::ALL.get(usize::from(number)).filter(|_| word >> 24 == 0);
        let status = status.copied().ok_or(PeerFault::Status(number))?;
        Ok((Tag(word as u16), status))
    }
}
