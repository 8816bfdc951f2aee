use super::super::*;
use super::fake::*;

const DECODE: u16 = 0b11;

fn nic() -> FakeFunction {
    FakeFunction::new(0x1af4, 0x1000, 0x02_0000)
}

fn addresses(functions: &Functions) -> Vec<String> {
    functions.iter().map(|function| function.address.to_string()).collect()
}

#[test]
fn a_machine_without_pci_has_no_functions() {
    assert!(FakeSpace::default().enumerate().is_empty());
}

#[test]
fn all_functions_behind_all_bridges_are_found_in_order() {
    let mut space = FakeSpace::default();
    let mut multiple = nic();
    multiple.set(0x0e, &[0x80]);
    space
        .add(at(0, 0, 0), FakeFunction::new(0x8086, 0x29c0, 0x06_0000))
        .add(at(0, 1, 0), FakeFunction::bridge(1, 3))
        .add(at(0, 2, 0), FakeFunction::bridge(4, 4))
        .add(at(1, 31, 0), FakeFunction::bridge(2, 2))
        .add(at(2, 0, 0), multiple)
        .add(at(2, 0, 5), nic())
        .add(at(4, 0, 0), nic());
    let functions = space.enumerate();
    assert_eq!(
        addresses(&functions),
        [
            "0000:00:00.0",
            "0000:00:01.0",
            "0000:00:02.0",
            "0000:01:1f.0",
            "0000:02:00.0",
            "0000:02:00.5",
            "0000:04:00.0"
        ]
    );
    assert_eq!(functions[1].kind, FunctionKind::Bridge { secondary: 1, subordinate: 3 });
    let bridges: Vec<bool> = functions.iter().map(Function::is_bridge).collect();
    assert_eq!(bridges, [true, true, true, true, false, false, false]);
    assert_eq!((functions[4].vendor, functions[4].device, functions[4].class), (0x1af4, 0x1000, 0x02_0000));
    assert_eq!((functions[4].subsystem_vendor, functions[4].subsystem), (0x1234, 0x5678));
}

#[test]
fn a_function_of_a_device_that_claims_only_one_is_not_looked_for() {
    let mut space = FakeSpace::default();
    space.add(at(0, 3, 0), nic()).add(at(0, 3, 1), nic());
    assert_eq!(addresses(&space.enumerate()), ["0000:00:03.0"]);
}

#[test]
fn endpoints_are_silenced_and_bridges_forward() {
    let mut space = FakeSpace::default();
    space.add(at(0, 1, 0), FakeFunction::bridge(1, 1)).add(at(1, 0, 0), nic());
    space.enumerate();
    assert_eq!(space.get(at(0, 1, 0)).word(4) & 0b111, 0b111);
    assert_eq!(space.get(at(1, 0, 0)).word(4), 0x0403);
}

#[test]
fn bridges_in_circles_or_to_impossible_buses_are_not_followed() {
    for (secondary, subordinate) in [(0, 0), (0, 255), (1, 0), (5, 4), (1, 1)] {
        let mut space = FakeSpace::default();
        space
            .add(at(0, 1, 0), FakeFunction::bridge(1, 2))
            .add(at(1, 0, 0), FakeFunction::bridge(secondary, subordinate))
            .add(at(0, 2, 0), FakeFunction::bridge(1, 9));
        let functions = space.enumerate();
        assert_eq!(functions.len(), 3, "{secondary} {subordinate}");
        assert_eq!(functions[2].kind, FunctionKind::Bridge { secondary: 0, subordinate: 0 });
    }
}

#[test]
fn a_bridge_cannot_reach_past_the_bridge_above_it() {
    let mut space = FakeSpace::default();
    space
        .add(at(0, 1, 0), FakeFunction::bridge(1, 2))
        .add(at(1, 0, 0), FakeFunction::bridge(2, 3))
        .add(at(2, 0, 0), nic());
    assert_eq!(space.enumerate().len(), 2);
}

#[test]
fn a_bus_where_every_address_answers_fills_the_table_and_no_more() {
    let mut space = FakeSpace::default();
    for device in 0..32 {
        for function in 0..8 {
            let mut found = FakeFunction::bridge(device + 1, 255);
            found.set(0x0e, &[0x81]);
            space.add(at(0, device, function), found);
        }
    }
    for bus in 1..=32 {
        space.add(at(bus, 0, 0), nic());
    }
    assert_eq!(space.enumerate().len(), MAXIMUM_FUNCTIONS);
}

#[test]
fn a_function_with_an_unknown_header_keeps_only_its_identity() {
    let mut space = FakeSpace::default();
    let mut strange = nic().with_bar(0, 0, 0xc000_0000, 4096);
    strange.set(0x0e, &[0x7f]);
    space.add(at(0, 1, 0), strange);
    let functions = space.enumerate();
    assert_eq!(functions[0].kind, FunctionKind::Unknown);
    assert_eq!(functions[0].bars, [Bar::NONE; 6]);
}

