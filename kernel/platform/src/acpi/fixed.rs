//! The tables with fixed contents: FADT, MCFG and HPET.

use ::acpi::address::RawGenericAddress;
use ::acpi::sdt::fadt::Fadt;
use ::acpi::sdt::hpet::HpetTable;
use ::acpi::sdt::mcfg::{Mcfg, McfgEntry};

use super::source::{Table, read, read_table};
use super::{
    EcamRegion, HpetDescription, PlatformTables, PmTimerDescription, PmTimerWidth, RegisterLocation,
    ResetRegister, SoftOff, push, sleep,
};
use crate::address::{Gsi, PhysicalAddress, PhysicalMemory, PhysicalRange};

/// Address spaces of a generic address. [ACPI-6.5 table 5.1]
const SYSTEM_MEMORY: u8 = 0;
const SYSTEM_IO: u8 = 1;
const PCI_CONFIGURATION: u8 = 2;

/// FADT revisions from which on the extended fields exist. [ACPI-6.5 5.2.9]
const EXTENDED_FIELDS: u8 = 2;

/// Takes over what the FADT says. Fields past the end of a short table are zero, which means absent for all of them.
pub(super) fn read_fadt(
    table: &Table<'_>,
    memory: &impl PhysicalMemory,
    tables: &mut PlatformTables,
) -> Option<()> {
    let fadt: Fadt = table.padded_part();
    let revision = fadt.header.revision;
    tables.sci = Some(fadt.sci_interrupt).filter(|&sci| sci != 0).map(|sci| Gsi(u32::from(sci)));
    tables.pm_timer = pm_timer(&fadt);
    if revision >= EXTENDED_FIELDS && { fadt.flags }.supports_system_reset_via_fadt() {
        tables.reset = reset_register(fadt.reset_reg, fadt.reset_value, memory);
    }
    tables.soft_off = soft_off(&fadt, memory);
    Some(())
}

fn pm_timer(fadt: &Fadt) -> Option<PmTimerDescription> {
    // The length is 4 or the timer does not exist. [ACPI-6.5 table 5.9, PM_TMR_LEN]
    if fadt.pm_timer_length != 4 {
        return None;
    }
    let port = port_of(extended(fadt, fadt.x_pm_timer_block), fadt.pm_timer_block)?;
    let width = if { fadt.flags }.pm_timer_is_32_bit() { PmTimerWidth::Bits32 } else { PmTimerWidth::Bits24 };
    Some(PmTimerDescription { port, width })
}

/// The extended form of a register's address, where the table has it and it is not empty.
fn extended(
    fadt: &Fadt,
    field: ::acpi::sdt::ExtendedField<RawGenericAddress, 2>,
) -> Option<RawGenericAddress> {
    // SAFETY: the whole structure was initialised, with zeros where the table is shorter.
    unsafe { field.access(fadt.header.revision) }.filter(|register| register.address != 0)
}

/// The I/O port of a register; `None` when there is none or it is not in I/O space.
fn port_of(extended: Option<RawGenericAddress>, legacy: u32) -> Option<u16> {
    match extended {
        Some(register) if register.address_space == SYSTEM_IO => u16::try_from(register.address).ok(),
        Some(_) => None,
        None => u16::try_from(legacy).ok(),
    }
    .filter(|&port| port != 0)
}

fn reset_register(
    register: RawGenericAddress,
    value: u8,
    memory: &impl PhysicalMemory,
) -> Option<ResetRegister> {
    let address = register.address;
    let location = match register.address_space {
        SYSTEM_IO => RegisterLocation::Port(u16::try_from(address).ok().filter(|&port| port != 0)?),
        SYSTEM_MEMORY => {
            let byte = PhysicalRange::new(PhysicalAddress(address), 1).filter(|_| address != 0)?;
            if memory.overlaps_ram(byte) {
                log::error!("acpi: the reset register {address:#x} is in RAM; not used");
                return None;
            }
            RegisterLocation::Memory(byte.start())
        }
        // Device in bits 32 to 47, function in 16 to 31, register in 0 to 15. [ACPI-6.5 table 5.1]
        PCI_CONFIGURATION => RegisterLocation::Configuration {
            device: u8::try_from(address >> 32).ok().filter(|&device| device < 32)?,
            function: u8::try_from(address >> 16 & 0xffff).ok().filter(|&function| function < 8)?,
            offset: u8::try_from(address & 0xffff).ok()?,
        },
        _ => return None,
    };
    Some(ResetRegister { location, value })
}

