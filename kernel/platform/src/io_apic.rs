//! I/O APICs: interrupt lines, and which processor and vector each raises. [Intel 82093AA] [SDM vol. 3A, chapter 11]
//!
//! Every line starts masked and stays so until [`IoApics::unmask`].

#[cfg(test)]
mod tests;

use core::fmt;

use arrayvec::ArrayVec;

use crate::acpi::{
    InterruptOverride, IoApicDescription, MAXIMUM_IO_APICS, MAXIMUM_OVERRIDES, PlatformTables,
};
use crate::acpi::{Polarity, Trigger};
use crate::address::{ApicId, Gsi, PhysicalMemory, Vector};
use crate::ports;
use crate::registers::Registers;

/// An interrupt line and its electrical nature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The pin.
    pub gsi: Gsi,
    /// Never [`Polarity::OfBus`].
    pub polarity: Polarity,
    /// Never [`Trigger::OfBus`].
    pub trigger: Trigger,
}

impl Line {
    fn electrical_bits(self) -> u32 {
        let polarity = if self.polarity == Polarity::ActiveLow { ENTRY_ACTIVE_LOW } else { 0 };
        let trigger = if self.trigger == Trigger::Level { ENTRY_LEVEL } else { 0 };
        polarity | trigger
    }
}

/// Why a line cannot be set up; the caller's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineError {
    /// No I/O APIC has this pin.
    NoSuchLine(Gsi),
    /// The entry cannot name this processor: only 8-bit identifiers below 255 fit.
    Unreachable(ApicId),
}

impl fmt::Display for LineError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchLine(gsi) => write!(formatter, "no I/O APIC has interrupt line {}", gsi.0),
            Self::Unreachable(id) => write!(formatter, "an I/O APIC cannot reach APIC id {}", id.0),
        }
    }
}

/// All I/O APICs of the machine.
#[derive(Debug)]
pub struct IoApics {
    units: ArrayVec<Unit, MAXIMUM_IO_APICS>,
    overrides: ArrayVec<InterruptOverride, MAXIMUM_OVERRIDES>,
}

/// One I/O APIC.
#[derive(Debug)]
struct Unit {
    registers: Registers,
    first_gsi: Gsi,
    pins: u32,
    id: u8,
}

const REGISTER_SELECT: usize = 0x00;
const REGISTER_WINDOW: usize = 0x10;
const WINDOW_LENGTH: usize = 0x20;
const VERSION: u32 = 0x01;
const FIRST_ENTRY: u32 = 0x10;
/// Most pins of one I/O APIC: the register index has 8 bits, and each entry takes two.
const MAXIMUM_PINS: u32 = 120;

const ENTRY_ACTIVE_LOW: u32 = 1 << 13;
const ENTRY_LEVEL: u32 = 1 << 15;
const ENTRY_MASKED: u32 = 1 << 16;

impl IoApics {
    /// Without any I/O APIC; usable in a `static`.
    pub const fn none() -> Self {
        Self { units: ArrayVec::new_const(), overrides: ArrayVec::new_const() }
    }

    /// Takes over the I/O APICs that the tables list, and masks every line.
    ///
    /// # Safety
    /// Nothing else uses them.
    pub unsafe fn new(tables: &PlatformTables, memory: &impl PhysicalMemory) -> Self {
        let mut units = ArrayVec::new();
        for description in &tables.io_apics {
            // SAFETY: the caller's promise.
            let unit = unsafe { Unit::open(description, memory) };
            if unit.is_none_or(|unit| units.try_push(unit).is_err()) {
                log::error!("I/O APIC at {} cannot be used; left out", description.address);
            }
        }
        Self { units, overrides: tables.overrides.clone() }
    }

    /// The line of an ISA interrupt, 0 to 15: active high, edge, at the GSI of its number, where no override says
    /// otherwise. [ACPI-6.5 5.2.12.5]
    pub fn isa_line(&self, irq: u8) -> Line {
        self.line(irq, Polarity::ActiveHigh, Trigger::Edge)
    }

    /// The line that firmware wrote to a PCI function's interrupt line register; `None` where it wrote none.
    /// Firmware routes to the ISA interrupts of the machine's interrupt router, whose overrides count; PCI's
    /// nature is active low, level. [PCI-3.0 6.2.4]
    pub fn pci_line(&self, interrupt_line: u8) -> Option<Line> {
        let line = self.line(interrupt_line, Polarity::ActiveLow, Trigger::Level);
        (interrupt_line != 0 && interrupt_line != 0xff && self.find(line.gsi).is_some()).then_some(line)
    }

    fn line(&self, irq: u8, bus_polarity: Polarity, bus_trigger: Trigger) -> Line {
        let found = self.overrides.iter().find(|candidate| candidate.isa_irq == irq);
        let (gsi, polarity, trigger) = match found {
            Some(found) => (found.gsi, found.polarity, found.trigger),
            None => (Gsi(u32::from(irq)), Polarity::OfBus, Trigger::OfBus),
        };
        Line {
            gsi,
            polarity: if polarity == Polarity::OfBus { bus_polarity } else { polarity },
            trigger: if trigger == Trigger::OfBus { bus_trigger } else { trigger },
        }
    }