#[test]
fn bars_are_sized_while_the_function_does_not_answer_at_them() {
    let mut space = FakeSpace::default();
    let function = nic()
        .with_bar(0, 1, 0xc040, 64)
        .with_bar(1, 0, 0xfebc_1000, 4096)
        .with_bar(2, 0b1100, 0x8_0000_0000, 1 << 33)
        .with_bar(5, 0b1000, 0xd000_0000, 1 << 20);
    let before = function.bytes[0x10..0x28].to_vec();
    space.add(at(0, 3, 0), function);
    let functions = space.enumerate();
    let bar = |kind, prefetch, address, size| Bar { kind, state: BarState::Usable, prefetch, address, size };
    assert_eq!(
        functions[0].bars,
        [
            bar(BarKind::Io, Prefetch::Forbidden, 0xc040, 64),
            bar(BarKind::Memory32, Prefetch::Forbidden, 0xfebc_1000, 4096),
            bar(BarKind::Memory64, Prefetch::Allowed, 0x8_0000_0000, 1 << 33),
            Bar::NONE,
            Bar::NONE,
            bar(BarKind::Memory32, Prefetch::Allowed, 0xd000_0000, 1 << 20),
        ]
    );
    assert_eq!(space.get(at(0, 3, 0)).bytes[0x10..0x28], before);
    assert_eq!(space.commands[0].1 & DECODE, 0);
    assert_eq!(space.commands[1].1 & DECODE, DECODE);
}

#[test]
fn bars_that_could_do_harm_are_refused() {
    let fault = |flags, address, size| {
        let mut space = FakeSpace::default();
        space.add(at(0, 3, 0), nic().with_bar(0, flags, address, size));
        space.enumerate()[0].bars[0].state
    };
    let refused = BarState::Refused;
    assert_eq!(fault(0, 0x10_0000, 4096), refused(BarFault::OverlapsMemory));
    assert_eq!(fault(0, 0x7ff_0000, 0x1_0000), refused(BarFault::OverlapsMemory));
    assert_eq!(fault(0, 0xfee0_0000, 4096), refused(BarFault::OverlapsKernel));
    assert_eq!(fault(0b100, 0xffff_ff00_0000_0000, 1 << 30), refused(BarFault::ImpossibleAddress));
    assert_eq!(fault(0b100, 1 << 52, 1 << 30), refused(BarFault::ImpossibleAddress));
    assert_eq!(fault(0b110, 0xc000_0000, 4096), refused(BarFault::ImpossibleType));
    assert_eq!(fault(1, 0xcf8, 8), refused(BarFault::OverlapsKernel));
    assert_eq!(fault(1, 0x20, 4), refused(BarFault::OverlapsKernel));
    assert_eq!(fault(1, 0x1_0000, 64), refused(BarFault::ImpossibleAddress));
    assert_eq!(fault(0, 0, 4096), BarState::Unassigned);
    assert_eq!(fault(0, 0xc000_0000, 4096), BarState::Usable);
}

#[test]
fn a_bar_whose_settable_bits_have_a_gap_is_refused() {
    let mut space = FakeSpace::default();
    let mut function = nic().with_bar(0, 0, 0xc000_0000, 4096);
    function.writable[0x12] = 0xf7;
    space.add(at(0, 3, 0), function);
    assert_eq!(space.enumerate()[0].bars[0].state, BarState::Refused(BarFault::ImpossibleSize));
}

#[test]
fn a_64_bit_bar_without_an_upper_half_is_refused() {
    let mut space = FakeSpace::default();
    let mut function = nic().with_bar(5, 0, 0xc000_0000, 4096);
    function.bytes[0x24] |= 0b100;
    space.add(at(0, 3, 0), function);
    assert_eq!(space.enumerate()[0].bars[5].state, BarState::Refused(BarFault::ImpossibleType));
}

#[test]
fn ports_whose_upper_half_is_not_implemented_are_sized() {
    let mut space = FakeSpace::default();
    let mut function = nic().with_bar(0, 1, 0xc000, 32);
    function.writable[0x12..0x14].fill(0);
    space.add(at(0, 3, 0), function);
    assert_eq!(space.enumerate()[0].bars[0].ports(), Some((0xc000, 32)));
}

#[test]
fn the_second_of_two_overlapping_bars_is_refused() {
    let mut space = FakeSpace::default();
    let first = nic().with_bar(0, 0, 0xc000_0000, 0x2000).with_bar(1, 0, 0xc000_1000, 0x1000);
    let second = nic().with_bar(0, 0, 0xc000_0000, 0x1000).with_bar(1, 1, 0xc000, 32);
    space.add(at(0, 3, 0), first).add(at(0, 4, 0), second);
    let functions = space.enumerate();
    let overlap = BarState::Refused(BarFault::OverlapsFunction(at(0, 3, 0)));
    assert_eq!(functions[0].bars[0].state, BarState::Usable);
    assert_eq!(functions[0].bars[1].state, overlap);
    assert_eq!(functions[1].bars[0].state, overlap);
    assert_eq!(functions[1].bars[1].state, BarState::Usable);
}

#[test]
fn behind_a_bridge_only_what_it_forwards_is_usable() {
    let mut space = FakeSpace::default();
    let function = nic()
        .with_bar(0, 0, 0xc000_0000, 4096)
        .with_bar(1, 0, 0xd000_0000, 4096)
        .with_bar(2, 1, 0xc100, 32)
        .with_bar(3, 1, 0xd000, 32)
        .with_bar(4, 0, 0, 4096);
    space.add(at(0, 1, 0), FakeFunction::bridge(1, 1)).add(at(1, 0, 0), function);
    let states = space.enumerate()[1].bars.map(|bar| bar.state);
    let outside = BarState::Refused(BarFault::OutsideWindow);
    use BarState::{Absent, Unassigned, Usable};
    assert_eq!(states, [Usable, outside, Usable, outside, Unassigned, Absent]);
}
