//! The MADT: processors and interrupt controllers. [ACPI-6.5 5.2.12]

use ::acpi::sdt::madt::{
    InterruptSourceOverrideEntry, IoApicEntry, LocalApicAddressOverrideEntry, LocalApicEntry,
    LocalApicNmiEntry, LocalX2ApicEntry, Madt, Polarity as TablePolarity, TriggerMode, X2ApicNmiEntry,
    parse_mps_inti_flags,
};

use super::source::{Table, read};
use super::{InterruptOverride, IoApicDescription, LocalInput, PlatformTables, Polarity, Trigger, push};
use crate::address::{ApicId, Gsi, PhysicalAddress};

const LOCAL_APIC: u8 = 0;
const IO_APIC: u8 = 1;
const INTERRUPT_SOURCE_OVERRIDE: u8 = 2;
const LOCAL_APIC_NMI: u8 = 4;
const LOCAL_APIC_ADDRESS_OVERRIDE: u8 = 5;
const LOCAL_X2APIC: u8 = 9;
const LOCAL_X2APIC_NMI: u8 = 10;

/// The processor may be used now. Those that could only be plugged in later are left out. [ACPI-6.5 table 5.22]
const ENABLED: u32 = 1;

/// Takes over what the MADT says; `None` when it is too short.
pub(super) fn read_madt(table: &Table<'_>, tables: &mut PlatformTables) -> Option<()> {
    let madt: Madt = table.fixed_part()?;
    tables.local_apic_address = Some(PhysicalAddress(u64::from(madt.local_apic_address)));
    for (kind, entry) in (Entries { rest: table.after::<Madt>() }) {
        let understood = match kind {
            LOCAL_APIC => read::<LocalApicEntry>(entry).map(|entry| {
                // 255 means everybody; firmware uses it for absent processors.
                if entry.flags & ENABLED != 0 && entry.apic_id != 0xff {
                    add_processor(ApicId(u32::from(entry.apic_id)), tables);
                }
            }),
            LOCAL_X2APIC => read::<LocalX2ApicEntry>(entry).map(|entry| {
                if entry.flags & ENABLED != 0 && entry.x2apic_id != u32::MAX {
                    add_processor(ApicId(entry.x2apic_id), tables);
                }
            }),
            IO_APIC => read::<IoApicEntry>(entry).map(|entry| add_io_apic(&entry, tables)),
            INTERRUPT_SOURCE_OVERRIDE => {
                read::<InterruptSourceOverrideEntry>(entry).map(|entry| add_override(&entry, tables))
            }
            LOCAL_APIC_NMI => read::<LocalApicNmiEntry>(entry)
                .map(|entry| add_nmi_input(entry.processor_id == u8::MAX, entry.nmi_line, tables)),
            LOCAL_X2APIC_NMI => read::<X2ApicNmiEntry>(entry)
                .map(|entry| add_nmi_input(entry.processor_uid == u32::MAX, entry.nmi_line, tables)),
            LOCAL_APIC_ADDRESS_OVERRIDE => read::<LocalApicAddressOverrideEntry>(entry)
                .map(|entry| tables.local_apic_address = Some(PhysicalAddress(entry.local_apic_address))),
            _ => Some(()),
        };
        if understood.is_none() {
            log::error!("acpi: MADT entry of type {kind} is too short; left out");
        }
    }
    Some(())
}

fn add_processor(id: ApicId, tables: &mut PlatformTables) {
    // Large machines list a processor with a small identifier in both forms.
    if !tables.processors.contains(&id) {
        push("processors", &mut tables.processors, id);
    }
}

/// Only an input of all processors is used: single processors are named by numbers that AML gives.
fn add_nmi_input(of_all_processors: bool, line: u8, tables: &mut PlatformTables) {
    let input = match line {
        0 => LocalInput::Lint0,
        1 => LocalInput::Lint1,
        _ => {
            log::error!("acpi: a local APIC has no input {line} for NMI; left out");
            return;
        }
    };
    if of_all_processors && !tables.nmi_inputs.contains(&input) {
        push("NMI inputs", &mut tables.nmi_inputs, input);
    }
}

fn add_io_apic(entry: &IoApicEntry, tables: &mut PlatformTables) {
    let address = PhysicalAddress(u64::from(entry.io_apic_address));
    let first_gsi = Gsi(entry.global_system_interrupt_base);
    let known = tables.io_apics.iter().any(|unit| unit.address == address || unit.first_gsi == first_gsi);
    if known || address.0 == 0 {
        log::error!("acpi: I/O APIC at {address} for {first_gsi:?} contradicts another; left out");
        return;
    }
    let id = entry.io_apic_id;
    push("I/O APICs", &mut tables.io_apics, IoApicDescription { address, first_gsi, id });
}

fn add_override(entry: &InterruptSourceOverrideEntry, tables: &mut PlatformTables) {
    let (isa_irq, flags) = (entry.irq, entry.flags);
    let gsi = Gsi(entry.global_system_interrupt);
    let Ok((polarity, trigger)) = parse_mps_inti_flags(flags) else {
        log::error!("acpi: override of IRQ {isa_irq} has impossible flags {flags:#x}; left out");
        return;
    };
    let known = tables.overrides.iter().any(|known| known.isa_irq == isa_irq);
    if entry.bus != 0 || isa_irq > 15 || known {
        log::error!("acpi: override of IRQ {isa_irq} on bus {} contradicts another; left out", entry.bus);
        return;
    }
    let polarity = match polarity {
        TablePolarity::SameAsBus => Polarity::OfBus,
        TablePolarity::ActiveHigh => Polarity::ActiveHigh,
        TablePolarity::ActiveLow => Polarity::ActiveLow,
    };
    let trigger = match trigger {
        TriggerMode::SameAsBus => Trigger::OfBus,
        TriggerMode::Edge => Trigger::Edge,
        TriggerMode::Level => Trigger::Level,
    };
    push("overrides", &mut tables.overrides, InterruptOverride { isa_irq, gsi, polarity, trigger });
}

/// The MADT's entries: type and bytes, header included. It ends at the first entry whose length is impossible.
struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (kind, length) = match *self.rest {
            [] => return None,
            [kind, length, ..] => (kind, usize::from(length)),
            [_] => (0, 0),
        };
        match self.rest.split_at_checked(length) {
            Some((entry, rest)) if length >= 2 => {
                self.rest = rest;
                Some((kind, entry))
            }
            _ => {
                log::error!("acpi: MADT entry with impossible length {length}; the rest is left out");
                self.rest = &[];
                None
            }
        }
    }
}
