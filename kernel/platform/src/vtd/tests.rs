//! Units, tables and scopes over a fake memory.

use super::capability::{Caching, Interrupts, ProtectedMemory};
use super::invalidation::Invalidation;
use super::*;
use crate::acpi::{DmaRemapping, PathStep, Scope, ScopeKind, Trigger, UnitDescription, UnitScope};
use crate::address::{ApicId, PhysicalAddress, PhysicalMemory, PhysicalRange, Vector};
use crate::pci::{Function, FunctionKind, InterruptMessage, PciAddress};
use core::cell::Cell;
use core::ptr::NonNull;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Tables at addresses that count up, and how many there may be.
#[derive(Clone, Debug, Default)]
struct Memory {
    words: Rc<std::cell::RefCell<BTreeMap<u64, Vec<u64>>>>,
    room: Rc<Cell<usize>>,
    next: Rc<Cell<u64>>,
}

impl Memory {
    fn with_room(room: usize) -> Self {
        let memory = Self::default();
        memory.room.set(room);
        memory
    }

    fn count(&self) -> usize {
        self.words.borrow().len()
    }

    /// Walks second-level tables as a unit does.
    fn walk(&self, top: Table, levels: u32, address: u64) -> Option<u64> {
        let mut table = top.address().0;
        for level in (1..=levels).rev() {
            let index = (address >> (12 + 9 * (level - 1)) & 511) as usize;
            let entry = self.words.borrow()[&table][index];
            if entry & 3 != 3 {
                return None;
            }
            table = entry & !0xfff;
        }
        Some(table | address & 0xfff)
    }
}

impl TableMemory for Memory {
    fn allocate(&mut self) -> Option<Table> {
        if self.count() == self.room.get() {
            return None;
        }
        self.next.set(self.next.get() + 0x1000);
        self.words.borrow_mut().insert(self.next.get(), vec![0; ENTRIES]);
        // SAFETY: nothing follows the address but this type.
        Some(unsafe { Table::new(PhysicalAddress(self.next.get())) })
    }

    fn release(&mut self, table: Table) {
        assert!(self.words.borrow_mut().remove(&table.address().0).is_some(), "released twice");
    }

    fn read(&self, table: Table, index: usize) -> u64 {
        self.words.borrow()[&table.address().0][index]
    }

    fn write(&mut self, table: Table, index: usize, value: u64) {
        self.words.borrow_mut().get_mut(&table.address().0).expect("a table in use")[index] = value;
    }
}

/// The registers as QEMU 7.2 shows them with 39 bits of address.
const QEMU_CAPABILITY: u64 = 6 | 0b00010 << 8 | 38 << 16 | 0x22 << 24 | 0b11 << 34 | 1 << 39 | 0x12 << 48;
const QEMU_EXTENDED: u64 = 1 << 1 | 1 << 3 | 0xf << 8;

fn capability() -> Capability {
    Capability::decode(QEMU_CAPABILITY, QEMU_EXTENDED, 4096).expect("a good unit")
}

#[test]
fn capabilities_are_decoded() {
    let found = capability();
    assert_eq!((found.levels, found.address_bits, found.domains), (Levels::Three, 39, 1 << 16));
    assert_eq!((found.fault_offset, found.caching), (0x220, Caching::OnlyPresent));
    assert_eq!((found.interrupts, found.protected_memory), (Interrupts::Remapped, ProtectedMemory::Absent));
    let decode = |capability, extended| Capability::decode(capability, extended, 4096);
    let refused = |capability, extended| decode(capability, extended).expect_err("refused");
    assert_eq!(refused(u64::MAX, u64::MAX), Refusal::Absent);
    assert_eq!(refused(0, 0), Refusal::Absent);
    assert_eq!(refused(QEMU_CAPABILITY | 1 << 4, QEMU_EXTENDED), Refusal::WriteBuffers);
    assert_eq!(refused(QEMU_CAPABILITY & !(0x1f << 8), QEMU_EXTENDED), Refusal::Levels);
    assert_eq!(refused(QEMU_CAPABILITY, QEMU_EXTENDED & !2), Refusal::NoQueue);
    assert_eq!(refused(QEMU_CAPABILITY | 0x3ff << 24, QEMU_EXTENDED), Refusal::FaultRegisters);
    let four = decode(QEMU_CAPABILITY & !(0x1f << 8) | 0b100 << 8, QEMU_EXTENDED).expect("four levels");
    assert_eq!(four.levels, Levels::Four);
    assert_eq!(four.address_bits, 39, "no more than the unit's own width");
}

