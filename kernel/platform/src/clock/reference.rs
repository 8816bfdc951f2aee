//! Clocks with a known rate: HPET, ACPI power management timer, PIT channel 2.

use crate::acpi::{HpetDescription, PmTimerDescription, PmTimerWidth};
use crate::address::PhysicalMemory;
use crate::ports;
use crate::registers::Registers;

/// A counter whose rate is known.
pub(super) trait ReferenceClock {
    /// The count, in the low bits that [`ReferenceClock::mask`] has.
    fn read(&mut self) -> u64;
    /// The bits that count.
    fn mask(&self) -> u64;
    /// Femtoseconds (10^-15 s) between counts.
    fn period(&self) -> u64;
}

/// The HPET's main counter. [HPET-1.0a 2.3]
pub(super) struct Hpet {
    registers: Registers,
    period: u64,
}

impl Hpet {
    const WINDOW: usize = 1024;
    const PERIOD: usize = 0x04;
    const CONFIGURATION: usize = 0x10;
    const COUNTER: usize = 0xf0;
    const ENABLE: u32 = 1 << 0;
    const REPLACE_LEGACY_INTERRUPTS: u32 = 1 << 1;
    /// Slowest rate that the specification allows: 10 MHz.
    const MAXIMUM_PERIOD: u64 = 100_000_000;
    /// Faster than 10 GHz is no HPET.
    const MINIMUM_PERIOD: u64 = 100_000;

    /// Starts the counter; `None` when no HPET answers.
    pub(super) fn open(description: &HpetDescription, memory: &impl PhysicalMemory) -> Option<Self> {
        let base = memory.map_mmio(description.address, Self::WINDOW)?;
        // SAFETY: the kernel mapped the registers for ever; `acpi` checked that no RAM is there.
        let registers = unsafe { Registers::new(base, Self::WINDOW) };
        let period = u64::from(registers.read_u32(Self::PERIOD));
        if !(Self::MINIMUM_PERIOD..=Self::MAXIMUM_PERIOD).contains(&period) {
            log::error!("clock: the HPET states an impossible period of {period} fs; not used");
            return None;
        }
        let configuration = registers.read_u32(Self::CONFIGURATION);
        let wanted = configuration & !Self::REPLACE_LEGACY_INTERRUPTS | Self::ENABLE;
        if configuration != wanted {
            registers.write_u32(Self::CONFIGURATION, wanted);
        }
        Some(Self { registers, period })
    }
}

impl ReferenceClock for Hpet {
    fn read(&mut self) -> u64 {
        u64::from(self.registers.read_u32(Self::COUNTER))
    }

    fn mask(&self) -> u64 {
        u64::from(u32::MAX)
    }

    fn period(&self) -> u64 {
        self.period
    }
}

/// The ACPI power management timer. [ACPI-6.5 4.8.2.1]
pub(super) struct PmTimer {
    port: u16,
    mask: u64,
}

impl PmTimer {
    pub(super) fn open(description: &PmTimerDescription) -> Self {
        let mask = match description.width {
            PmTimerWidth::Bits24 => 0x00ff_ffff,
            PmTimerWidth::Bits32 => 0xffff_ffff,
        };
        Self { port: description.port, mask }
    }
}

impl ReferenceClock for PmTimer {
    fn read(&mut self) -> u64 {
        // SAFETY: `clock::measure` is called in ring 0; reading the timer's port changes nothing.
        u64::from(unsafe { ports::read_u32(self.port) }) & self.mask
    }

    fn mask(&self) -> u64 {
        self.mask
    }

    fn period(&self) -> u64 {
        279_365_115 // 3.579545 MHz
    }
}

/// Channel 2 of the programmable interval timer, which counts down without raising an interrupt. [Intel 8254]
pub(super) struct IntervalTimer(());

impl IntervalTimer {
    const CHANNEL_2: u16 = 0x42;
    const COMMAND: u16 = 0x43;
    /// System control port B: bit 0 lets channel 2 count, bit 1 lets the speaker hear it.
    const CONTROL: u16 = 0x61;
    const GATE: u8 = 1 << 0;
    const SPEAKER: u8 = 1 << 1;
    const CHANNEL_2_BOTH_BYTES_MODE_0: u8 = 0b1011_0000;
    const LATCH_CHANNEL_2: u8 = 0b1000_0000;

    /// Starts channel 2 with its longest count.
    pub(super) fn start() -> Self {
        // SAFETY: `clock::measure` is called in ring 0 and was promised the channel; the speaker stays off.
        unsafe {
            let control = ports::read_u8(Self::CONTROL) & !Self::SPEAKER;
            ports::write_u8(Self::CONTROL, control | Self::GATE);
            ports::write_u8(Self::COMMAND, Self::CHANNEL_2_BOTH_BYTES_MODE_0);
            ports::write_u8(Self::CHANNEL_2, 0xff);
            ports::write_u8(Self::CHANNEL_2, 0xff);
        }
        Self(())
    }
}

impl Drop for IntervalTimer {
    fn drop(&mut self) {
        // SAFETY: as for `start`.
        unsafe {
            let control = ports::read_u8(Self::CONTROL);
            ports::write_u8(Self::CONTROL, control & !(Self::GATE | Self::SPEAKER));
        }
    }
}

impl ReferenceClock for IntervalTimer {
    fn read(&mut self) -> u64 {
        // SAFETY: as for `start`.
        let count = unsafe {
            ports::write_u8(Self::COMMAND, Self::LATCH_CHANNEL_2);
            let low = ports::read_u8(Self::CHANNEL_2);
            u16::from_le_bytes([low, ports::read_u8(Self::CHANNEL_2)])
        };
        u64::from(u16::MAX - count)
    }

    fn mask(&self) -> u64 {
        u64::from(u16::MAX)
    }

    fn period(&self) -> u64 {
        838_095_345 // 1.193182 MHz
    }
}
