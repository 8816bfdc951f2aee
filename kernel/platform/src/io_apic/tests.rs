use super::*;
use crate::address::{PhysicalAddress, PhysicalRange};
use core::cell::Cell;
use core::ptr::NonNull;

/// A window over plain memory, in which only the register last selected can be seen.
struct FakeMemory {
    window: Box<[Cell<u32>; 8]>,
}

impl PhysicalMemory for FakeMemory {
    fn ram(&self, _: PhysicalAddress, _: usize) -> Option<NonNull<u8>> {
        None
    }

    fn map_mmio(&self, physical: PhysicalAddress, _: usize) -> Option<NonNull<u8>> {
        (physical.0 == 0xfec0_0000).then(|| NonNull::from(self.window.as_ref()).cast())
    }

    fn overlaps_ram(&self, _: PhysicalRange) -> bool {
        false
    }
}

fn tables(overrides: &[InterruptOverride]) -> PlatformTables {
    let mut tables = PlatformTables::fallback();
    tables.overrides = overrides.iter().copied().collect();
    tables.io_apics.push(IoApicDescription {
        address: PhysicalAddress(0xfec0_0000),
        first_gsi: Gsi(0),
        id: 0,
    });
    tables.io_apics.push(IoApicDescription {
        address: PhysicalAddress(0xfed0_0000),
        first_gsi: Gsi(24),
        id: 1,
    });
    tables
}

fn open(memory: &FakeMemory, overrides: &[InterruptOverride]) -> IoApics {
    // SAFETY: the registers are the test's own memory, in cells.
    unsafe { IoApics::new(&tables(overrides), memory) }
}

fn fake() -> FakeMemory {
    let memory = FakeMemory { window: Box::default() };
    memory.window[4].set(0x0017_0011); // version register of a 24-pin unit
    memory
}

#[test]
fn lines_follow_the_overrides() {
    let memory = fake();
    let overrides = [
        InterruptOverride { isa_irq: 0, gsi: Gsi(2), polarity: Polarity::OfBus, trigger: Trigger::OfBus },
        InterruptOverride {
            isa_irq: 10,
            gsi: Gsi(10),
            polarity: Polarity::ActiveHigh,
            trigger: Trigger::Level,
        },
    ];
    let io_apics = open(&memory, &overrides);
    let isa = |gsi| Line { gsi: Gsi(gsi), polarity: Polarity::ActiveHigh, trigger: Trigger::Edge };
    assert_eq!(io_apics.isa_line(0), isa(2));
    assert_eq!(io_apics.isa_line(4), isa(4));
    let routed = Line { trigger: Trigger::Level, ..isa(10) };
    assert_eq!(io_apics.pci_line(10), Some(routed));
    let plain = Line { gsi: Gsi(11), polarity: Polarity::ActiveLow, trigger: Trigger::Level };
    assert_eq!(io_apics.pci_line(11), Some(plain));
    assert_eq!((io_apics.pci_line(0), io_apics.pci_line(0xff), io_apics.pci_line(24)), (None, None, None));
}

#[test]
fn a_machine_without_override_has_its_timer_on_pin_0() {
    let memory = fake();
    assert_eq!(open(&memory, &[]).isa_line(0).gsi, Gsi(0));
}

#[test]
fn what_cannot_be_set_is_refused() {
    let memory = fake();
    let mut io_apics = open(&memory, &[]);
    let line = io_apics.isa_line(4);
    assert_eq!(io_apics.set(line, Vector(0x30), ApicId(255)), Err(LineError::Unreachable(ApicId(255))));
    assert_eq!(io_apics.set(line, Vector(0x30), ApicId(4096)), Err(LineError::Unreachable(ApicId(4096))));
    assert_eq!(io_apics.mask(Gsi(24)), Err(LineError::NoSuchLine(Gsi(24))));
    assert_eq!(io_apics.unmask(Gsi(u32::MAX)), Err(LineError::NoSuchLine(Gsi(u32::MAX))));
}

#[test]
fn an_address_that_nothing_answers_is_left_out() {
    let memory = fake();
    memory.window[4].set(u32::MAX);
    let mut io_apics = open(&memory, &[]);
    assert_eq!(io_apics.mask(Gsi(0)), Err(LineError::NoSuchLine(Gsi(0))));
}
