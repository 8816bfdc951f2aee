//! IOMMUs: good descriptions, and those that lie.

use super::super::*;
use super::build::*;

const UNIT: u64 = 0xfed9_0000;

fn read(dmar: Vec<u8>) -> DmaRemapping {
    let machine = Machine::with_rsdt(&[dmar]);
    read_tables(Some(PhysicalAddress(ROOT_POINTER)), &machine).dma_remapping
}

/// As QEMU 7.2 describes its `intel-iommu`.
pub fn qemu() -> Vec<u8> {
    dmar(1, &[dmar_unit(1, 0, UNIT, &[dmar_scope(3, 0, 0xff, &[0, 0])])])
}

#[test]
fn the_unit_of_qemu_is_read() {
    let remapping = read(qemu());
    assert_eq!(remapping.interrupts, InterruptRemapping::Supported);
    let [unit] = remapping.units.as_slice() else { panic!("{remapping:?}") };
    assert_eq!((unit.address, unit.segment, unit.scope), (PhysicalAddress(UNIT), 0, UnitScope::Rest));
    let [scope] = unit.listed.as_slice() else { panic!("{unit:?}") };
    assert_eq!((scope.kind, scope.bus, scope.path.len()), (ScopeKind::IoApic(0), 0xff, 1));
    let machine = Machine::with_rsdt(&[qemu()]);
    let tables = read_tables(Some(PhysicalAddress(ROOT_POINTER)), &machine);
    let registers = PhysicalRange::new(PhysicalAddress(UNIT + 0xfff), 1).unwrap();
    assert!(tables.overlaps_kernel_registers(registers), "no driver gets them");
}

#[test]
fn units_paths_and_reserved_memory_are_read_in_order() {
    let path = dmar_scope(1, 0, 2, &[28, 3, 0, 7]);
    let reserved = [&[1, 0, 24, 0][..], &[0; 20]].concat();
    let unknown = vec![9, 0, 6, 0, 0xff, 0xff];
    let structures = [dmar_unit(0, 0, UNIT, &[path]), unknown, reserved, dmar_unit(1, 0, UNIT + 0x1000, &[])];
    let remapping = read(dmar(0, &structures));
    assert_eq!(remapping.interrupts, InterruptRemapping::Unsupported);
    assert_eq!((remapping.units.len(), remapping.reserved_regions), (2, 1));
    let scope = &remapping.units[0].listed[0];
    assert_eq!((scope.kind, scope.bus), (ScopeKind::Endpoint, 2));
    let steps: Vec<_> = scope.path.iter().map(|step| (step.device, step.function)).collect();
    assert_eq!(steps, [(28, 3), (0, 7)]);
}

#[test]
fn what_cannot_be_is_left_out() {
    let bad = [
        dmar_unit(1, 0, 0, &[]),
        dmar_unit(1, 0, UNIT + 8, &[]),
        dmar_unit(1, 0, 0x10_0000, &[]),
        dmar_unit(0, 0, UNIT, &[dmar_scope(1, 0, 0, &[32, 0])]),
        dmar_unit(0, 0, UNIT, &[dmar_scope(1, 0, 0, &[0, 8])]),
        dmar_unit(0, 0, UNIT, &[dmar_scope(1, 0, 0, &[])]),
        dmar_unit(0, 0, UNIT, &[dmar_scope(1, 0, 0, &[1])]),
        dmar_unit(0, 0, UNIT, &[dmar_scope(1, 0, 0, &[1; 10])]),
        dmar_unit(0, 0, UNIT, &[vec![1, 0, 0, 0, 0, 0]]),
        dmar_unit(0, 0, UNIT, &[vec![1, 200, 0, 0, 0, 0]]),
        dmar_unit(0, 0, UNIT, &vec![dmar_scope(1, 0, 0, &[1, 0]); 17]),
    ];
    for unit in bad {
        // Their neighbours are used all the same, unless the length leads nowhere.
        let remapping = read(dmar(1, &[unit.clone(), dmar_unit(1, 1, UNIT + 0x2000, &[])]));
        let addresses: Vec<_> = remapping.units.iter().map(|unit| unit.address.0).collect();
        assert!(addresses.iter().all(|address| *address == UNIT + 0x2000), "{unit:x?}: {addresses:x?}");
    }
    let twice = [dmar_unit(1, 0, UNIT, &[]), dmar_unit(1, 0, UNIT + 0x1000, &[]), dmar_unit(0, 2, UNIT, &[])];
    assert_eq!(read(dmar(1, &twice)).units.len(), 1);
    let many: Vec<_> = (0..20).map(|unit| dmar_unit(1, unit, UNIT + u64::from(unit) * 0x1000, &[])).collect();
    assert_eq!(read(dmar(1, &many)).units.len(), MAXIMUM_UNITS);
    assert!(read(table(b"DMAR", 1, &[1; 11])).units.is_empty());
    assert!(read(dmar(1, &[vec![0, 0, 0, 0], dmar_unit(1, 0, UNIT, &[])])).units.is_empty());
}
