use super::super::*;
use super::build::*;

fn read(machine: &Machine) -> PlatformTables {
    read_tables(Some(PhysicalAddress(ROOT_POINTER)), machine)
}

/// What is read is the fallback: one processor, no lines.
fn assert_fallback(machine: &Machine) {
    let tables = read(machine);
    assert!(tables.processors.is_empty() && tables.io_apics.is_empty() && tables.inventory.is_empty());
}

fn good_madt() -> Vec<u8> {
    madt(&[local_apic(0, 1), io_apic(0xfec0_0000, 0)])
}

#[test]
fn no_root_pointer() {
    assert!(read_tables(None, &Machine::default()).processors.is_empty());
}

#[test]
fn a_root_pointer_outside_memory() {
    assert_fallback(&Machine::default());
    assert!(read_tables(Some(PhysicalAddress(u64::MAX)), &Machine::default()).processors.is_empty());
}

#[test]
fn a_root_pointer_with_a_wrong_signature() {
    let mut machine = Machine::default();
    let mut pointer = root_pointer(0x1000);
    pointer[0] = b'X';
    fix_checksum(&mut pointer, 8);
    machine.put_at(ROOT_POINTER, pointer);
    assert_fallback(&machine);
}

#[test]
fn a_root_pointer_with_a_wrong_checksum() {
    let mut machine = Machine::default();
    let address = machine.put(good_madt());
    let rsdt = machine.put(table(b"RSDT", 1, &(address as u32).to_le_bytes()));
    let mut pointer = root_pointer(rsdt);
    pointer[8] ^= 1;
    machine.put_at(ROOT_POINTER, pointer);
    assert_fallback(&machine);
}

#[test]
fn a_root_pointer_cut_short() {
    let mut machine = Machine::default();
    let mut pointer = root_pointer(0x1000);
    pointer.truncate(12);
    machine.put_at(ROOT_POINTER, pointer);
    assert_fallback(&machine);
}

#[test]
fn a_second_revision_root_pointer_with_an_impossible_length() {
    for length in [0u32, 20, 35, 5000, u32::MAX] {
        let mut machine = Machine::default();
        let mut pointer = root_pointer_2(0, 0x1000);
        pointer[20..24].copy_from_slice(&length.to_le_bytes());
        fix_checksum(&mut pointer, 32);
        machine.put_at(ROOT_POINTER, pointer);
        assert_fallback(&machine);
    }
}

#[test]
fn a_root_table_that_is_another_table() {
    let mut machine = Machine::default();
    let madt = machine.put(good_madt());
    machine.put_at(ROOT_POINTER, root_pointer(madt));
    assert_fallback(&machine);
}

#[test]
fn a_root_table_that_lists_itself_and_nothing() {
    let mut machine = Machine::default();
    let address = machine.put(vec![0; 48]);
    let entries = [address as u32, 0, 0xdead_0000].map(u32::to_le_bytes).concat();
    machine.put_at(ROOT_POINTER, root_pointer(address));
    let place = machine.clone();
    let mut looped = Machine::default();
    looped.put_at(address, table(b"RSDT", 1, &entries));
    looped.put_at(ROOT_POINTER, root_pointer(address));
    let tables = read(&looped);
    assert_eq!(signatures(&tables), [*b"RSDT"]);
    assert!(tables.processors.is_empty());
    assert_fallback(&place);
}

#[test]
fn a_root_table_with_thousands_of_entries() {
    let mut machine = Machine::default();
    let madt = machine.put(good_madt());
    let last = machine.put(hpet(0, 0xfed0_0000));
    let mut addresses = vec![madt; 1000];
    addresses.push(last);
    machine.root_by_rsdt(&addresses);
    let tables = read(&machine);
    assert_eq!(tables.processors.len(), 1);
    assert_eq!(tables.inventory.len(), MAXIMUM_TABLES);
    assert_eq!(tables.hpet, None);
}

