//! The ACPI tables that the kernel needs, read once at boot into plain values. [ACPI-6.5 5.2]
//!
//! The layouts are those of the `acpi` crate. Finding the tables is done here, because the tables are not trusted: every
//! address, length and checksum is checked before a byte of a table is used, and what does not hold is logged and left out.
//! With no table at all the machine still starts, on one processor.

mod dmar;
mod fixed;
mod interrupts;
mod sleep;
mod source;
#[cfg(test)]
mod tests;

pub use dmar::{
    DmaRemapping, InterruptRemapping, MAXIMUM_UNITS, PathStep, Scope, ScopeKind, UnitDescription, UnitScope,
};

use ::acpi::sdt::Signature;
use arrayvec::ArrayVec;

use crate::address::{ApicId, Gsi, PhysicalAddress, PhysicalMemory, PhysicalRange};

/// Most processors that are started.
pub const MAXIMUM_PROCESSORS: usize = 64;
/// Most I/O APICs that are used.
pub const MAXIMUM_IO_APICS: usize = 8;
/// Most overrides of ISA interrupts that are kept.
pub const MAXIMUM_OVERRIDES: usize = 32;
/// Most memory-mapped regions of PCI configuration space that are used.
pub const MAXIMUM_ECAM_REGIONS: usize = 16;
/// Most tables that are kept for the inventory.
pub const MAXIMUM_TABLES: usize = 64;

/// What the tables said, or the fallback for what they did not say.
#[derive(Clone, Debug)]
pub struct PlatformTables {
    /// Processors that can be started, in the table's order. Empty without a usable MADT: the running
    /// processor is then the only one.
    pub processors: ArrayVec<ApicId, MAXIMUM_PROCESSORS>,
    /// I/O APICs. Empty without a usable MADT: there are then no interrupt lines, only message interrupts.
    pub io_apics: ArrayVec<IoApicDescription, MAXIMUM_IO_APICS>,
    /// Where ISA interrupts differ from "GSI n, active high, edge".
    pub overrides: ArrayVec<InterruptOverride, MAXIMUM_OVERRIDES>,
    /// Inputs of every processor's local APIC that non-maskable interrupts come in by.
    pub nmi_inputs: ArrayVec<LocalInput, 2>,
    /// Where the MADT puts the local APIC's registers. For the record: the processor's base register decides.
    pub local_apic_address: Option<PhysicalAddress>,
    /// Memory-mapped PCI configuration space. Empty where only the ports 0xCF8 and 0xCFC reach it.
    pub ecam_regions: ArrayVec<EcamRegion, MAXIMUM_ECAM_REGIONS>,
    /// The high precision event timer.
    pub hpet: Option<HpetDescription>,
    /// The power management timer.
    pub pm_timer: Option<PmTimerDescription>,
    /// How to reset the machine.
    pub reset: Option<ResetRegister>,
    /// How to switch the machine off.
    pub soft_off: Option<SoftOff>,
    /// The line of the system control interrupt.
    pub sci: Option<Gsi>,
    /// The IOMMUs.
    pub dma_remapping: DmaRemapping,
    /// All tables that passed their check, in order.
    pub inventory: ArrayVec<TableDescription, MAXIMUM_TABLES>,
}

/// An input of a local APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalInput {
    /// LINT0.
    Lint0,
    /// LINT1.
    Lint1,
}

/// What the inventory keeps of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableDescription {
    /// Its name: graphic ASCII.
    pub signature: [u8; 4],
    /// Where it is.
    pub address: PhysicalAddress,
    /// Bytes, header included.
    pub length: u32,
    /// Revision of its layout.
    pub revision: u8,
}

/// One I/O APIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoApicDescription {
    /// Where its registers are.
    pub address: PhysicalAddress,
    /// The GSI of its first pin.
    pub first_gsi: Gsi,
    /// What other tables call it.
    pub id: u8,
}

/// Where an ISA interrupt arrives when it is not at the GSI of its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterruptOverride {
    /// The ISA interrupt, 0 to 15.
    pub isa_irq: u8,
    /// The pin.
    pub gsi: Gsi,
    /// The level that means "active".
    pub polarity: Polarity,
    /// What raises the interrupt.
    pub trigger: Trigger,
}

/// The level of an interrupt line that means "active".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polarity {
    /// As the bus of the interrupt has it: high for ISA, low for PCI.
    OfBus,
    /// High.
    ActiveHigh,
    /// Low.
    ActiveLow,
}

