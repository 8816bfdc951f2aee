//! Entries of the interrupt remapping table. [VT-d-4.1 9.9]

use crate::acpi::Trigger;
use crate::address::{ApicId, Vector};

/// Who may raise an interrupt: the requester id that the entry is checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterruptSource(pub u16);

/// Where an interrupt goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The processor; its identifier has 8 bits.
    pub destination: ApicId,
    /// Its vector.
    pub vector: Vector,
    /// Edges for messages; what the line is for lines.
    pub trigger: Trigger,
}

const PRESENT: u64 = 1 << 0;
const LEVEL: u64 = 1 << 4;
/// The requester id must be the entry's. [VT-d-4.1 9.9, SVT]
const VERIFY_SOURCE: u64 = 0b01 << 18;

/// Both words of the entry that lets one source raise one interrupt: fixed delivery to one processor. In xAPIC mode the
/// identifier stands in bits 47 to 40, in x2APIC mode in all of 63 to 32.
pub fn interrupt_entry(source: InterruptSource, route: Route, extended: Extended) -> [u64; 2] {
    let shift = match extended {
        Extended::Off => 40,
        Extended::On => 32,
    };
    let level = if route.trigger == Trigger::Level { LEVEL } else { 0 };
    let low = PRESENT | level | u64::from(route.vector.0) << 16 | u64::from(route.destination.0) << shift;
    [low, VERIFY_SOURCE | u64::from(source.0)]
}

/// Whether the table holds identifiers of 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extended {
    /// 8 bits.
    Off,
    /// 32 bits.
    On,
}
