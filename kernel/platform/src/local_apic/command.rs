//! The interrupt command register: what one processor says to others. [SDM 11.6.1]

use crate::address::{ApicId, Vector};

const DELIVERY_PENDING: u32 = 1 << 12;
const LEVEL_ASSERT: u32 = 1 << 14;
const TRIGGER_LEVEL: u32 = 1 << 15;
const TO_OTHERS: u32 = 0b11 << 18;

/// Delivery modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Delivery {
    Fixed = 0,
    Nmi = 4,
    Init = 5,
    Startup = 6,
}

/// One interprocessor interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Command {
    target: ApicId,
    low: u32,
}

impl Command {
    pub(super) const fn fixed(target: ApicId, vector: Vector) -> Self {
        Self::new(target, Delivery::Fixed, vector.0, LEVEL_ASSERT)
    }

    pub(super) const fn nmi_to_others() -> Self {
        Self::new(ApicId(0), Delivery::Nmi, 0, LEVEL_ASSERT | TO_OTHERS)
    }

    pub(super) const fn init(target: ApicId) -> Self {
        Self::new(target, Delivery::Init, 0, LEVEL_ASSERT | TRIGGER_LEVEL)
    }

    pub(super) const fn init_deassert(target: ApicId) -> Self {
        Self::new(target, Delivery::Init, 0, TRIGGER_LEVEL)
    }

    pub(super) const fn startup(target: ApicId, page: u8) -> Self {
        Self::new(target, Delivery::Startup, page, LEVEL_ASSERT)
    }

    const fn new(target: ApicId, delivery: Delivery, vector: u8, flags: u32) -> Self {
        Self { target, low: vector as u32 | (delivery as u32) << 8 | flags }
    }

    /// The high and the low register of xAPIC mode; `None` when the target has no 8-bit identifier (255 is everybody).
    pub(super) const fn for_xapic(self) -> Option<(u32, u32)> {
        if self.target.0 < 0xff { Some((self.target.0 << 24, self.low)) } else { None }
    }

    /// The register of x2APIC mode.
    pub(super) const fn for_x2apic(self) -> u64 {
        (self.target.0 as u64) << 32 | self.low as u64
    }
}

/// Whether a command whose low register reads `low` has not been accepted yet. Only xAPIC mode has this bit.
pub(super) const fn is_pending(low: u32) -> bool {
    low & DELIVERY_PENDING != 0
}