/// What raises an interrupt on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// As the bus of the interrupt has it: the edge for ISA, the level for PCI.
    OfBus,
    /// Becoming active.
    Edge,
    /// Being active.
    Level,
}

/// A memory-mapped part of PCI configuration space: 1 MiB for each bus. [PCIFW-3.3 4.1.2]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EcamRegion {
    /// Where bus 0 of the segment is, or would be.
    pub base: PhysicalAddress,
    /// The PCI segment.
    pub segment: u16,
    /// First bus.
    pub first_bus: u8,
    /// Last bus, which belongs to the region.
    pub last_bus: u8,
}

impl EcamRegion {
    /// The addresses of its buses.
    pub fn range(&self) -> Option<PhysicalRange> {
        let buses = u64::from(self.last_bus).checked_sub(u64::from(self.first_bus))? + 1;
        PhysicalRange::new(self.base.checked_add(u64::from(self.first_bus) << 20)?, buses << 20)
    }
}

/// The high precision event timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HpetDescription {
    /// Where its 1 KiB of registers is.
    pub address: PhysicalAddress,
}

/// The power management timer, which counts at 3.579545 MHz. [ACPI-6.5 4.8.2.1]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PmTimerDescription {
    /// The port of its 32-bit register.
    pub port: u16,
    /// How many bits of it count.
    pub width: PmTimerWidth,
}

/// How many bits of the power management timer count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PmTimerWidth {
    /// It wraps every 4.7 seconds.
    Bits24,
    /// It wraps every 20 minutes.
    Bits32,
}

/// The register that resets the machine. [ACPI-6.5 4.8.3.6]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetRegister {
    /// Where it is.
    pub location: RegisterLocation,
    /// What to write to it.
    pub value: u8,
}

/// Where an 8-bit fixed register is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterLocation {
    /// An I/O port.
    Port(u16),
    /// An address.
    Memory(PhysicalAddress),
    /// Configuration space of a function on bus 0.
    Configuration {
        /// The device, 0 to 31.
        device: u8,
        /// The function, 0 to 7.
        function: u8,
        /// The register.
        offset: u8,
    },
}

/// How to enter the sleep state S5, "off". [ACPI-6.5 4.8.3.2]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoftOff {
    /// The port of the first control register.
    pub pm1a_control: u16,
    /// The port of the second, where there is one.
    pub pm1b_control: Option<u16>,
    /// The sleep type for the first, 0 to 7.
    pub type_a: u8,
    /// The sleep type for the second, 0 to 7.
    pub type_b: u8,
}

impl PlatformTables {
    /// What is assumed of a machine whose tables say nothing.
    pub const fn fallback() -> Self {
        Self {
            processors: ArrayVec::new_const(),
            io_apics: ArrayVec::new_const(),
            overrides: ArrayVec::new_const(),
            nmi_inputs: ArrayVec::new_const(),
            local_apic_address: None,
            ecam_regions: ArrayVec::new_const(),
            hpet: None,
            pm_timer: None,
            reset: None,
            soft_off: None,
            sci: None,
            dma_remapping: DmaRemapping::none(),
            inventory: ArrayVec::new_const(),
        }
    }

    /// Whether the range touches registers that belong to the kernel: interrupt controllers, timers, configuration
    /// space. No device may be given such a range.
    pub fn overlaps_kernel_registers(&self, range: PhysicalRange) -> bool {
        /// Message interrupts are writes into this range, and the local APICs answer in it. [SDM 11.11.1]
        const INTERRUPT_MESSAGES: (u64, u64) = (0xfee0_0000, 0x10_0000);
        let window = |address: PhysicalAddress, length| PhysicalRange::new(address, length);
        let fixed = window(PhysicalAddress(INTERRUPT_MESSAGES.0), INTERRUPT_MESSAGES.1);
        let io_apics = self.io_apics.iter().filter_map(|unit| window(unit.address, 4096));
        let hpet = self.hpet.and_then(|hpet| window(hpet.address, 1024));
        let ecam = self.ecam_regions.iter().filter_map(EcamRegion::range);
        let iommus = self.dma_remapping.units.iter().filter_map(UnitDescription::range);
        fixed.into_iter().chain(io_apics).chain(hpet).chain(ecam).chain(iommus).any(|own| own.overlaps(range))
    }
}

