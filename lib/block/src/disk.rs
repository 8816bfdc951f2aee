//! Disks, and which of their blocks a client may reach.

use crate::engine::Command;
use alloc::string::String;
use core::fmt;
use ring::block::{Operation, Request, Status};

/// What a disk says of itself in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Model.
    pub model: String,
    /// Serial number.
    pub serial: String,
    /// Version of its firmware.
    pub firmware: String,
    /// What the cloud or host calls it.
    pub name: String,
    /// What tells it from all others.
    pub identifier: String,
}

/// Whether blocks may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// They may.
    ReadWrite,
    /// They may not.
    ReadOnly,
}

/// One disk of a driver: its size and its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Bytes of a block, a power of two from 512 to 65536.
    pub block_bytes: u32,
    /// Number of blocks.
    pub blocks: u64,
    /// The most blocks of one read or write; at least 1.
    pub maximum_blocks: u32,
    /// The most blocks of one discard; 0 when there is none.
    pub maximum_discard: u32,
    /// The most blocks of one write of zeroes; 0 when there is none.
    pub maximum_zero: u32,
    /// Whether it can be written.
    pub access: Access,
    /// Whether written blocks may wait in a cache that the power takes away.
    pub write_cache: bool,
    /// Whether one write can be made to bypass that cache.
    pub forced_unit_access: bool,
    /// What it is called.
    pub identity: Identity,
}

/// Some neighbouring blocks of one disk, all of which its holder may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Which disk of the driver.
    pub disk: usize,
    first: u64,
    blocks: u64,
    access: Access,
}

/// Why there is no such part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewError {
    /// Not all blocks are blocks of the whole.
    Outside {
        /// First block that was asked for.
        first: u64,
        /// Number of blocks that were asked for.
        count: u64,
        /// Number of blocks that there are.
        blocks: u64,
    },
    /// No blocks at all.
    Empty,
}

impl fmt::Display for ViewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside { first, count, blocks } => {
                write!(f, "{count} blocks from {first} are not all of the {blocks} blocks that there are")
            }
            Self::Empty => write!(f, "a part has at least one block"),
        }
    }
}

impl core::error::Error for ViewError {}

impl View {
    /// All blocks of a disk.
    pub const fn whole(number: usize, disk: &Disk) -> Self {
        Self { disk: number, first: 0, blocks: disk.blocks, access: disk.access }
    }

    /// Number of blocks.
    pub const fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Whether they may be changed.
    pub const fn access(&self) -> Access {
        self.access
    }

    /// The same blocks, not to be changed.
    #[must_use]
    pub const fn read_only(self) -> Self {
        Self { access: Access::ReadOnly, ..self }
    }

    /// Blocks `first` to `first + count - 1` of it.
    pub const fn part(self, first: u64, count: u64) -> Result<Self, ViewError> {
        if count == 0 {
            return Err(ViewError::Empty);
        }
        match first.checked_add(count) {
            Some(end) if end <= self.blocks => {
                // The whole lies on its disk, so this does not overflow.
                Ok(Self { first: self.first + first, blocks: count, ..self })
            }
            _ => Err(ViewError::Outside { first, count, blocks: self.blocks }),
        }
    }

    /// The command that a request means on its disk. Errors: the answer to a request that may not be done.
    pub fn locate(&self, request: &Request, disk: &Disk) -> Result<Command, Status> {
        let Request { operation, block, blocks, offset, .. } = *request;
        if operation.changes() && self.access == Access::ReadOnly {
            return Err(Status::ReadOnly);
        }
        let most = match operation {
            Operation::Read | Operation::Write(_) => disk.maximum_blocks,
            Operation::Discard => disk.maximum_discard,
            Operation::WriteZeroes => disk.maximum_zero,
            Operation::Flush => return Ok(Command { operation, block: 0, blocks: 0, offset: 0 }),
        };
        if most == 0 {
            return Err(Status::Unsupported);
        }
        if blocks == 0 || blocks > most {
            return Err(Status::BadLength);
        }
        match block.checked_add(blocks.into()) {
            Some(end) if end <= self.blocks => {
                Ok(Command { operation, block: self.first + block, blocks, offset })
            }
            _ => Err(Status::OutOfRange),
        }
    }
}
