//! The controller's registers, by type.

use crate::spec::{configuration, register, status};
use ::device::Registers;
use alloc::boxed::Box;
use core::time::Duration;

/// What a register reads as when the device is gone.
const GONE: u32 = u32::MAX;

/// The unit of the time-out in the capabilities [NVMe-2.1 3.1.4.1].
const TIMEOUT_UNIT: Duration = Duration::from_millis(500);

/// What the controller can do at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The most entries of an I/O queue; 2 to 65536.
    pub entries: u32,
    /// The longest that it takes to become ready, or not ready.
    pub timeout: Duration,
    /// Bytes from one doorbell to the next.
    pub doorbell_stride: u32,
    /// Whether it has the NVM command set.
    pub has_blocks: bool,
    /// The smallest page, as a power of two.
    pub page_shift: u32,
}

impl Capabilities {
    /// Reads the register's value.
    pub const fn new(value: u64) -> Self {
        let units = (value >> 24) as u32 & 0xff;
        Self {
            // Stored minus one; a value of 0 is invalid, and is two entries here.
            entries: (value as u32 & 0xffff) + if value as u32 & 0xffff == 0 { 2 } else { 1 },
            // A controller that says nothing gets one unit.
            timeout: TIMEOUT_UNIT.saturating_mul(if units == 0 { 1 } else { units }),
            doorbell_stride: 4 << ((value >> 32) as u32 & 0xf),
            has_blocks: value >> 37 & 1 != 0,
            page_shift: 12 + ((value >> 48) as u32 & 0xf),
        }
    }
}

/// What the status register tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The device does not answer.
    Gone,
    /// It cannot go on without a reset.
    Fatal,
    /// It takes commands.
    Ready,
    /// It does not.
    NotReady,
}

/// Which end of a queue a doorbell is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doorbell {
    /// Entries were put in.
    SubmissionTail,
    /// Entries were taken out.
    CompletionHead,
}

/// The registers of one controller.
pub struct ControllerRegisters {
    registers: Box<dyn Registers>,
    stride: u32,
}

impl ControllerRegisters {
    /// Takes the registers over.
    pub fn new(registers: Box<dyn Registers>) -> Self {
        let mut this = Self { registers, stride: 4 };
        this.stride = this.capabilities().doorbell_stride;
        this
    }

    /// What the controller can do.
    pub fn capabilities(&self) -> Capabilities {
        let low = self.registers.read_u32(register::CAPABILITIES);
        let high = self.registers.read_u32(register::CAPABILITIES + 4);
        Capabilities::new(u64::from(low) | u64::from(high) << 32)
    }

    /// How it does.
    pub fn condition(&self) -> Condition {
        match self.registers.read_u32(register::STATUS) {
            GONE => Condition::Gone,
            value if value & status::FATAL != 0 => Condition::Fatal,
            value if value & status::READY != 0 => Condition::Ready,
            _ => Condition::NotReady,
        }
    }

    /// Whether a shutdown is complete.
    pub fn is_shut_down(&self) -> bool {
        self.registers.read_u32(register::STATUS) & status::SHUTDOWN_MASK == status::SHUTDOWN_COMPLETE
    }

    /// Tells it to stop; every command that it has is lost.
    pub fn disable(&self) {
        let value = self.registers.read_u32(register::CONFIGURATION);
        let keep = value & !(configuration::ENABLE | configuration::SHUTDOWN_MASK);
        self.registers.write_u32(register::CONFIGURATION, keep);
    }

    /// Tells a stopped controller where its admin queues are, and to start. `entries` are those of each.
    pub fn enable(&self, submission: u64, completion: u64, entries: u16) {
        let size = u32::from(entries - 1);
        self.registers.write_u32(register::ADMIN_SIZES, size | size << 16);
        for (place, address) in
            [(register::ADMIN_SUBMISSION, submission), (register::ADMIN_COMPLETION, completion)]
        {
            // The low and the high half.
            self.registers.write_u32(place, address as u32);
            self.registers.write_u32(place + 4, (address >> 32) as u32);
        }
        // Pages of 4 KiB, the NVM command set, round robin: all zero.
        let value = configuration::ENTRY_SIZES | configuration::ENABLE;
        self.registers.write_u32(register::CONFIGURATION, value);
    }

    /// Tells a controller that it is not needed any more.
    pub fn shut_down(&self) {
        let value = self.registers.read_u32(register::CONFIGURATION) & !configuration::SHUTDOWN_MASK;
        self.registers.write_u32(register::CONFIGURATION, value | configuration::SHUTDOWN_NORMAL);
    }

    /// Keeps the interrupt line down; not to be used with MSI-X.
    pub fn mask_line(&self) {
        self.registers.write_u32(register::INTERRUPT_MASK_SET, u32::MAX);
    }

    /// Lets the interrupt line work.
    pub fn unmask_line(&self) {
        self.registers.write_u32(register::INTERRUPT_MASK_CLEAR, u32::MAX);
    }

    /// Rings a doorbell [NVMe-PCIe 3.1.2.1].
    pub fn ring(&self, queue: u16, doorbell: Doorbell, value: u16) {
        let index = 2 * u32::from(queue) + u32::from(doorbell == Doorbell::CompletionHead);
        // Queues are few and a stride is at most 128 KiB: far below 2^32. Past the BAR nothing is written.
        self.registers.write_u32(register::DOORBELLS + index * self.stride, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_converted_at_the_edge() {
        // QEMU's: 2048 entries, contiguous queues, 7.5 s, NVM and others.
        let value = 0x0020_00b0_0f01_07ff;
        let expected = Capabilities {
            entries: 2048,
            timeout: Duration::from_millis(7500),
            doorbell_stride: 4,
            has_blocks: true,
            page_shift: 12,
        };
        assert_eq!(Capabilities::new(value & !(0x90 << 32)), expected);
        let odd = Capabilities::new(0x0003_0005_0000_0000);
        assert_eq!((odd.entries, odd.timeout), (2, TIMEOUT_UNIT));
        assert_eq!((odd.doorbell_stride, odd.has_blocks, odd.page_shift), (128, false, 15));
    }
}
