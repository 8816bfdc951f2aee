//! What can be spoiled of an NVMe controller.
//!
//! Places of queues are those of `drivers/nvme/src/device.rs`: admin queues, a page, then the pairs.

use alloc::{format, string::String};
use capnp::Error;
use device::{DmaRegion, Registers};

use super::{nowhere, read_u16, write_u16};
use crate::blocks::Random;

/// Pages before the first pair, of a pair, and of its submission queue.
const FIRST_PAIR: u32 = 3;
const PAIR: u32 = 6;
const SUBMISSION: u32 = 4;
const PAGE: u32 = 4096;

/// Bytes of a completion, and where its parts are [NVMe-2.1 4.2.1].
const COMPLETION: u32 = 16;
const QUEUE_HEAD: u32 = 8;
const QUEUE_ID: u32 = 10;
const COMMAND_ID: u32 = 12;
const STATUS: u32 = 14;
const PHASE: u16 = 1;

/// Registers [NVMe-2.1 3.1.4].
const MASK_SET: u32 = 0x0c;
const CONFIGURATION: u32 = 0x14;
const ADMIN_ATTRIBUTES: u32 = 0x24;
const ADMIN_SUBMISSION: u32 = 0x28;
const ADMIN_COMPLETION: u32 = 0x30;
const DOORBELLS: u32 = 0x1000;
/// Shutdown notification: normal.
const SHUTDOWN: u32 = 1 << 14;
/// More than any queue has.
const FAR: u32 = 0x8000;

/// Spoils the newest completion of some pair that has one.
pub(super) fn completion(memory: &DmaRegion, random: &mut Random) -> Result<String, Error> {
    let pairs = (memory.size() / PAGE).saturating_sub(FIRST_PAIR) / PAIR;
    let first = random.number();
    let queues = (0..u64::from(pairs)).map(|pair| (first.wrapping_add(pair) % u64::from(pairs)) as u32);
    for pair in queues {
        let queue = (FIRST_PAIR + pair * PAIR + SUBMISSION) * PAGE;
        if let Some(entry) = newest(memory, queue) {
            return Ok(spoil(memory, queue + entry * COMPLETION, random));
        }
    }
    Err(Error::failed("no queue has a completion".into()))
}

/// The entry before the one where the phase changes. None has come yet while all are zero.
fn newest(memory: &DmaRegion, queue: u32) -> Option<u32> {
    let entries = PAGE / COMPLETION;
    let status = |entry: u32| read_u16(memory, queue + entry * COMPLETION + STATUS);
    let first = status(0) & PHASE;
    // A queue may be smaller than its page: what was never written is zero.
    let change = (1..entries).find(|entry| status(*entry) & PHASE != first).unwrap_or(entries);
    let used = first == PHASE || status(change % entries) & PHASE == PHASE;
    used.then(|| change - 1)
}

fn spoil(memory: &DmaRegion, entry: u32, random: &mut Random) -> String {
    // Sixteen bits of it.
    let value = random.number() as u16;
    match random.number() % 5 {
        0 => {
            write_u16(memory, entry + COMMAND_ID, value);
            format!("completion: command {value:#x}")
        }
        1 => {
            let phase = read_u16(memory, entry + STATUS) & PHASE;
            // A generic error, which may be tried again.
            let status = 0x06 << 1 | phase;
            write_u16(memory, entry + STATUS, status);
            "completion: status internal error".into()
        }
        2 => {
            let status = read_u16(memory, entry + STATUS) ^ PHASE;
            write_u16(memory, entry + STATUS, status);
            "completion: phase".into()
        }
        3 => {
            write_u16(memory, entry + QUEUE_ID, value);
            format!("completion: queue {value:#x}")
        }
        _ => {
            write_u16(memory, entry + QUEUE_HEAD, value);
            format!("completion: head {value:#x}")
        }
    }
}

/// Writes a wrong value to a register.
pub(super) fn register(registers: &dyn Registers, random: &mut Random) -> String {
    let address = nowhere(random);
    let doorbell = |number: u32| DOORBELLS + 4 * number;
    let (name, offset, value) = match random.number() % 9 {
        0 => ("CC off", CONFIGURATION, 0),
        1 => ("CC shutdown", CONFIGURATION, registers.read_u32(CONFIGURATION) | SHUTDOWN),
        2 => ("AQA", ADMIN_ATTRIBUTES, random.number() as u32),
        3 => ("ASQ", ADMIN_SUBMISSION + 4, (address >> 32) as u32),
        4 => ("ACQ", ADMIN_COMPLETION + 4, (address >> 32) as u32),
        5 => ("INTMS", MASK_SET, u32::MAX),
        6 => ("submission doorbell past the end", doorbell(2), FAR),
        7 => ("completion doorbell past the end", doorbell(3), FAR),
        _ => ("completion doorbell", doorbell(3), (random.number() % 256) as u32),
    };
    registers.write_u32(offset, value);
    format!("register {name}: {value:#x}")
}
