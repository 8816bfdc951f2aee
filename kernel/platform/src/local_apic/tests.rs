use super::*;
use core::ptr::NonNull;

/// A page of memory in the place of the registers.
struct FakeApic {
    page: Box<[u32; 1024]>,
}

impl FakeApic {
    fn new() -> Self {
        Self { page: Box::new([0; 1024]) }
    }

    fn apic(&mut self) -> LocalApic {
        let base = NonNull::from(&mut *self.page).cast::<u8>();
        // SAFETY: the page outlives its use in the test, which reads it between the calls only.
        LocalApic { access: Access::Memory(unsafe { Registers::new(base, REGISTER_WINDOW) }) }
    }

    fn register(&self, offset: usize) -> u32 {
        // SAFETY: a plain read of the test's own memory, volatile because the value was written through a pointer.
        unsafe { (&raw const self.page[offset / 4]).read_volatile() }
    }
}

#[test]
fn commands_are_encoded_as_the_manual_says() {
    let vector = Vector(0xf0);
    assert_eq!(Command::fixed(ApicId(3), vector).for_xapic(), Some((0x0300_0000, 0x40f0)));
    assert_eq!(Command::fixed(ApicId(0x1_0003), vector).for_x2apic(), 0x0001_0003_0000_40f0);
    assert_eq!(Command::nmi_to_others().for_xapic(), Some((0, 0x000c_4400)));
    assert_eq!(Command::init(ApicId(1)).for_xapic(), Some((0x0100_0000, 0xc500)));
    assert_eq!(Command::init_deassert(ApicId(1)).for_xapic(), Some((0x0100_0000, 0x8500)));
    assert_eq!(Command::startup(ApicId(1), 8).for_xapic(), Some((0x0100_0000, 0x4608)));
}

#[test]
fn xapic_mode_refuses_wide_identifiers() {
    assert_eq!(Command::fixed(ApicId(0xff), Vector(32)).for_xapic(), None);
    assert_eq!(Command::fixed(ApicId(256), Vector(32)).for_xapic(), None);
    let mut fake = FakeApic::new();
    assert!(fake.apic().reaches(ApicId(254)) && !fake.apic().reaches(ApicId(255)));
    fake.apic().send_interrupt(ApicId(300), Vector(32));
    assert_eq!((fake.register(0x300), fake.register(0x310)), (0, 0));
}

#[test]
fn memory_mapped_registers_are_where_the_manual_says() {
    let mut fake = FakeApic::new();
    fake.page[0x20 / 4] = 0x0500_0000;
    let apic = fake.apic();
    assert_eq!(apic.mode(), Mode::XApic);
    assert_eq!(apic.id(), ApicId(5));
    apic.send_interrupt(ApicId(2), Vector(0x41));
    apic.set_up_timer(TimerMode::OneShot, Vector(0x20));
    apic.start_timer(1000);
    assert_eq!(fake.register(0x310), 0x0200_0000);
    assert_eq!(fake.register(0x300), 0x4041);
    assert_eq!(fake.register(0x320), 0x20);
    assert_eq!(fake.register(0x380), 1000);
    fake.apic().accept_nmi(crate::acpi::LocalInput::Lint1);
    assert_eq!(fake.register(0x360), 0x400);
}

#[test]
fn a_stuck_delivery_does_not_hang() {
    let mut fake = FakeApic::new();
    fake.page[0x300 / 4] = 1 << 12;
    fake.apic().send_interrupt(ApicId(2), Vector(0x41));
    assert_eq!(fake.register(0x300), 0x4041);
}
