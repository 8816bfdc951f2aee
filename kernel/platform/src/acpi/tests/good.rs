use super::super::*;
use super::build::*;

const RESET_SUPPORTED: u32 = 1 << 10;
const PM_TIMER_32_BIT: u32 = 1 << 8;

fn read(machine: &Machine) -> PlatformTables {
    read_tables(Some(PhysicalAddress(ROOT_POINTER)), machine)
}

/// As Google Compute Engine has them: revision 0, RSDT only, no HPET, no MCFG, no override of IRQ 0.
pub fn gce() -> Machine {
    let mut machine = Machine::default();
    let dsdt = machine.put(dsdt());
    let fadt = FadtParts {
        revision: 2,
        length: 129,
        dsdt,
        pm_timer: 0xb008,
        pm1a_control: 0xb004,
        flags: 0x84a5,
        reset: (0, 0, 0),
    };
    let madt = madt(&[
        local_apic(0, 1),
        local_apic(1, 1),
        io_apic(0xfec0_0000, 0),
        source_override(5, 5, 0xd),
        source_override(9, 9, 0xd),
        source_override(10, 10, 0xd),
        source_override(11, 11, 0xd),
        vec![4, 6, 0xff, 0, 0, 1],
    ]);
    let addresses = [
        machine.put(fadt.build()),
        machine.put(table(b"SSDT", 1, &[0x42; 100])),
        machine.put(madt),
        machine.put(table(b"WAET", 1, &[0; 4])),
        machine.put(table(b"SRAT", 1, &[0; 12])),
    ];
    machine.root_by_rsdt(&addresses);
    machine
}

/// As QEMU q35 with UEFI has them: XSDT, HPET, MCFG, reset register.
pub fn q35() -> Machine {
    let mut machine = Machine::default();
    let dsdt = machine.put(dsdt());
    let fadt = FadtParts {
        revision: 3,
        length: 244,
        dsdt,
        pm_timer: 0x608,
        pm1a_control: 0x604,
        flags: RESET_SUPPORTED | PM_TIMER_32_BIT,
        reset: (1, 0xcf9, 0xf),
    };
    let madt = madt(&[
        local_apic(0, 1),
        local_apic(1, 1),
        local_apic(2, 0),
        local_x2apic(1, 1),
        local_x2apic(300, 1),
        io_apic(0xfec0_0000, 0),
        source_override(0, 2, 0),
        source_override(9, 9, 0xd),
        vec![5, 12, 0, 0, 0, 0, 0xe0, 0xfe, 0, 0, 0, 0],
    ]);
    let mcfg = mcfg(&[(0xb000_0000, 0, 0, 255)]);
    let addresses = [fadt.build(), madt, hpet(0, 0xfed0_0000), mcfg].map(|table| machine.put(table));
    machine.root_by_xsdt(&addresses);
    machine
}

#[test]
fn a_machine_like_gce_is_read() {
    let tables = read(&gce());
    assert_eq!(tables.processors.as_slice(), [ApicId(0), ApicId(1)]);
    let io_apic = IoApicDescription { address: PhysicalAddress(0xfec0_0000), first_gsi: Gsi(0), id: 0 };
    assert_eq!(tables.io_apics.as_slice(), [io_apic]);
    assert_eq!(tables.nmi_inputs[..], [LocalInput::Lint1]);
    let irqs: Vec<u8> = tables.overrides.iter().map(|found| found.isa_irq).collect();
    assert_eq!(irqs, [5, 9, 10, 11]);
    assert!(
        tables
            .overrides
            .iter()
            .all(|found| { (found.polarity, found.trigger) == (Polarity::ActiveHigh, Trigger::Level) })
    );
    assert_eq!((tables.hpet, tables.ecam_regions.len(), tables.reset), (None, 0, None));
    let pm_timer = PmTimerDescription { port: 0xb008, width: PmTimerWidth::Bits24 };
    assert_eq!(tables.pm_timer, Some(pm_timer));
    let off = SoftOff { pm1a_control: 0xb004, pm1b_control: None, type_a: 5, type_b: 5 };
    assert_eq!(tables.soft_off, Some(off));
    assert_eq!(tables.sci, Some(Gsi(9)));
    assert_eq!(signatures(&tables), [*b"FACP", *b"SSDT", *b"APIC", *b"WAET", *b"SRAT"]);
    assert!(tables.inventory.iter().all(|table| table.length >= 36 && table.address.0 > 0));
}