#[test]
fn a_domain_reaches_its_pages_and_no_others() {
    for (levels, count) in [(Levels::Three, 3), (Levels::Four, 4)] {
        let memory = Memory::with_room(64);
        let capability = Capability { levels, ..capability() };
        let mut domain = Domain::new(memory.clone(), &capability, 7).expect("room");
        let (first, second) = (0x1234_5000, 0x8_8765_4000);
        assert_eq!(domain.map(PhysicalAddress(first), 3), Ok(BusAddress(first)));
        assert_eq!(domain.map(PhysicalAddress(second), 1024), Ok(BusAddress(second)));
        let walk = |address| memory.walk(domain.top(), count, address);
        for inside in [first, first + 0x2fff, second, second + 1023 * 4096] {
            assert_eq!(walk(inside), Some(inside), "{inside:#x}");
        }
        for outside in [0, first - 1, first + 0x3000, second - 1, second + 1024 * 4096, 1 << 38] {
            assert_eq!(walk(outside), None, "{outside:#x}");
        }
        drop(domain);
        assert_eq!(memory.count(), 0, "all tables came back");
    }
}

#[test]
fn a_domain_without_room_reaches_no_part_of_what_it_was_given() {
    let memory = Memory::with_room(3);
    let mut domain = Domain::new(memory.clone(), &capability(), 1).expect("room for the top");
    // 1024 pages from 1 MiB on need three lowest tables.
    assert_eq!(domain.map(PhysicalAddress(0x10_0000), 1024), Err(DomainError::OutOfMemory));
    assert_eq!(memory.walk(domain.top(), 3, 0x10_0000), None);
    assert_eq!(domain.map(PhysicalAddress(0x10_0000), 1), Ok(BusAddress(0x10_0000)));
    assert_eq!(memory.walk(domain.top(), 3, 0x10_0000), Some(0x10_0000));
    drop(domain);
    assert_eq!(memory.count(), 0);
    memory.room.set(0);
    assert_eq!(Domain::new(memory, &capability(), 1).map(|_| ()), Err(DomainError::OutOfMemory));
}

#[test]
fn what_the_unit_cannot_reach_is_refused() {
    let mut domain = Domain::new(Memory::with_room(64), &capability(), 1).expect("room");
    for (start, pages) in [(1 << 39, 1), ((1 << 39) - 4096, 2), (!0xfff, 1), (0, u32::MAX), (0x1800, 1)] {
        let error = DomainError::Unreachable(PhysicalAddress(start));
        assert_eq!(domain.map(PhysicalAddress(start), pages), Err(error), "{start:#x}");
    }
}

#[test]
fn faults_are_decoded() {
    assert_eq!(Fault::decode(0x5000, 0x18 | 5 << 32), None, "not valid");
    let write = Fault::decode(0xdead_b123, 1 << 63 | 5 << 32 | 0x0118).expect("valid");
    assert_eq!(write.kind, FaultKind::Memory(0xdead_b000, Access::Write));
    assert_eq!(write.to_string(), "01:03.0 wrote to 0xdeadb000 without the right (reason 0x5)");
    let read = Fault::decode(0x1000, 0b11 << 62 | 6 << 32).expect("valid");
    assert_eq!(read.kind, FaultKind::Memory(0x1000, Access::Read));
    let interrupt = Fault::decode(77 << 48, 1 << 63 | 0x22 << 32 | 0xf8).expect("valid");
    assert_eq!((interrupt.kind, interrupt.requester), (FaultKind::Interrupt(77), 0xf8));
    // Whatever a unit says can be printed.
    for bits in [0, u64::MAX, 0x0123_4567_89ab_cdef] {
        let _ = Fault::decode(bits, bits | 1 << 63).map(|fault| fault.to_string());
    }
}

#[test]
fn interrupt_entries_and_messages_have_the_right_bits() {
    let route = Route { destination: ApicId(3), vector: Vector(0x51), trigger: Trigger::Edge };
    let source = InterruptSource(0x0018);
    assert_eq!(interrupt_entry(source, route, Extended::Off), [0x0000_0300_0051_0001, 0x4_0018]);
    assert_eq!(interrupt_entry(source, route, Extended::On), [0x0000_0003_0051_0001, 0x4_0018]);
    let level = Route { trigger: Trigger::Level, ..route };
    assert_eq!(interrupt_entry(source, level, Extended::Off)[0] & 0x10, 0x10);
    assert_eq!(InterruptMessage::remapped(0x51).address(), 0xfee0_0a38);
    assert_eq!(InterruptMessage::remapped(0x8001).address(), 0xfee0_003c);
    assert_eq!(InterruptMessage::remapped(0x51).data(), 0);
}