/// Ports that every PC has and that no driver may be given, first and last.
const KERNEL_PORTS: [(u16, u16); 12] = [
    // ISA DMA controllers and their page registers: they reach memory.
    (0x00, 0x1f),
    (0x80, 0x8f),
    (0xc0, 0xdf),
    // Interrupt controllers, and whether their inputs are edges or levels.
    (0x20, 0x21),
    (0xa0, 0xa1),
    (0x4d0, 0x4d1),
    // The interval timer and its gate.
    (0x40, 0x43),
    (0x61, 0x61),
    // Fast reset and A20, system management interrupts.
    (0x92, 0x92),
    (0xb2, 0xb3),
    // QEMU's firmware configuration device, whose DMA reaches memory.
    (0x510, 0x51b),
    // PCI configuration, and the reset register among it.
    (0xcf8, 0xcff),
];

impl PlatformTables {
    /// Whether the range of I/O ports touches one that belongs to the kernel: interrupt controllers, timers, PCI
    /// configuration, power management. Nobody else may be given such a range.
    pub fn overlaps_kernel_ports(&self, first: u16, count: u32) -> bool {
        let last = u32::from(first) + count.saturating_sub(1);
        let port = |port: u16, bytes: u16| (port, port.saturating_add(bytes - 1));
        let pm_timer = self.pm_timer.map(|timer| port(timer.port, 4));
        let soft_off = self.soft_off.map(|off| port(off.pm1a_control, 2));
        let soft_off_b = self.soft_off.and_then(|off| off.pm1b_control).map(|control| port(control, 2));
        let reset = match self.reset.map(|reset| reset.location) {
            Some(RegisterLocation::Port(register)) => Some(port(register, 1)),
            _ => None,
        };
        KERNEL_PORTS
            .into_iter()
            .chain(pm_timer)
            .chain(soft_off)
            .chain(soft_off_b)
            .chain(reset)
            .any(|(own_first, own_last)| u32::from(own_first) <= last && first <= own_last)
    }
}

/// Reads the tables that start at the root pointer. Never fails: what cannot be used is logged, and its
/// fallback stands in the result.
pub fn read_tables(root_pointer: Option<PhysicalAddress>, memory: &impl PhysicalMemory) -> PlatformTables {
    let mut tables = PlatformTables::fallback();
    let Some(root_pointer) = root_pointer else {
        log::error!("acpi: the boot loader gave no root pointer; one processor, no interrupt lines");
        return tables;
    };
    let root = match source::read_root(root_pointer, memory) {
        Ok(root) => root,
        Err(error) => {
            log::error!("acpi: {error}; one processor, no interrupt lines");
            return tables;
        }
    };
    let mut found = Found::default();
    for address in root.entries() {
        match source::read_table(address, memory) {
            Ok(table) => {
                push("tables", &mut tables.inventory, table.description(address));
                found.take(table, memory, &mut tables);
            }
            Err(error) => log::error!("acpi: {error}; table left out"),
        }
    }
    if !found.madt {
        log::error!("acpi: no usable MADT; one processor, no interrupt lines");
    }
    if !found.fadt {
        log::error!("acpi: no usable FADT; no power management timer, reset register or soft off");
    }
    tables
}

/// Which of the tables that count only once were seen.
#[derive(Default)]
struct Found {
    madt: bool,
    fadt: bool,
    mcfg: bool,
    hpet: bool,
    dmar: bool,
}

impl Found {
    fn take(&mut self, table: source::Table<'_>, memory: &impl PhysicalMemory, tables: &mut PlatformTables) {
        let signature = table.header().signature;
        let seen = match signature {
            Signature::MADT => &mut self.madt,
            Signature::FADT => &mut self.fadt,
            Signature::MCFG => &mut self.mcfg,
            Signature::HPET => &mut self.hpet,
            Signature::DMAR => &mut self.dmar,
            _ => return,
        };
        if core::mem::replace(seen, true) {
            log::error!("acpi: a second table {signature:?}; left out");
            return;
        }
        let read = match signature {
            Signature::MADT => interrupts::read_madt(&table, tables),
            Signature::FADT => fixed::read_fadt(&table, memory, tables),
            Signature::MCFG => fixed::read_mcfg(&table, memory, tables),
            Signature::DMAR => dmar::read_dmar(&table, memory, tables),
            _ => fixed::read_hpet(&table, memory, tables),
        };
        *seen = read.is_some();
        if !*seen {
            log::error!("acpi: table {signature:?} is too short; left out");
        }
    }
}

/// Adds an item, or logs that there is no room.
fn push<T, const N: usize>(what: &str, items: &mut ArrayVec<T, N>, item: T) {
    if items.try_push(item).is_err() {
        log::error!("acpi: more than {N} {what}; the rest is left out");
    }
}