#[test]
fn a_machine_like_q35_is_read() {
    let tables = read(&q35());
    assert_eq!(tables.processors.as_slice(), [ApicId(0), ApicId(1), ApicId(300)]);
    assert_eq!(tables.local_apic_address, Some(PhysicalAddress(0xfee0_0000)));
    assert_eq!(tables.hpet, Some(HpetDescription { address: PhysicalAddress(0xfed0_0000) }));
    let region = EcamRegion { base: PhysicalAddress(0xb000_0000), segment: 0, first_bus: 0, last_bus: 255 };
    assert_eq!(tables.ecam_regions.as_slice(), [region]);
    assert_eq!(tables.pm_timer.map(|timer| timer.width), Some(PmTimerWidth::Bits32));
    let reset = ResetRegister { location: RegisterLocation::Port(0xcf9), value: 0xf };
    assert_eq!(tables.reset, Some(reset));
    assert_eq!(tables.overrides.first().map(|found| (found.isa_irq, found.gsi)), Some((0, Gsi(2))));
    assert!(tables.soft_off.is_some());
}

#[test]
fn the_kernels_registers_and_ports_are_known() {
    let tables = read(&q35());
    let overlaps = |start, length| {
        tables.overlaps_kernel_registers(PhysicalRange::new(PhysicalAddress(start), length).unwrap())
    };
    assert!(overlaps(0xfec0_0fff, 1) && overlaps(0xfee0_0000, 1) && overlaps(0xfed0_0000, 4096));
    assert!(overlaps(0xbfff_ffff, 2) && !overlaps(0xc000_0000, 0x1000_0000));
    assert!(tables.overlaps_kernel_ports(0xcf0, 16) && tables.overlaps_kernel_ports(0x600, 64));
    assert!(!tables.overlaps_kernel_ports(0x3f8, 8) && !tables.overlaps_kernel_ports(0xc000, 64));
    assert!(tables.overlaps_kernel_ports(0, 0x1_0000) && !tables.overlaps_kernel_ports(0xffff, 1));
    assert!(tables.overlaps_kernel_ports(0xb0, 4) && !tables.overlaps_kernel_ports(0x60, 1));
}

#[test]
fn a_second_revision_root_pointer_whose_xsdt_is_broken_falls_back_to_the_rsdt() {
    let mut machine = Machine::default();
    let madt = machine.put(madt(&[local_apic(7, 1)]));
    let rsdt = machine.put(table(b"RSDT", 1, &(madt as u32).to_le_bytes()));
    machine.put_at(ROOT_POINTER, root_pointer_2(rsdt, 0xdead_0000));
    assert_eq!(read(&machine).processors.as_slice(), [ApicId(7)]);
}

#[test]
fn capacities_are_kept() {
    let mut entries: Vec<Vec<u8>> = (0..200).map(|id| local_apic(id, 1)).collect();
    entries.extend((0..20).map(|unit| io_apic(0xfec0_0000 + unit * 4096, unit * 24)));
    entries.extend((0..16).map(|irq| source_override(irq, u32::from(irq) + 16, 0)));
    let regions: Vec<_> =
        (0..40).map(|segment| (0x10_0000_0000 + (u64::from(segment) << 28), segment, 0, 255)).collect();
    let tables = read(&Machine::with_rsdt(&[madt(&entries), mcfg(&regions)]));
    assert_eq!(tables.processors.len(), MAXIMUM_PROCESSORS);
    assert_eq!(tables.io_apics.len(), MAXIMUM_IO_APICS);
    assert_eq!(tables.overrides.len(), 16);
    assert_eq!(tables.ecam_regions.len(), MAXIMUM_ECAM_REGIONS);
}