    /// Directs a line to one processor's vector, and masks it.
    pub fn set(&mut self, line: Line, vector: Vector, destination: ApicId) -> Result<(), LineError> {
        let (unit, pin) = self.find(line.gsi).ok_or(LineError::NoSuchLine(line.gsi))?;
        let destination = match u8::try_from(destination.0) {
            Ok(id) if id != 0xff => u32::from(id),
            _ => return Err(LineError::Unreachable(destination)),
        };
        unit.write_entry_low(pin, ENTRY_MASKED);
        unit.write(FIRST_ENTRY + 2 * pin + 1, destination << 24);
        unit.write_entry_low(pin, ENTRY_MASKED | line.electrical_bits() | u32::from(vector.0));
        Ok(())
    }

    /// Directs a line to an entry of the interrupt remapping table, and masks it. `vector` is the one that the entry names: the
    /// end of a level interrupt is told by it. [VT-d-4.1 5.1.5.1]
    pub fn set_remapped(&mut self, line: Line, vector: Vector, handle: u16) -> Result<(), LineError> {
        const REMAPPABLE: u32 = 1 << 16;
        let (unit, pin) = self.find(line.gsi).ok_or(LineError::NoSuchLine(line.gsi))?;
        let handle = u32::from(handle);
        let low = line.electrical_bits() | (handle >> 15) << 11 | u32::from(vector.0);
        unit.write_entry_low(pin, ENTRY_MASKED);
        unit.write(FIRST_ENTRY + 2 * pin + 1, (handle & 0x7fff) << 17 | REMAPPABLE);
        unit.write_entry_low(pin, ENTRY_MASKED | low);
        Ok(())
    }

    /// The id in the MADT of the I/O APIC that has a line.
    pub fn unit_id(&self, gsi: Gsi) -> Option<u8> {
        self.find(gsi).map(|(unit, _)| unit.id)
    }

    /// Holds back a line's interrupts.
    pub fn mask(&mut self, gsi: Gsi) -> Result<(), LineError> {
        let (unit, pin) = self.find(gsi).ok_or(LineError::NoSuchLine(gsi))?;
        unit.write_entry_low(pin, unit.read_entry_low(pin) | ENTRY_MASKED);
        Ok(())
    }

    /// Lets a line's interrupts through.
    pub fn unmask(&mut self, gsi: Gsi) -> Result<(), LineError> {
        let (unit, pin) = self.find(gsi).ok_or(LineError::NoSuchLine(gsi))?;
        unit.write_entry_low(pin, unit.read_entry_low(pin) & !ENTRY_MASKED);
        Ok(())
    }

    fn find(&self, gsi: Gsi) -> Option<(&Unit, u32)> {
        self.units.iter().find_map(|unit| {
            let pin = gsi.0.checked_sub(unit.first_gsi.0)?;
            (pin < unit.pins).then_some((unit, pin))
        })
    }
}

impl Unit {
    /// # Safety
    /// Nothing else uses the I/O APIC.
    unsafe fn open(description: &IoApicDescription, memory: &impl PhysicalMemory) -> Option<Self> {
        let base = memory.map_mmio(description.address, WINDOW_LENGTH)?;
        // SAFETY: the kernel mapped the registers for ever; no RAM is there.
        let registers = unsafe { Registers::new(base, WINDOW_LENGTH) };
        let mut unit = Self { registers, first_gsi: description.first_gsi, pins: 0, id: description.id };
        let version = unit.read(VERSION);
        // An address that nothing answers reads as all ones or zeros.
        if version == 0 || version == u32::MAX {
            return None;
        }
        unit.pins = ((version >> 16 & 0xff) + 1).min(MAXIMUM_PINS);
        for pin in 0..unit.pins {
            unit.write_entry_low(pin, ENTRY_MASKED);
        }
        Some(unit)
    }

    fn read_entry_low(&self, pin: u32) -> u32 {
        self.read(FIRST_ENTRY + 2 * pin)
    }

    fn write_entry_low(&self, pin: u32, value: u32) {
        self.write(FIRST_ENTRY + 2 * pin, value);
    }

    fn read(&self, index: u32) -> u32 {
        self.registers.write_u32(REGISTER_SELECT, index);
        self.registers.read_u32(REGISTER_WINDOW)
    }

    fn write(&self, index: u32, value: u32) {
        self.registers.write_u32(REGISTER_SELECT, index);
        self.registers.write_u32(REGISTER_WINDOW, value);
    }
}

/// Masks the two 8259 interrupt controllers completely, after moving their vectors to 32 to 47, so that not even a
/// spurious interrupt of theirs looks like an exception.
///
/// # Safety
/// The processor runs in ring 0 with interrupts off, and nothing else uses the controllers.
pub unsafe fn disable_legacy_pics() {
    const COMMAND_1: u16 = 0x20;
    const DATA_1: u16 = 0x21;
    const COMMAND_2: u16 = 0xa0;
    const DATA_2: u16 = 0xa1;
    /// Any write to this port takes about a microsecond, which old controllers need between commands.
    const DELAY: u16 = 0x80;
    const INITIALISE: u8 = 0x11;
    const MODE_8086: u8 = 0x01;
    let sequence = [
        (DATA_1, 0xff),
        (DATA_2, 0xff),
        (COMMAND_1, INITIALISE),
        (COMMAND_2, INITIALISE),
        (DATA_1, 32),
        (DATA_2, 40),
        (DATA_1, 1 << 2),
        (DATA_2, 2),
        (DATA_1, MODE_8086),
        (DATA_2, MODE_8086),
        (DATA_1, 0xff),
        (DATA_2, 0xff),
    ];
    for (port, value) in sequence {
        // SAFETY: the controllers are the caller's; without them, nobody listens at these ports.
        unsafe {
            ports::write_u8(port, value);
            ports::write_u8(DELAY, 0);
        }
    }
}