#[test]
fn a_table_with_a_wrong_checksum() {
    let mut broken = good_madt();
    broken[9] ^= 0x40;
    assert_fallback(&Machine::with_rsdt(&[broken]));
}

#[test]
fn a_table_longer_than_memory_or_shorter_than_its_header() {
    for length in [0u32, 4, 35, 0x1000, 0x10_0000, 0x7fff_ffff, u32::MAX] {
        let mut broken = good_madt();
        broken[4..8].copy_from_slice(&length.to_le_bytes());
        fix_checksum(&mut broken, 9);
        assert_fallback(&Machine::with_rsdt(&[broken]));
    }
}

#[test]
fn a_table_whose_signature_is_no_text() {
    assert_fallback(&Machine::with_rsdt(&[table(b"\xff\xfe\0A", 1, &[0; 8])]));
}

#[test]
fn a_madt_shorter_than_its_fixed_part() {
    let tables = read(&Machine::with_rsdt(&[table(b"APIC", 1, &[0; 4])]));
    assert!(tables.processors.is_empty());
}

#[test]
fn a_madt_entry_of_length_0_or_1_ends_the_list() {
    for length in [0, 1] {
        let tables =
            read(&Machine::with_rsdt(&[madt(&[local_apic(0, 1), vec![0, length, 0, 0], local_apic(1, 1)])]));
        assert_eq!(tables.processors.as_slice(), [ApicId(0)]);
    }
}

#[test]
fn a_madt_entry_that_runs_past_the_table_ends_the_list() {
    for rest in [vec![0, 200, 1, 1], vec![0], vec![1, 12, 0, 0, 0]] {
        let tables = read(&Machine::with_rsdt(&[madt(&[local_apic(0, 1), rest])]));
        assert_eq!((tables.processors.len(), tables.io_apics.len()), (1, 0));
    }
}

#[test]
fn a_madt_entry_that_is_too_short_for_its_type_is_left_out() {
    let entries = [
        vec![0, 4, 9, 9],
        vec![1, 4, 0, 0],
        vec![2, 2],
        vec![5, 3, 0],
        vec![9, 6, 0, 0, 1, 0],
        local_apic(3, 1),
    ];
    let tables = read(&Machine::with_rsdt(&[madt(&entries)]));
    assert_eq!(tables.processors.as_slice(), [ApicId(3)]);
    assert!(tables.io_apics.is_empty() && tables.overrides.is_empty());
}

#[test]
fn overrides_and_units_that_contradict_others_are_left_out() {
    let entries = [
        io_apic(0xfec0_0000, 0),
        io_apic(0xfec0_0000, 24),
        io_apic(0xfec1_0000, 0),
        io_apic(0, 48),
        source_override(5, 5, 0xd),
        source_override(5, 6, 0xd),
        source_override(16, 16, 0),
        source_override(7, 7, 0b10),
        source_override(8, 8, 0b1000),
    ];
    let tables = read(&Machine::with_rsdt(&[madt(&entries)]));
    assert_eq!((tables.io_apics.len(), tables.overrides.len()), (1, 1));
}

#[test]
fn nmi_inputs_of_single_processors_or_without_a_pin_are_left_out() {
    let entry = |processor, line| vec![4, 6, processor, 0, 0, line];
    let mut machine = Machine::default();
    let table = machine.put(madt(&[
        entry(3, 0),
        entry(0xff, 2),
        entry(0xff, 1),
        entry(0xff, 1),
        vec![4, 5, 0, 0, 1],
    ]));
    machine.root_by_rsdt(&[table]);
    assert_eq!(read(&machine).nmi_inputs[..], [LocalInput::Lint1]);
}

#[test]
fn a_second_madt_is_left_out() {
    let tables = read(&Machine::with_rsdt(&[good_madt(), madt(&[local_apic(9, 1)])]));
    assert_eq!(tables.processors.as_slice(), [ApicId(0)]);
}

