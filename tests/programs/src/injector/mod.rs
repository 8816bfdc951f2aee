//! A process between a driver and its device, which spoils what passes.
//!
//! ```text
//!   driver --PciFunction--> Front --claims--> Claim: the real function, its queues, its registers
//!            --Interrupt---> Wire  --binds---> the real interrupt; may keep a signal back
//!            --DmaPool-----> Pool  ----------> the real pool; the first memory holds the queues
//!            --DeviceMmio, IoPort, MemoryObject: the real ones
//! ```
//!
//! The driver's end is seen by what it opened: when the last of it is released, the claim is given up, the kernel resets
//! the device, and the next driver gets a claim of its own.

mod claim;
mod front;
mod nvme;
mod virtio;
mod wire;

pub use claim::{Claim, Kind, Rule};
pub use front::{Front, Injector};

use device::DmaRegion;

use crate::blocks::Random;

/// A bus address that no pool has: nothing of a machine of these tests lies there.
fn nowhere(random: &mut Random) -> u64 {
    1 << 40 | random.number() << 12 >> 20
}

/// Changes two bytes of a word in queue memory.
fn write_u16(memory: &DmaRegion, offset: u32, value: u16) {
    let shift = offset % 4 * 8;
    let word = memory.read_u32(offset & !3);
    memory.write_u32(offset & !3, word & !(0xffff << shift) | u32::from(value) << shift);
}

fn read_u16(memory: &DmaRegion, offset: u32) -> u16 {
    // The wanted half.
    (memory.read_u32(offset & !3) >> (offset % 4 * 8)) as u16
}
