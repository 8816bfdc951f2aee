//! What the disk tests write: a script that follows from a seed, and contents that follow from a key.
//!
//! The host computes the same by code of its own, and compares the disk's image with it.

use block::client::{Operation, WriteMode};

/// Xorshift: a small generator whose run follows from its seed.
pub struct Random(u64);

impl Random {
    /// A generator; seeds differ in their runs.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// What one step of the script does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What to do.
    pub operation: Operation,
    /// First block.
    pub block: u64,
    /// Number of blocks; 0 for a flush.
    pub blocks: u32,
}

/// The next step on a disk of so many blocks, of at most `largest` blocks.
pub fn step(random: &mut Random, blocks: u64, largest: u64) -> Step {
    let operation = match random.number() % 16 {
        0..=6 => Operation::Write(WriteMode::Cached),
        7..=8 => Operation::Write(WriteMode::Durable),
        9 => Operation::WriteZeroes,
        10 => Operation::Discard,
        11 => Operation::Flush,
        _ => Operation::Read,
    };
    let count = 1 + random.number() % largest;
    let block = random.number() % (blocks - count + 1);
    if operation == Operation::Flush {
        return Step { operation, block: 0, blocks: 0 };
    }
    // At most `largest`, which fits.
    Step { operation, block, blocks: count as u32 }
}

/// Fills one block with the contents that a key means.
pub fn fill(bytes: &mut [u8], key: u64, block: u64) {
    let mut value = key.wrapping_mul(0xd129_0d3b_ef4a_1f35) ^ block.wrapping_mul(0x2545_f491_4f6c_dd1d);
    for word in bytes.chunks_exact_mut(8) {
        value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
        word.copy_from_slice(&(value ^ value >> 29).to_le_bytes());
    }
}

/// Whether one block has the contents that a key means.
pub fn matches(bytes: &[u8], key: u64, block: u64) -> bool {
    let mut value = key.wrapping_mul(0xd129_0d3b_ef4a_1f35) ^ block.wrapping_mul(0x2545_f491_4f6c_dd1d);
    bytes.chunks_exact(8).all(|word| {
        value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
        word == (value ^ value >> 29).to_le_bytes()
    })
}
