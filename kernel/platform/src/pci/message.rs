//! Message interrupts: MSI and MSI-X. [PCI-3.0 6.8]

use super::capabilities::{MSIX, SPACE};
use super::{Bar, ConfigurationSpace, Function, MAXIMUM_BARS, PciAddress, Switch};
use crate::address::{ApicId, Vector};
use crate::registers::Registers;

/// The write to memory that is an interrupt: edge-triggered, fixed delivery, one processor. [SDM 11.11]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterruptMessage {
    address: u32,
    data: u32,
}

impl InterruptMessage {
    const BASE: u32 = 0xfee0_0000;

    /// The message that raises `vector` on a processor; `None` when the processor has no 8-bit identifier, which without
    /// interrupt remapping cannot be named.
    pub const fn new(destination: ApicId, vector: Vector) -> Option<Self> {
        if destination.0 < 0xff {
            Some(Self { address: Self::BASE | destination.0 << 12, data: vector.0 as u32 })
        } else {
            None
        }
    }

    /// The message that an interrupt remapping unit takes for the entry `handle` of its table, with subhandle 0.
    /// [VT-d-4.1 5.1.2.2]
    pub const fn remapped(handle: u16) -> Self {
        const REMAPPABLE: u32 = 1 << 4;
        const SUBHANDLE_VALID: u32 = 1 << 3;
        let handle = (handle as u32 & 0x7fff) << 5 | (handle as u32 >> 15) << 2;
        Self { address: Self::BASE | handle | REMAPPABLE | SUBHANDLE_VALID, data: 0 }
    }

    /// Where it is written to.
    pub const fn address(self) -> u32 {
        self.address
    }

    /// What is written.
    pub const fn data(self) -> u32 {
        self.data
    }
}

/// Offsets in the MSI capability, and its control bits.
const MSI_CONTROL: u16 = 0x02;
const MSI_ADDRESS: u16 = 0x04;
const MSI_ADDRESS_UPPER: u16 = 0x08;
const MSI_ENABLE: u16 = 1 << 0;
const MSI_ENABLED_VECTORS: u16 = 0b111 << 4;
const MSI_64_BIT: u16 = 1 << 7;
const MSI_MASKING: u16 = 1 << 8;

/// The MSI capability of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsiCapability {
    /// Where it is.
    pub offset: u16,
    /// Vectors that the function can use, a power of two up to 32.
    pub vectors: u16,
    data: u16,
    /// Where the mask register is, if vectors can be masked one by one.
    mask: Option<u16>,
}

impl MsiCapability {
    pub(super) fn read(
        configuration: &mut impl ConfigurationSpace,
        address: PciAddress,
        offset: u16,
    ) -> Option<Self> {
        let control = configuration.read_u16(address, offset + MSI_CONTROL);
        let exponent = control >> 1 & 0b111;
        let wide = control & MSI_64_BIT != 0;
        let data = offset + if wide { 0x0c } else { 0x08 };
        let mask = (control & MSI_MASKING != 0).then_some(data + 4);
        let end = mask.map_or(data + 2, |mask| mask + 8);
        if exponent > 5 || end > SPACE {
            log::error!("pci: {address}: impossible MSI capability; not used");
            return None;
        }
        Some(Self { offset, vectors: 1 << exponent, data, mask })
    }

    const fn is_wide(&self) -> bool {
        self.data == self.offset + 0x0c
    }
}

/// Offsets in the MSI-X capability, and its control bits.
const MSIX_CONTROL: u16 = 0x02;
const MSIX_TABLE: u16 = 0x04;
const MSIX_PENDING: u16 = 0x08;
const MSIX_ENABLE: u16 = 1 << 15;
const MSIX_MASK_ALL: u16 = 1 << 14;
const MSIX_ENTRIES: u16 = 0x7ff;

/// The MSI-X capability of a function, whose table and pending bits lie inside usable memory BARs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsixCapability {
    /// Where it is.
    pub offset: u16,
    /// Entries of the table, 1 to 2048.
    pub entries: u16,
    /// Where the table is.
    pub table: BarRange,
    /// Where the pending bits are.
    pub pending: BarRange,
}

/// Part of a memory BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarRange {
    /// The BAR, 0 to 5.
    pub bar: u8,
    /// Bytes before the part.
    pub offset: u32,
    /// Bytes of the part.
    pub length: u32,
}

impl BarRange {
    fn check(register: u32, length: u32, bars: &[Bar; MAXIMUM_BARS]) -> Option<Self> {
        let (bar, offset) = (register & 0b111, register & !0b111);
        let size = bars.get(bar as usize).filter(|bar| bar.memory().is_some())?.size;
        let end = u64::from(offset) + u64::from(length);
        (end <= size).then_some(Self { bar: bar as u8, offset, length })
    }
}

impl MsixCapability {
    pub(super) fn read(
        configuration: &mut impl ConfigurationSpace,
        address: PciAddress,
        offset: u16,
        bars: &[Bar; MAXIMUM_BARS],
    ) -> Option<Self> {
        let entries = (configuration.read_u16(address, offset + MSIX_CONTROL) & MSIX_ENTRIES) + 1;
        let table = configuration.read_u32(address, offset + MSIX_TABLE);
        let pending = configuration.read_u32(address, offset + MSIX_PENDING);
        let pending_length = u32::from(entries).div_ceil(64) * 8;
        let table = BarRange::check(table, u32::from(entries) * MsixTable::ENTRY as u32, bars);
        let pending = BarRange::check(pending, pending_length, bars);
        match (table, pending) {
            (Some(table), Some(pending)) => Some(Self { offset, entries, table, pending }),
            _ => {
                log::error!("pci: {address}: MSI-X table or pending bits are in no usable BAR; not used");
                None
            }
        }
    }
}

