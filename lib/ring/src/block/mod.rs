//! Request and answer rings between a disk's driver and its client, and the buffers that requests name.
//!
//! ```text
//!               requests (operation, blocks, place of the data)
//!          --------------------------------------------------->
//!  client                                                       driver
//!          <---------------------------------------------------
//!               answers (tag, status)
//! ```
//!
//! # Tags
//!
//! The client gives each request a tag below the depth that no other unanswered request has, and gets an answer with
//! that tag, in any order. Both sides keep a private map of the tags in use, so a tag twice, or an answer to nothing, is a
//! fault; and since each ring has as many places as there are tags, a ring can never be full for a side
//! that keeps to this.
//!
//! Requests that are unanswered at the same time may be done in any order. A flush covers the writes that were answered
//! before it was asked for.
//!
//! # Layout of the `rings` object
//!
//! The ring of requests, then that of answers. Each is a header of 128 bytes, as of [`crate::frame`], and then its items,
//! of 64-bit little-endian words:
//!
//! | item | word | bits | what |
//! |---|---|---|---|
//! | request | 0 | 0 to 7 | [`Operation`] |
//! | | | 8 to 15 | flags: bit 0 forced unit access, only with a write |
//! | | | 16 to 31 | tag |
//! | | | 32 to 63 | number of blocks |
//! | | 1 | all | first block |
//! | | 2 | 0 to 31 | byte offset of the data in `buffers`, a multiple of 512; 0 for what has no data |
//! | | | 32 to 63 | zero |
//! | answer | 0 | 0 to 15 | tag |
//! | | | 16 to 23 | [`Status`] |
//! | | | 24 to 63 | zero |
//!
//! # The `buffers` object
//!
//! Memory that client and device share. The client lays it out as it likes: a request names any part of it that starts
//! on a multiple of 512 bytes. Who changes the bytes of a write that is not answered yet gets either on the disk.

mod client;
mod driver;
mod pool;
mod request;
#[cfg(test)]
mod tests;

pub use client::{Answer, ClientSide};
pub use driver::DriverSide;
pub use pool::Buffers;
pub use request::{Operation, Request, Status, Tag, WriteMode};

use crate::{
    LayoutError,
    items::{Place, is_ring_size, ring_bytes},
};

/// The most requests of a queue.
pub const MAXIMUM_DEPTH: u32 = 1024;

/// What the place of a request's data is a multiple of.
pub const BUFFER_ALIGNMENT: u32 = 512;

/// Words of a request and of an answer.
const REQUEST_WORDS: usize = 3;
const ANSWER_WORDS: usize = 1;

/// How many requests of which blocks a queue takes, and how much memory their data has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockLayout {
    depth: u32,
    block_bytes: u32,
    buffer_bytes: u32,
}

impl BlockLayout {
    /// A queue of `depth` requests (a power of two from 2 to 1024) over blocks of `block_bytes` bytes (a power of two from
    /// 512 to 65536), with `buffer_bytes` bytes for data.
    pub const fn new(depth: u32, block_bytes: u32, buffer_bytes: u32) -> Result<Self, LayoutError> {
        if !is_ring_size(depth, MAXIMUM_DEPTH) {
            return Err(LayoutError::Count(depth));
        }
        if !block_bytes.is_power_of_two() || block_bytes < 512 || block_bytes > 65_536 {
            return Err(LayoutError::BlockBytes(block_bytes));
        }
        Ok(Self { depth, block_bytes, buffer_bytes })
    }

    /// Requests that can be unanswered at once.
    pub const fn depth(&self) -> u32 {
        self.depth
    }

    /// Bytes of a block.
    pub const fn block_bytes(&self) -> u32 {
        self.block_bytes
    }

    /// Bytes of the `buffers` object.
    pub const fn buffer_bytes(&self) -> u32 {
        self.buffer_bytes
    }

    /// Bytes of the `rings` object.
    pub const fn rings_bytes(&self) -> usize {
        ring_bytes(self.depth, REQUEST_WORDS) + ring_bytes(self.depth, ANSWER_WORDS)
    }

    const fn requests(&self) -> Place {
        Place { offset: 0, capacity: self.depth }
    }

    const fn answers(&self) -> Place {
        Place { offset: ring_bytes(self.depth, REQUEST_WORDS), capacity: self.depth }
    }
}
