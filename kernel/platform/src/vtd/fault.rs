//! What a unit has refused. [VT-d-4.1 7, 11.4.14]

use core::fmt;

/// One refused request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Bus, device and function that asked.
    pub requester: u16,
    /// What was asked for.
    pub kind: FaultKind,
    /// The unit's number of the reason. [VT-d-4.1 appendix A]
    pub reason: u8,
}

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// An access to memory, in the page at this bus address.
    Memory(u64, Access),
    /// An interrupt by this entry of the table.
    Interrupt(u16),
}

/// What a request does to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It reads.
    Read,
    /// It writes.
    Write,
}

/// Reasons from here on are those of interrupt requests. [VT-d-4.1 7.1.3]
const INTERRUPT_REASONS: core::ops::RangeInclusive<u8> = 0x20..=0x27;

/// Bits of the upper half of a fault recording register.
pub(super) const VALID: u64 = 1 << 63;
const READ: u64 = 1 << 62;

impl Fault {
    /// Decodes the two halves of a fault recording register; `None` when it holds none.
    pub fn decode(low: u64, high: u64) -> Option<Self> {
        if high & VALID == 0 {
            return None;
        }
        // 8 and 16 bits.
        let reason = (high >> 32) as u8;
        let requester = high as u16;
        let kind = if INTERRUPT_REASONS.contains(&reason) {
            FaultKind::Interrupt((low >> 48) as u16)
        } else {
            let access = if high & READ != 0 { Access::Read } else { Access::Write };
            FaultKind::Memory(low & !0xfff, access)
        };
        Some(Self { requester, kind, reason })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bus, device, function) = (self.requester >> 8, self.requester >> 3 & 0x1f, self.requester & 7);
        write!(formatter, "{bus:02x}:{device:02x}.{function} ")?;
        match self.kind {
            FaultKind::Memory(page, Access::Read) => write!(formatter, "read from {page:#x}")?,
            FaultKind::Memory(page, Access::Write) => write!(formatter, "wrote to {page:#x}")?,
            FaultKind::Interrupt(index) => write!(formatter, "raised interrupt {index}")?,
        }
        write!(formatter, " without the right (reason {:#x})", self.reason)
    }
}
