use super::super::*;
use super::fake::*;
use crate::address::{ApicId, Vector};
use crate::registers::Registers;
use core::ptr::NonNull;
use core::time::Duration;

fn nic() -> FakeFunction {
    FakeFunction::new(0x1af4, 0x1041, 0x02_0000).with_bar(1, 0, 0xfebc_0000, 0x1000)
}

fn msix(entries: u16, table: u32, pending: u32) -> Vec<u8> {
    let control = (entries - 1).to_le_bytes();
    [&[0x11, 0][..], &control, &table.to_le_bytes(), &pending.to_le_bytes()].concat()
}

fn single(function: FakeFunction) -> (FakeSpace, Function) {
    let mut space = FakeSpace::default();
    space.add(at(0, 3, 0), function);
    let found = space.enumerate()[0];
    (space, found)
}

#[test]
fn the_best_interrupt_kind_is_reported() {
    let mut line = nic();
    line.set(0x3c, &[11, 1]);
    assert_eq!(single(line.clone()).1.interrupts(), (InterruptKind::Line, 1));
    let msi = line.with_capability(0x50, &[5, 0, 0x84, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(single(msi.clone()).1.interrupts(), (InterruptKind::Msi, 4));
    let both = msi.with_capability(0x40, &msix(3, 1, 0x801));
    let function = single(both).1;
    assert_eq!(function.interrupts(), (InterruptKind::Msix, 3));
    let capability = function.msix.unwrap();
    assert_eq!(capability.table, BarRange { bar: 1, offset: 0, length: 48 });
    assert_eq!(capability.pending, BarRange { bar: 1, offset: 0x800, length: 8 });
    assert_eq!(single(nic()).1.interrupts(), (InterruptKind::None, 0));
}

#[test]
fn an_msix_table_that_is_not_inside_a_usable_bar_is_refused() {
    for (entries, table, pending) in [
        (257, 0x001, 0x001),     // table longer than the BAR
        (1, 0xff8 | 1, 0x001),   // table runs past the BAR
        (1, 0x001, 0x1000 | 1),  // pending bits past the BAR
        (1, 0x000, 0x001),       // BAR 0 is not there
        (1, 0x001, 0x006),       // BAR 6 never is
        (1, 0xffff_fff9, 0x001), // wraps
    ] {
        let function = single(nic().with_capability(0x40, &msix(entries, table, pending))).1;
        assert_eq!(function.msix, None, "{entries} {table:#x} {pending:#x}");
    }
    assert!(single(nic().with_capability(0x40, &msix(255, 1, 0xfe1))).1.msix.is_some());
}

#[test]
fn a_capability_list_that_runs_in_circles_or_out_of_bounds_ends() {
    let mut circle = nic().with_capability(0x50, &[9, 0]).with_capability(0x40, &[5, 0, 0, 0]);
    circle.bytes[0x51] = 0x40;
    let (mut space, found) = single(circle);
    assert!(found.msi.is_some());
    assert_eq!(find_capability(&mut space, found.address, 0x11, 0), None);
    for link in [0x01, 0x04, 0x3c, 0xff] {
        let mut wild = nic().with_capability(0x40, &[9, 0]);
        wild.bytes[0x41] = link;
        let (mut space, found) = single(wild);
        assert_eq!(find_capability(&mut space, found.address, 0x11, 0), None);
    }
}

#[test]
fn a_capability_that_runs_past_the_space_is_left_out() {
    for id in [1, 5, 0x10, 0x11, 0x13] {
        let mut function = nic().with_capability(0xfc, &[id, 0, 0xff, 0xff]);
        function.set(0x3c, &[11, 1]);
        let (mut space, found) = single(function);
        assert_eq!((found.interrupts(), found.reset, found.express), ((InterruptKind::Line, 1), None, None));
        found.silence(&mut space);
        found.unmask_msi(&mut space);
    }
    // A PCI Express capability whose second part does not fit has only the first.
    let capability = [&[0x10, 0, 2, 0][..], &(1u32 << 28).to_le_bytes(), &[0; 0x0c]].concat();
    let (mut space, found) = single(nic().with_capability(0xec, &capability));
    let mut reset = start_reset(&mut space, &found).unwrap();
    assert_eq!(drive(&mut reset, &mut space).0, ResetStep::Done);
}

#[test]
fn capabilities_are_found_one_after_the_other() {
    let function = nic()
        .with_capability(0x60, &[9, 0])
        .with_capability(0x50, &[5, 0, 0, 0])
        .with_capability(0x40, &[9, 0]);
    let (mut space, found) = single(function);
    let mut find = |start| find_capability(&mut space, found.address, 9, start).map(|found| found.offset);
    assert_eq!((find(0), find(0x40), find(0x60), find(0x44)), (Some(0x40), Some(0x60), None, None));
}

#[test]
fn messages_are_written_into_the_msi_capability() {
    let message = InterruptMessage::new(ApicId(3), Vector(0x52)).unwrap();
    // 64-bit address and masks; then 32-bit without masks.
    for (control, data, mask) in [(0x0180u16, 0x5c, Some(0x60)), (0x0000, 0x58, None)] {
        let bytes = [&[5, 0][..], &control.to_le_bytes(), &[0; 20]].concat();
        let mut function = nic().with_capability(0x50, &bytes);
        function.writable[0x52] = 0x71;
        function.writable[0x54..0x68].fill(0xff);
        function.set(0x58, &[0xff; 4]);
        let (mut space, found) = single(function);
        found.set_msi_message(&mut space, message);
        let read = |space: &FakeSpace, offset| space.get(found.address).word(offset);
        assert_eq!((read(&space, 0x54), read(&space, 0x56)), (0x3000, 0xfee0));
        assert_eq!(read(&space, data), 0x52);
        assert_eq!(read(&space, 0x52) & 1, 0);
        found.unmask_msi(&mut space);
        assert_eq!(read(&space, 0x52) & 1, 1);
        found.mask_msi(&mut space);
        match mask {
            Some(mask) => assert_eq!((read(&space, mask), read(&space, 0x52) & 1), (0xffff, 1)),
            None => assert_eq!(read(&space, 0x52) & 1, 0),
        }
    }
}

#[test]
fn processors_with_wide_identifiers_get_no_messages() {
    assert_eq!(InterruptMessage::new(ApicId(255), Vector(0x52)), None);
    assert_eq!(InterruptMessage::new(ApicId(0x100), Vector(0x52)), None);
}

#[test]
fn the_msix_table_is_written_entry_by_entry() {
    let mut memory = [0u32; 12];
    let base = NonNull::new(memory.as_mut_ptr().cast::<u8>()).unwrap();
    // SAFETY: the array outlives the table and is not used while it is.
    let table = MsixTable::new(unsafe { Registers::new(base, 48) }, 2048);
    assert_eq!(table.entries(), 3);
    table.mask_all();
    table.set(1, InterruptMessage::new(ApicId(1), Vector(0x41)).unwrap());
    table.unmask(1);
    table.set(3, InterruptMessage::new(ApicId(1), Vector(0x42)).unwrap());
    table.unmask(u16::MAX);
    assert_eq!(memory, [0, 0, 0, 1, 0xfee0_1000, 0, 0x41, 0, 0, 0, 0, 1]);
}

#[test]
fn msix_is_switched_on_and_off_and_a_silenced_function_has_none() {
    let mut function = nic().with_capability(0x40, &msix(3, 1, 0x801));
    function.writable[0x43] = 0xc0;
    let (mut space, found) = single(function);
    found.set_msix(&mut space, Switch::On);
    assert_eq!(space.get(found.address).word(0x42), 0x8002);
    found.set_bus_master(&mut space, Switch::On);
    found.silence(&mut space);
    assert_eq!(space.get(found.address).word(0x42), 2);
    assert_eq!(space.get(found.address).word(4), 0x0403);
}

#[test]
fn only_sound_bars_are_answered_at() {
    let (mut space, found) = single(nic().with_bar(0, 1, 0xcf8, 8));
    found.enable_decoding(&mut space);
    assert_eq!(space.get(found.address).word(4) & 0b11, 0b10);
}

fn with_function_level_reset() -> FakeFunction {
    let abilities = (1u32 << 28).to_le_bytes();
    let capability = [&[0x10, 0, 2, 0][..], &abilities, &[0; 0x30]].concat();
    let mut function = nic().with_capability(0x40, &capability);
    function.writable[0x48..0x4a].fill(0xff);
    function.set(0x48, &[0x10, 0x28]);
    function.set(0x3c, &[11]);
    function
}

fn drive(reset: &mut Reset, space: &mut FakeSpace) -> (ResetStep, Duration) {
    let mut waited = Duration::ZERO;
    for _ in 0..1000 {
        match reset.advance(space) {
            ResetStep::Wait(time) => waited += time,
            end => return (end, waited),
        }
    }
    panic!("the reset does not end");
}

#[test]
fn a_function_level_reset_restores_what_it_destroyed() {
    let (mut space, found) = single(with_function_level_reset());
    assert_eq!(found.reset, Some(ResetCapability::Express(0x40)));
    let before = space.get(found.address).bytes;
    let mut reset = start_reset(&mut space, &found).unwrap();
    assert_eq!(reset.method(), ResetMethod::FunctionLevel);
    let (end, waited) = drive(&mut reset, &mut space);
    assert_eq!(end, ResetStep::Done);
    assert!(waited >= Duration::from_millis(100) && waited < Duration::from_millis(200));
    assert_eq!(space.get(found.address).bytes, before);
}

#[test]
fn a_function_that_stays_silent_after_its_reset_is_given_up() {
    let (mut space, found) = single(with_function_level_reset());
    let mut reset = start_reset(&mut space, &found).unwrap();
    assert_eq!(reset.advance(&mut space), ResetStep::Wait(Duration::from_millis(100)));
    space.functions.get_mut(&found.address).unwrap().silent_reads = u32::MAX;
    let (end, waited) = drive(&mut reset, &mut space);
    assert_eq!(end, ResetStep::Failed);
    assert!(waited <= Duration::from_millis(1500));
    assert_eq!(reset.advance(&mut space), ResetStep::Failed);
}

#[test]
fn another_function_in_the_same_place_is_not_taken_for_it() {
    let (mut space, found) = single(with_function_level_reset());
    let mut reset = start_reset(&mut space, &found).unwrap();
    reset.advance(&mut space);
    space.add(found.address, FakeFunction::new(0x8086, 0x1234, 0x02_0000));
    assert_eq!(drive(&mut reset, &mut space).0, ResetStep::Failed);
}

#[test]
fn pending_transactions_are_waited_for_but_not_for_ever() {
    let mut function = with_function_level_reset();
    function.bytes[0x4a] = 1 << 5;
    let (mut space, found) = single(function);
    let mut reset = start_reset(&mut space, &found).unwrap();
    let (end, waited) = drive(&mut reset, &mut space);
    assert_eq!(end, ResetStep::Done);
    assert!(waited >= Duration::from_millis(200) && waited < Duration::from_millis(400));
}

#[test]
fn a_power_state_reset_goes_through_d3() {
    let mut function = nic().with_capability(0x40, &[1, 0, 3, 0, 0, 0, 0, 0]);
    function.writable[0x44] = 0b11;
    let (mut space, found) = single(function);
    let mut reset = start_reset(&mut space, &found).unwrap();
    assert_eq!(reset.method(), ResetMethod::PowerState);
    assert_eq!(reset.advance(&mut space), ResetStep::Wait(Duration::from_millis(10)));
    assert_eq!(space.get(found.address).bytes[0x44], 3);
    assert_eq!(reset.advance(&mut space), ResetStep::Wait(Duration::from_millis(10)));
    assert_eq!(space.get(found.address).bytes[0x44], 0);
    assert_eq!(reset.advance(&mut space), ResetStep::Done);
}

#[test]
fn a_function_that_keeps_its_state_in_d3_offers_no_power_state_reset() {
    let (mut space, found) = single(nic().with_capability(0x40, &[1, 0, 3, 0, 8, 0, 0, 0]));
    assert_eq!(found.reset, None);
    found.set_bus_master(&mut space, Switch::On);
    assert!(start_reset(&mut space, &found).is_none());
    assert_eq!(space.get(found.address).word(4) & 0b100, 0);
}
