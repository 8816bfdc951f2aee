//! Errors: what a peer did wrong, and what its memory cannot hold.

use core::fmt;

/// What the peer wrote that no honest peer writes. The connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerFault {
    /// A position moved backwards or further than the ring is large.
    Position {
        /// Value that the peer wrote.
        claimed: u32,
        /// This side's own position.
        own: u32,
    },
    /// A descriptor whose bytes are not inside one buffer of the right kind.
    Range {
        /// Byte offset that the descriptor names.
        offset: u32,
        /// Length that it gives.
        length: u32,
    },
    /// A descriptor of a buffer that the peer does not hold.
    NotOwned {
        /// Byte offset that the descriptor names.
        offset: u32,
    },
    /// Descriptor flags that are not defined.
    Flags(u16),
    /// A request of a kind that is not defined.
    Operation(u8),
    /// A request with a tag that no request has, or that another one has, or an answer to none.
    Tag(u16),
    /// An answer of a kind that is not defined.
    Status(u8),
    /// A state word with an undefined value, or a state that was left again.
    State(u32),
    /// More items than there are buffers: the ring is full where it cannot be.
    Full,
}

impl fmt::Display for PeerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Position { claimed, own } => {
                write!(f, "peer moved its position to {claimed} against {own}")
            }
            Self::Range { offset, length } => write!(f, "peer named bad buffer bytes {offset}+{length}"),
            Self::NotOwned { offset } => write!(f, "peer named a buffer it does not hold, at {offset}"),
            Self::Flags(flags) => write!(f, "peer set undefined descriptor flags {flags:#x}"),
            Self::Operation(operation) => write!(f, "peer asked for the undefined operation {operation}"),
            Self::Tag(tag) => write!(f, "peer used the tag {tag}, which is out of turn"),
            Self::Status(status) => write!(f, "peer answered with the undefined status {status}"),
            Self::State(state) => write!(f, "peer wrote the impossible state {state}"),
            Self::Full => write!(f, "peer left its ring full"),
        }
    }
}

impl core::error::Error for PeerFault {}

/// Why memory cannot hold rings: counts and sizes that do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// A number of buffers that is no power of two from 2 to 4096.
    Count(u32),
    /// A buffer size that is no multiple of 64 from 64 to 65472.
    BufferBytes(u32),
    /// A byte ring's capacity that is no power of two from 256 B to 16 MiB.
    Capacity(u32),
    /// A size of blocks that is no power of two from 512 B to 64 KiB.
    BlockBytes(u32),
    /// The memory is smaller than the layout.
    MemoryTooSmall {
        /// Bytes that the layout needs.
        needed: usize,
        /// Bytes that there are.
        actual: usize,
    },
    /// The memory does not start with what [`crate::stream::create`] writes.
    NotAStream,
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count} buffers is no power of two from 2 to 4096"),
            Self::BufferBytes(bytes) => {
                write!(f, "buffers of {bytes} bytes are no multiple of 64 up to 65472")
            }
            Self::BlockBytes(bytes) => {
                write!(f, "blocks of {bytes} bytes are no power of two from 512 B to 64 KiB")
            }
            Self::Capacity(bytes) => {
                write!(f, "a ring of {bytes} bytes is no power of two from 256 B to 16 MiB")
            }
            Self::MemoryTooSmall { needed, actual } => {
                write!(f, "{actual} bytes of memory where {needed} are needed")
            }
            Self::NotAStream => write!(f, "the memory holds no stream"),
        }
    }
}

impl core::error::Error for LayoutError {}