#[test]
fn descriptors_have_the_right_bits() {
    assert_eq!(Invalidation::Contexts.descriptor(0), [0x11, 0]);
    assert_eq!(Invalidation::ContextsOf(0x1234).descriptor(0xc0), [0x1234_0021, 0]);
    assert_eq!(Invalidation::Translations.descriptor(0xc0), [0xd2, 0]);
    assert_eq!(Invalidation::TranslationsOf(9).descriptor(0), [0x9_0022, 0]);
    assert_eq!(Invalidation::Interrupts.descriptor(0), [4, 0]);
    assert_eq!(Invalidation::Interrupt(0x51).descriptor(0), [0x51_0000_0014, 0]);
    assert_eq!(invalidation::wait(2, 0x7000), [0x2_0000_0065, 0x7000]);
}

/// Registers that never change by themselves: a unit that does not answer.
struct Silent(Box<[Cell<u64>; 512]>);

impl PhysicalMemory for Silent {
    fn ram(&self, _: PhysicalAddress, _: usize) -> Option<NonNull<u8>> {
        None
    }

    fn map_mmio(&self, _: PhysicalAddress, _: usize) -> Option<NonNull<u8>> {
        Some(NonNull::from(self.0.as_ref()).cast())
    }

    fn overlaps_ram(&self, _: PhysicalRange) -> bool {
        false
    }
}

fn silent() -> Silent {
    let registers = Silent(Box::new([const { Cell::new(0) }; 512]));
    registers.0[1].set(QEMU_CAPABILITY);
    registers.0[2].set(QEMU_EXTENDED);
    registers
}

fn open(registers: &Silent, memory: Memory) -> Result<Unit<Memory>, UnitError> {
    let description = unit(UnitScope::Rest, &[]);
    // SAFETY: the registers are the test's own memory, in cells.
    unsafe { Unit::open(&description, registers, memory, time) }
}

thread_local! {
    static TIME: Cell<u64> = const { Cell::new(0) };
}

fn time() -> u64 {
    TIME.set(TIME.get() + 1_000_000);
    TIME.get()
}

#[test]
fn a_unit_that_does_not_answer_is_given_up_in_time() {
    let registers = silent();
    let mut unit = open(&registers, Memory::with_room(64)).expect("it opens");
    let message = InterruptMessage::new(ApicId(0), Vector(50)).expect("a message");
    let before = TIME.get();
    assert_eq!(unit.enable(message), Err(UnitError::Timeout));
    assert!(TIME.get() - before < 200_000_000, "bounded");
    let before = TIME.get();
    let domain = Domain::new(Memory::with_room(64), &capability(), 1).expect("room");
    assert_eq!(unit.detach(0x18, &domain), Err(UnitError::Timeout), "memory stays out of use");
    assert!(TIME.get() - before < 10_000_000, "and at once from then on");
    assert_eq!(open(&registers, Memory::with_room(2)).map(|_| ()), Err(UnitError::OutOfMemory));
    registers.0[1].set(u64::MAX);
    let absent = UnitError::Refused(Refusal::Absent);
    assert_eq!(open(&registers, Memory::with_room(64)).map(|_| ()), Err(absent));
}

#[test]
fn context_entries_name_the_domain() {
    let registers = silent();
    let memory = Memory::with_room(64);
    let mut unit = open(&registers, memory.clone()).expect("it opens");
    let mut domain = Domain::new(memory.clone(), &capability(), 0x25).expect("room");
    domain.map(PhysicalAddress(0x5000), 1).expect("room");
    assert_eq!(unit.attach(0x0118, &domain), Ok(()));
    let words = memory.words.borrow();
    let root = words.values().next().expect("the root comes first");
    assert_eq!((root[0], root[3]), (0, 0), "no other bus");
    let context = &words[&(root[2] & !0xfff)];
    assert_eq!(root[2] & 0xfff, 1);
    assert_eq!(context[0x18 * 2], domain.top().address().0 | 1);
    assert_eq!(context[0x18 * 2 + 1], 0x2501, "domain and three levels");
    assert_eq!(context.iter().filter(|word| **word != 0).count(), 2, "no other function");
}