fn soft_off(fadt: &Fadt, memory: &impl PhysicalMemory) -> Option<SoftOff> {
    let pm1a_control = port_of(extended(fadt, fadt.x_pm1a_control_block), fadt.pm1a_control_block)?;
    let pm1b_control = port_of(extended(fadt, fadt.x_pm1b_control_block), fadt.pm1b_control_block);
    let address = PhysicalAddress(u64::try_from(fadt.dsdt_address().ok()?).ok()?);
    let dsdt = match read_table(address, memory) {
        Ok(dsdt) if dsdt.signature() == *b"DSDT" => dsdt,
        Ok(_) => {
            log::error!("acpi: no DSDT at {address}; the machine cannot be switched off");
            return None;
        }
        Err(error) => {
            log::error!("acpi: {error}; the machine cannot be switched off");
            return None;
        }
    };
    let Some((type_a, type_b)) = sleep::find_soft_off_types(dsdt.after::<::acpi::sdt::SdtHeader>()) else {
        log::error!("acpi: the DSDT has no readable _S5 package; the machine cannot be switched off");
        return None;
    };
    Some(SoftOff { pm1a_control, pm1b_control, type_a, type_b })
}

/// Takes over the regions that the MCFG lists, without those that contradict another or lie in RAM.
pub(super) fn read_mcfg(
    table: &Table<'_>,
    memory: &impl PhysicalMemory,
    tables: &mut PlatformTables,
) -> Option<()> {
    table.fixed_part::<Mcfg>()?;
    for entry in table.after::<Mcfg>().chunks_exact(size_of::<McfgEntry>()) {
        let Some(entry) = read::<McfgEntry>(entry) else { continue };
        let region = EcamRegion {
            base: PhysicalAddress(entry.base_address),
            segment: entry.pci_segment_group,
            first_bus: entry.bus_number_start,
            last_bus: entry.bus_number_end,
        };
        let usable = region.base.0 != 0
            && region.base.0.is_multiple_of(1 << 20)
            && region.range().is_some_and(|range| {
                // The regions are usually reserved in the memory map, but never RAM.
                !memory.overlaps_ram(range)
                    && !tables.ecam_regions.iter().any(|other| contradicts(other, &region, range))
            });
        if usable {
            push("ECAM regions", &mut tables.ecam_regions, region);
        } else {
            log::error!("acpi: unusable {region:x?}; left out");
        }
    }
    Some(())
}

fn contradicts(known: &EcamRegion, new: &EcamRegion, range: PhysicalRange) -> bool {
    let same_buses =
        known.segment == new.segment && known.first_bus <= new.last_bus && new.first_bus <= known.last_bus;
    same_buses || known.range().is_some_and(|known| known.overlaps(range))
}

/// Takes over where the HPET is.
pub(super) fn read_hpet(
    table: &Table<'_>,
    memory: &impl PhysicalMemory,
    tables: &mut PlatformTables,
) -> Option<()> {
    let hpet: HpetTable = table.fixed_part()?;
    let (space, address) = (hpet.base_address.address_space, hpet.base_address.address);
    let registers = PhysicalRange::new(PhysicalAddress(address), 1024);
    let usable = space == SYSTEM_MEMORY
        && address != 0
        && address.is_multiple_of(8)
        && registers.is_some_and(|range| !memory.overlaps_ram(range));
    if usable {
        tables.hpet = Some(HpetDescription { address: PhysicalAddress(address) });
    } else {
        log::error!("acpi: unusable HPET at {address:#x} in space {space}; left out");
    }
    Some(())
}
