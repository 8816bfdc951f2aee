//! One pair of a submission and a completion queue: positions and entries.
//!
//! ```text
//!              tail (ours)                                  head (ours), phase flips at each wrap
//!                |                                            |
//!   [ . . e e e | . . . ]  --- device takes, in order --->  [ c c | . . . . ]
//! ```
//!
//! A submission queue cannot overflow: its owner keeps fewer commands in flight than it has entries, and a completed
//! command was taken out of it. A completion queue has as many entries.

use crate::{
    regs::{ControllerRegisters, Doorbell},
    spec::{COMPLETION_BYTES, SUBMISSION_BYTES},
};
use ::device::DmaRegion;

/// A command's entry, as eight 64-bit words [NVMe-2.1 4.1].
pub type Entry = [u64; 8];

/// What the device says of a command; a claim until the identifier was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Command-specific result.
    pub result: u32,
    /// Which command.
    pub identifier: u16,
    /// Status, without the phase: code, type and flags.
    pub status: u16,
}

/// A pair of queues with the same number.
pub struct QueuePair {
    number: u16,
    submission: DmaRegion,
    completion: DmaRegion,
    entries: u16,
    tail: u16,
    published: u16,
    head: u16,
    acknowledged: u16,
    /// What the phase bit of a new completion is.
    phase: u32,
}

impl QueuePair {
    /// A pair of `entries` entries each on memory that is zeroed for it; at least 2.
    pub fn new(number: u16, submission: DmaRegion, completion: DmaRegion, entries: u16) -> Self {
        let fits = |region: &DmaRegion, bytes| u16::try_from(region.size() / bytes).unwrap_or(u16::MAX);
        let entries =
            entries.min(fits(&submission, SUBMISSION_BYTES)).min(fits(&completion, COMPLETION_BYTES));
        let mut pair = Self {
            number,
            submission,
            completion,
            entries,
            tail: 0,
            published: 0,
            head: 0,
            acknowledged: 0,
            phase: 1,
        };
        pair.restart();
        pair
    }

    /// Starts anew, as the device does after a reset.
    pub fn restart(&mut self) {
        // No old completion may look like a new one.
        self.completion.clear();
        (self.tail, self.published, self.head, self.acknowledged, self.phase) = (0, 0, 0, 0, 1);
    }

    /// Its number for the device.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Entries of each queue.
    pub fn entries(&self) -> u16 {
        self.entries
    }

    /// Bus addresses of the submission and the completion queue.
    pub fn addresses(&self) -> (u64, u64) {
        (self.submission.bus(), self.completion.bus())
    }

    /// Writes an entry; the device learns of it by [`Self::publish`].
    pub fn push(&mut self, entry: &Entry) {
        let first = u32::from(self.tail) * SUBMISSION_BYTES;
        for (offset, word) in (first..).step_by(8).zip(entry) {
            self.submission.write_u64(offset, *word);
        }
        self.tail = self.after(self.tail);
    }

    /// Tells the device of all new entries.
    pub fn publish(&mut self, registers: &ControllerRegisters) {
        if self.published != self.tail {
            self.published = self.tail;
            // The entries were written by Release stores, which x86 keeps before the store to the device.
            registers.ring(self.number, Doorbell::SubmissionTail, self.tail);
        }
    }

    /// Takes the next completion.
    pub fn next(&mut self) -> Option<Completion> {
        let offset = u32::from(self.head) * COMPLETION_BYTES;
        // The word with the phase is written last [NVMe-2.1 3.3.3.1]; it is read first, and once.
        let last = self.completion.read_u32(offset + 12);
        if last >> 16 & 1 != self.phase {
            return None;
        }
        let result = self.completion.read_u32(offset);
        self.head = self.after(self.head);
        if self.head == 0 {
            self.phase ^= 1;
        }
        // Two halves, the upper one less its phase bit.
        Some(Completion { result, identifier: last as u16, status: (last >> 17) as u16 })
    }

    /// Tells the device which completions were taken.
    pub fn acknowledge(&mut self, registers: &ControllerRegisters) {
        if self.acknowledged != self.head {
            self.acknowledged = self.head;
            registers.ring(self.number, Doorbell::CompletionHead, self.head);
        }
    }

    fn after(&self, position: u16) -> u16 {
        if position + 1 >= self.entries { 0 } else { position + 1 }
    }
}