#[test]
fn recorded_faults_are_taken_and_their_room_given_back() {
    let registers = silent();
    let mut unit = open(&registers, Memory::with_room(64)).expect("it opens");
    registers.0[0x220 / 8].set(0xabc_d000);
    registers.0[0x220 / 8 + 1].set(1 << 63 | 5 << 32 | 0x10);
    registers.0[0x34 / 8].set(1 << 32);
    let mut seen = Vec::new();
    assert_eq!(unit.take_faults(|fault| seen.push(fault)), Completeness::SomeLost);
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].kind, FaultKind::Memory(0xabc_d000, Access::Write));
}

fn unit(scope: UnitScope, listed: &[Scope]) -> UnitDescription {
    let listed = listed.iter().cloned().collect();
    UnitDescription { segment: 0, address: PhysicalAddress(0xfed9_0000), scope, listed }
}

fn scope(kind: ScopeKind, bus: u8, path: &[(u8, u8)]) -> Scope {
    let path = path.iter().map(|&(device, function)| PathStep { device, function }).collect();
    Scope { kind, bus, path }
}

fn function(bus: u8, device: u8, kind: FunctionKind, express: Option<u16>) -> Function {
    Function {
        address: PciAddress::new(0, bus, device, 0).expect("an address"),
        vendor: 0x8086,
        device: 1,
        subsystem_vendor: 0,
        subsystem: 0,
        class: 0,
        revision: 0,
        kind,
        bars: [crate::pci::Bar::NONE; crate::pci::MAXIMUM_BARS],
        interrupt_pin: None,
        interrupt_line: 0,
        msi: None,
        msix: None,
        reset: None,
        power_management: None,
        express,
    }
}

/// A root bus with a device, a port to bus 1, and a conventional bridge to bus 2.
fn functions() -> Vec<Function> {
    let bridge = |secondary| FunctionKind::Bridge { secondary, subordinate: secondary };
    vec![
        function(0, 1, FunctionKind::Endpoint, None),
        function(0, 2, bridge(1), Some(0x40)),
        function(0, 3, bridge(2), None),
        function(1, 0, FunctionKind::Endpoint, Some(0x40)),
        function(2, 0, FunctionKind::Endpoint, None),
    ]
}

#[test]
fn functions_find_their_units() {
    let functions = functions();
    let mut remapping = DmaRemapping::none();
    let find = |remapping: &DmaRemapping, index: usize| coverage(remapping, &functions, &functions[index]);
    assert_eq!(find(&remapping, 0), Coverage::Direct);
    let listed =
        [scope(ScopeKind::Endpoint, 0, &[(2, 0), (0, 0)]), scope(ScopeKind::IoApic(5), 0xff, &[(0, 0)])];
    remapping.units.push(unit(UnitScope::Listed, &listed));
    assert_eq!(find(&remapping, 0), Coverage::Direct, "not listed, and nobody takes the rest");
    assert_eq!(find(&remapping, 3), Coverage::Unit(0), "by a path through a port");
    remapping.units.push(unit(UnitScope::Rest, &[]));
    assert_eq!(find(&remapping, 0), Coverage::Unit(1), "on the root bus, conventional or not");
    assert_eq!(find(&remapping, 3), Coverage::Unit(0), "listed comes first");
    assert_eq!(find(&remapping, 4), Coverage::Shared(1), "behind a conventional bridge");
    assert_eq!(io_apic_source(&remapping, &functions, 5), Some((0, 0xff00)));
    assert_eq!(io_apic_source(&remapping, &functions, 6), None);
    let hierarchy = [scope(ScopeKind::Hierarchy, 0, &[(2, 0)])];
    remapping.units[0] = unit(UnitScope::Listed, &hierarchy);
    assert_eq!(find(&remapping, 3), Coverage::Unit(0));
    assert_eq!(find(&remapping, 1), Coverage::Unit(0), "the bridge itself");
    let lost = [scope(ScopeKind::Endpoint, 0, &[(1, 0), (0, 0)])];
    remapping.units[0] = unit(UnitScope::Listed, &lost);
    assert_eq!(find(&remapping, 3), Coverage::Unit(1), "a path through what is no bridge leads nowhere");
}
