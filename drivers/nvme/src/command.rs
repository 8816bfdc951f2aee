//! The entries of commands.

use crate::{
    queue::Entry,
    spec::{self, DEALLOCATE, FORCED_UNIT_ACCESS, admin, feature, io},
};
use block::{Command, Operation, WriteMode};

/// The first word without its identifier: opcode and namespace.
const fn first(opcode: u8, namespace: u32) -> u64 {
    opcode as u64 | (namespace as u64) << 32
}

/// Two command words as one.
const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

/// The entry with an identifier.
#[must_use]
pub const fn with_identifier(mut entry: Entry, identifier: u16) -> Entry {
    entry[0] = entry[0] & !0xffff_0000 | (identifier as u64) << 16;
    entry
}

/// The entry of a block command. `data` are the two page addresses of what has data, or that of the range of a discard.
pub fn block(namespace: u32, command: &Command, data: [u64; 2]) -> Entry {
    // Stored minus one. A flush has no blocks.
    let blocks = command.blocks.wrapping_sub(1) & 0xffff;
    let [prp1, prp2] = data;
    let entry = |opcode, word, last| [first(opcode, namespace), 0, 0, prp1, prp2, word, last, 0];
    match command.operation {
        Operation::Read => entry(io::READ, command.block, blocks.into()),
        Operation::Write(WriteMode::Cached) => entry(io::WRITE, command.block, blocks.into()),
        Operation::Write(WriteMode::Durable) => {
            entry(io::WRITE, command.block, (blocks | FORCED_UNIT_ACCESS).into())
        }
        Operation::WriteZeroes => entry(io::WRITE_ZEROES, command.block, blocks.into()),
        // One range, stored minus one.
        Operation::Discard => entry(io::DATASET_MANAGEMENT, pair(0, DEALLOCATE), 0),
        Operation::Flush => entry(io::FLUSH, 0, 0),
    }
}

/// Asks for a page of facts, to be written to `address`.
pub const fn identify(what: u32, namespace: u32, address: u64) -> Entry {
    [first(admin::IDENTIFY, namespace), 0, 0, address, 0, what as u64, 0, 0]
}

/// Asks for so many pairs of I/O queues.
pub const fn set_queue_count(pairs: u16) -> Entry {
    let count = pairs.saturating_sub(1) as u32;
    [first(admin::SET_FEATURES, 0), 0, 0, 0, 0, pair(feature::QUEUES, count | count << 16), 0, 0]
}

/// Asks for events: critical warnings of all kinds, and changes of namespaces.
pub const fn set_events() -> Entry {
    let wanted = 0x1f | 1 << 8;
    [first(admin::SET_FEATURES, 0), 0, 0, 0, 0, pair(feature::EVENTS, wanted), 0, 0]
}

/// Makes a completion queue; `vector` is `None` for one without interrupts.
pub fn create_completion(number: u16, entries: u16, address: u64, vector: Option<u16>) -> Entry {
    let size = u32::from(number) | u32::from(entries - 1) << 16;
    let interrupts = match vector {
        Some(vector) => spec::QUEUE_INTERRUPTS | u32::from(vector) << 16,
        None => 0,
    };
    let flags = spec::QUEUE_CONTIGUOUS | interrupts;
    [first(admin::CREATE_COMPLETION, 0), 0, 0, address, 0, pair(size, flags), 0, 0]
}

/// Makes a submission queue whose commands complete on the completion queue with the same number.
pub fn create_submission(number: u16, entries: u16, address: u64) -> Entry {
    let size = u32::from(number) | u32::from(entries - 1) << 16;
    let flags = spec::QUEUE_CONTIGUOUS | u32::from(number) << 16;
    [first(admin::CREATE_SUBMISSION, 0), 0, 0, address, 0, pair(size, flags), 0, 0]
}

/// Asks for a command on a queue to be given up.
pub fn abort(queue: u16, identifier: u16) -> Entry {
    let which = u32::from(queue) | u32::from(identifier) << 16;
    [first(admin::ABORT, 0), 0, 0, 0, 0, which.into(), 0, 0]
}

/// Waits for an event.
pub const fn event() -> Entry {
    [first(admin::ASYNCHRONOUS_EVENT, 0), 0, 0, 0, 0, 0, 0, 0]
}

/// Reads the first 512 bytes of a log, which takes its event back.
pub const fn read_log(log: u8, address: u64) -> Entry {
    // The number of 32-bit words, stored minus one. All namespaces.
    let words = 512 / 4 - 1;
    [first(admin::GET_LOG_PAGE, u32::MAX), 0, 0, address, 0, log as u64 | words << 16, 0, 0]
}