/// A mapped MSI-X table. [PCI-3.0 6.8.2]
#[derive(Clone, Copy, Debug)]
pub struct MsixTable {
    registers: Registers,
    entries: u16,
}

impl MsixTable {
    const ENTRY: usize = 16;
    const ADDRESS: usize = 0;
    const ADDRESS_UPPER: usize = 4;
    const DATA: usize = 8;
    const CONTROL: usize = 12;
    const MASKED: u32 = 1;

    /// The table in `registers`, which start at its first entry; entries that do not fit do not exist.
    pub fn new(registers: Registers, entries: u16) -> Self {
        let fitting = u16::try_from(registers.length() / Self::ENTRY).unwrap_or(u16::MAX);
        Self { registers, entries: entries.min(fitting) }
    }

    /// Entries of the table.
    pub const fn entries(&self) -> u16 {
        self.entries
    }

    /// Masks an entry and gives it its message. An entry past the table is ignored.
    pub fn set(&self, index: u16, message: InterruptMessage) {
        self.mask(index);
        self.write(index, Self::ADDRESS, message.address);
        self.write(index, Self::ADDRESS_UPPER, 0);
        self.write(index, Self::DATA, message.data);
    }

    /// Holds back an entry's interrupts; they become pending. No interrupt of the entry leaves the function after this.
    pub fn mask(&self, index: u16) {
        self.write(index, Self::CONTROL, Self::MASKED);
        // Reading pushes the write out to the function.
        self.read(index, Self::CONTROL);
    }

    /// Lets an entry's interrupts through.
    pub fn unmask(&self, index: u16) {
        self.write(index, Self::CONTROL, 0);
    }

    /// Masks all entries.
    pub fn mask_all(&self) {
        for index in 0..self.entries {
            self.mask(index);
        }
    }

    fn write(&self, index: u16, field: usize, value: u32) {
        if index < self.entries {
            self.registers.write_u32(usize::from(index) * Self::ENTRY + field, value);
        }
    }

    fn read(&self, index: u16, field: usize) -> u32 {
        self.registers.read_u32(usize::from(index) * Self::ENTRY + field)
    }
}

impl Function {
    /// Lets the function interrupt by its MSI-X table, or not. Switch it on once the table's entries are masked; the function's
    /// line interrupt is off while it is on.
    pub fn set_msix(&self, configuration: &mut impl ConfigurationSpace, switch: Switch) {
        let Some(offset) = self.msix_offset(configuration) else { return };
        let before = configuration.read_u16(self.address, offset + MSIX_CONTROL);
        let value = match switch {
            Switch::On => before & !MSIX_MASK_ALL | MSIX_ENABLE,
            Switch::Off => before & !(MSIX_ENABLE | MSIX_MASK_ALL),
        };
        configuration.write_u16(self.address, offset + MSIX_CONTROL, value);
    }

    /// Lets the function interrupt by MSI, or not.
    pub fn set_msi(&self, configuration: &mut impl ConfigurationSpace, switch: Switch) {
        let Some(msi) = self.msi else { return };
        let before = configuration.read_u16(self.address, msi.offset + MSI_CONTROL);
        let value = match switch {
            Switch::On => before | MSI_ENABLE,
            Switch::Off => before & !MSI_ENABLE,
        };
        configuration.write_u16(self.address, msi.offset + MSI_CONTROL, value);
    }

    /// Gives MSI the message of its one vector, masked where that can be, and leaves MSI off. More than one vector is not used: they
    /// would have to be neighbours on one processor.
    pub fn set_msi_message(&self, configuration: &mut impl ConfigurationSpace, message: InterruptMessage) {
        let Some(msi) = self.msi else { return };
        let control = configuration.read_u16(self.address, msi.offset + MSI_CONTROL);
        let one_vector = control & !(MSI_ENABLE | MSI_ENABLED_VECTORS);
        configuration.write_u16(self.address, msi.offset + MSI_CONTROL, one_vector);
        configuration.write_u32(self.address, msi.offset + MSI_ADDRESS, message.address);
        if msi.is_wide() {
            configuration.write_u32(self.address, msi.offset + MSI_ADDRESS_UPPER, 0);
        }
        // The vector and zeros: the upper 16 bits do not exist.
        configuration.write_u16(self.address, msi.data, message.data as u16);
        if let Some(mask) = msi.mask {
            configuration.write_u32(self.address, mask, u32::MAX);
        }
    }

    /// Holds back MSI's interrupts. A function that cannot mask loses those that it would have raised meanwhile.
    pub fn mask_msi(&self, configuration: &mut impl ConfigurationSpace) {
        match self.msi.and_then(|msi| msi.mask) {
            Some(mask) => configuration.write_u32(self.address, mask, u32::MAX),
            None => self.set_msi(configuration, Switch::Off),
        }
    }

    /// Lets MSI's interrupts through.
    pub fn unmask_msi(&self, configuration: &mut impl ConfigurationSpace) {
        if let Some(mask) = self.msi.and_then(|msi| msi.mask) {
            configuration.write_u32(self.address, mask, !1);
        }
        self.set_msi(configuration, Switch::On);
    }

    /// Where the control register of MSI-X is, also when the table cannot be used: it must be possible to switch it off.
    fn msix_offset(&self, configuration: &mut impl ConfigurationSpace) -> Option<u16> {
        match self.msix {
            Some(msix) => Some(msix.offset),
            None => super::find_capability(configuration, self.address, MSIX, 0).map(|found| found.offset),
        }
    }
}
