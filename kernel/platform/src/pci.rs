//! PCI functions: finding them, checking what they say of themselves, their message interrupts and their reset.
//! [PCI-3.0] [PCIe-6.0]
//!
//! Devices are not trusted: walks are bounded, and a register range that could reach memory or the kernel's own registers is
//! refused. All work goes through [`ConfigurationSpace`], of which there must be one user at a time.

mod address;
mod bars;
mod capabilities;
mod configuration;
mod enumerate;
mod message;
mod reset;
#[cfg(test)]
mod tests;

pub use address::PciAddress;
pub use bars::{Bar, BarFault, BarKind, BarState, MAXIMUM_BARS, Prefetch};
pub use capabilities::{Capability, PowerManagement, ResetCapability, find_capability};
pub use configuration::{Configuration, ConfigurationSpace, Width};
pub use enumerate::enumerate;
pub use message::{BarRange, InterruptMessage, MsiCapability, MsixCapability, MsixTable};
pub use reset::{Reset, ResetMethod, ResetStep, start_reset};

use arrayvec::ArrayVec;

/// Most functions that are kept.
pub const MAXIMUM_FUNCTIONS: usize = 256;

/// All functions of the machine; some 60 KiB, so it belongs in a `static`.
pub type Functions = ArrayVec<Function, MAXIMUM_FUNCTIONS>;

/// Whether something of a function is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// It is.
    On,
    /// It is not.
    Off,
}

/// What a function is to the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunctionKind {
    /// A device.
    Endpoint,
    /// A bridge to another bus. Drivers do not get bridges.
    Bridge {
        /// The bus behind it; 0 where firmware set none or an impossible one, and nothing behind it was looked for.
        secondary: u8,
        /// The last bus behind it.
        subordinate: u8,
    },
    /// A header layout that is not known; only its identity holds.
    Unknown,
}

/// One function, as found at boot.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// Where it is.
    pub address: PciAddress,
    /// Vendor id.
    pub vendor: u16,
    /// Device id.
    pub device: u16,
    /// Subsystem vendor id; 0 for bridges.
    pub subsystem_vendor: u16,
    /// Subsystem id; 0 for bridges.
    pub subsystem: u16,
    /// Class, subclass and programming interface, 8 bits each.
    pub class: u32,
    /// Revision id.
    pub revision: u8,
    /// What it is to the bus.
    pub kind: FunctionKind,
    /// Register ranges, checked.
    pub bars: [Bar; MAXIMUM_BARS],
    /// Which of the pins A (1) to D (4) it uses; `None` for no line interrupt.
    pub interrupt_pin: Option<u8>,
    /// What firmware wrote to the interrupt line register; see [`crate::io_apic::IoApics::pci_line`].
    pub interrupt_line: u8,
    /// Its MSI capability.
    pub msi: Option<MsiCapability>,
    /// Its MSI-X capability, whose tables lie inside usable BARs.
    pub msix: Option<MsixCapability>,
    /// How it can be reset.
    pub reset: Option<ResetCapability>,
    /// Its power management capability.
    pub power_management: Option<PowerManagement>,
    /// Offset of its PCI Express capability.
    pub express: Option<u16>,
}

/// Offsets in configuration space. [PCI-3.0 6.1]
mod register {
    pub(super) const VENDOR: u16 = 0x00;
    pub(super) const COMMAND: u16 = 0x04;
    pub(super) const STATUS: u16 = 0x06;
    pub(super) const REVISION_AND_CLASS: u16 = 0x08;
    pub(super) const CACHE_LINE_AND_LATENCY: u16 = 0x0c;
    pub(super) const HEADER_TYPE: u16 = 0x0e;
    pub(super) const FIRST_BAR: u16 = 0x10;
    pub(super) const SUBSYSTEM: u16 = 0x2c;
    pub(super) const EXPANSION_ROM: u16 = 0x30;
    pub(super) const CAPABILITIES: u16 = 0x34;
    pub(super) const INTERRUPT_LINE: u16 = 0x3c;
    pub(super) const INTERRUPT_PIN: u16 = 0x3d;
}

/// Bits of the command register. [PCI-3.0 6.2.2]
mod command {
    pub(super) const IO_DECODE: u16 = 1 << 0;
    pub(super) const MEMORY_DECODE: u16 = 1 << 1;
    pub(super) const BUS_MASTER: u16 = 1 << 2;
    pub(super) const INTERRUPT_DISABLE: u16 = 1 << 10;
}

impl Function {
    /// Vectors of the best interrupt kind that it offers, and which that is. [schema/device.capnp, InterruptKind]
    pub fn interrupts(&self) -> (InterruptKind, u16) {
        match (self.msix, self.msi, self.interrupt_pin) {
            (Some(msix), _, _) => (InterruptKind::Msix, msix.entries),
            (None, Some(msi), _) => (InterruptKind::Msi, msi.vectors),
            (None, None, Some(_)) => (InterruptKind::Line, 1),
            (None, None, None) => (InterruptKind::None, 0),
        }
    }

    /// Whether it is part of the machine's own wiring, which no driver gets: a bridge of any kind (the host bridge and the
    /// ISA bridge are, though they look like endpoints), or a layout that is not known.
    pub const fn is_bridge(&self) -> bool {
        const CLASS_BRIDGE: u32 = 0x06;
        !matches!(self.kind, FunctionKind::Endpoint) || self.class >> 16 == CLASS_BRIDGE
    }

    /// Makes the function still and deaf: no DMA, no interrupt of any kind. The first steps of a quiesce.
    pub fn silence(&self, configuration: &mut impl ConfigurationSpace) {
        self.update_command(configuration, command::INTERRUPT_DISABLE, command::BUS_MASTER);
        self.set_msix(configuration, Switch::Off);
        self.set_msi(configuration, Switch::Off);
    }

    /// Makes a silent function answer at its usable BARs, as a driver finds it after a claim. One whose BARs of a kind are
    /// not all usable answers at none of that kind.
    pub fn enable_decoding(&self, configuration: &mut impl ConfigurationSpace) {
        let wanted = bars::decode_bits(&self.bars);
        let decode = command::IO_DECODE | command::MEMORY_DECODE;
        self.update_command(configuration, wanted, decode & !wanted);
    }

    /// Lets the function start DMA, or not.
    pub fn set_bus_master(&self, configuration: &mut impl ConfigurationSpace, switch: Switch) {
        match switch {
            Switch::On => self.update_command(configuration, command::BUS_MASTER, 0),
            Switch::Off => self.update_command(configuration, 0, command::BUS_MASTER),
        }
    }

    /// Lets the function raise its line interrupt, or not.
    pub fn set_line_interrupt(&self, configuration: &mut impl ConfigurationSpace, switch: Switch) {
        match switch {
            Switch::On => self.update_command(configuration, 0, command::INTERRUPT_DISABLE),
            Switch::Off => self.update_command(configuration, command::INTERRUPT_DISABLE, 0),
        }
    }

    fn update_command(&self, configuration: &mut impl ConfigurationSpace, set: u16, clear: u16) {
        let before = configuration.read_u16(self.address, register::COMMAND);
        configuration.write_u16(self.address, register::COMMAND, before & !clear | set);
    }
}

/// How a function interrupts. The order is that of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InterruptKind {
    /// It does not.
    None,
    /// By a line to an I/O APIC.
    Line,
    /// By the messages of its MSI capability.
    Msi,
    /// By the messages of its MSI-X table.
    Msix,
}