#[test]
fn an_fadt_that_is_cut_short_lacks_what_is_cut() {
    let parts = |length| FadtParts {
        revision: 6,
        length,
        dsdt: 0,
        pm_timer: 0x608,
        pm1a_control: 0x604,
        flags: 1 << 10,
        reset: (1, 0xcf9, 6),
    };
    let read = |length| read(&Machine::with_rsdt(&[parts(length).build()]));
    assert!(read(244).reset.is_some() && read(244).pm_timer.is_some());
    assert!(read(116).reset.is_none() && read(116).pm_timer.is_some());
    assert!(read(80).pm_timer.is_none());
    assert!(read(36).sci.is_none());
}

#[test]
fn an_fadt_whose_dsdt_is_missing_or_broken_cannot_switch_off() {
    let parts = |dsdt| FadtParts {
        revision: 1,
        length: 116,
        dsdt,
        pm_timer: 0x608,
        pm1a_control: 0x604,
        flags: 0,
        reset: (0, 0, 0),
    };
    for broken in [Vec::new(), table(b"DSDT", 1, b"_S5_"), table(b"SSDT", 1, &[0; 20]), vec![0xff; 100]] {
        let mut machine = Machine::default();
        let dsdt = machine.put(broken);
        let fadt = machine.put(parts(dsdt).build());
        machine.root_by_rsdt(&[fadt]);
        let tables = read(&machine);
        assert_eq!(tables.soft_off, None);
        assert!(tables.pm_timer.is_some());
    }
}

#[test]
fn a_reset_register_in_ram_or_nowhere_is_not_used() {
    for reset in
        [(0, 0x1000, 1), (0, 0, 1), (1, 0x1_0000, 1), (1, 0, 1), (2, 32 << 32, 1), (2, 8 << 16, 1), (7, 5, 1)]
    {
        let parts = FadtParts {
            revision: 3,
            length: 244,
            dsdt: 0,
            pm_timer: 0,
            pm1a_control: 0,
            flags: 1 << 10,
            reset,
        };
        assert_eq!(read(&Machine::with_rsdt(&[parts.build()])).reset, None, "{reset:?}");
    }
}

#[test]
fn configuration_regions_that_cannot_be_are_left_out() {
    let regions = [
        (0, 0, 0, 255),
        (0xb000_1000, 0, 0, 255),
        (0x10_0000, 0, 0, 10),
        (0xb000_0000, 0, 20, 10),
        (u64::MAX << 20, 0, 0, 255),
        (0xb000_0000, 0, 0, 127),
        (0xd000_0000, 0, 100, 255),
        (0xb400_0000, 1, 0, 10),
    ];
    let tables = read(&Machine::with_rsdt(&[mcfg(&regions)]));
    let region = EcamRegion { base: PhysicalAddress(0xb000_0000), segment: 0, first_bus: 0, last_bus: 127 };
    assert_eq!(tables.ecam_regions.as_slice(), [region]);
}

#[test]
fn an_mcfg_or_hpet_that_is_too_short_is_left_out() {
    let tables = read(&Machine::with_rsdt(&[table(b"MCFG", 1, &[0; 4]), table(b"HPET", 1, &[0; 8])]));
    assert_eq!((tables.ecam_regions.len(), tables.hpet), (0, None));
    let mut partial = mcfg(&[(0xb000_0000, 0, 0, 255)]);
    partial.truncate(50);
    partial[4..8].copy_from_slice(&50u32.to_le_bytes());
    fix_checksum(&mut partial, 9);
    assert!(read(&Machine::with_rsdt(&[partial])).ecam_regions.is_empty());
}

#[test]
fn an_hpet_in_ram_or_in_ports_is_left_out() {
    for (space, address) in [(0, 0), (0, 0x10_0000), (1, 0xfed0_0000), (0, 0xfed0_0004), (0, u64::MAX - 7)] {
        assert_eq!(read(&Machine::with_rsdt(&[hpet(space, address)])).hpet, None, "{space} {address:#x}");
    }
}
