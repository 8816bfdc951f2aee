use super::rate::Meter;
use super::reference::ReferenceClock;
use super::*;
use core::cell::Cell;

/// A machine whose only event is that time passes with every read.
struct FakeMachine {
    nanoseconds: Cell<u64>,
    nanoseconds_of_read: u64,
    tsc: u64,
    timer: u64,
}

impl FakeMachine {
    fn new() -> Self {
        Self { nanoseconds: Cell::new(77), nanoseconds_of_read: 40, tsc: 2_500_000_000, timer: 1_000_000_000 }
    }

    fn count(&self, rate: u64) -> u64 {
        self.nanoseconds.set(self.nanoseconds.get() + self.nanoseconds_of_read);
        (u128::from(self.nanoseconds.get()) * u128::from(rate) / 1_000_000_000) as u64
    }

    fn meter(&self) -> Meter<impl FnMut() -> u64, impl FnMut() -> u32> {
        Meter::new(|| self.count(self.tsc), || self.count(self.timer) as u32)
    }
}

/// A reference clock of a fake machine, with faults.
struct FakeClock<'a> {
    machine: &'a FakeMachine,
    period: u64,
    mask: u64,
    start: u64,
    fault: Fault,
    reads: u64,
}

#[derive(PartialEq)]
enum Fault {
    None,
    Stopped,
    AllOnes,
    Erratic,
    StopsAfter(u64),
}

impl ReferenceClock for FakeClock<'_> {
    fn read(&mut self) -> u64 {
        self.reads += 1;
        let femtoseconds = u128::from(self.machine.count(1_000_000_000)) * 1_000_000;
        let ticks = (femtoseconds / u128::from(self.period)) as u64;
        let value = match self.fault {
            Fault::None => self.start.wrapping_add(ticks),
            Fault::Stopped => self.start,
            Fault::AllOnes => u64::MAX,
            Fault::Erratic => self.reads.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20,
            Fault::StopsAfter(reads) if self.reads < reads => self.start.wrapping_add(ticks),
            Fault::StopsAfter(_) => self.start,
        };
        value & self.mask
    }

    fn mask(&self) -> u64 {
        self.mask
    }

    fn period(&self) -> u64 {
        self.period
    }
}

const PM_TIMER: (u64, u64) = (279_365_115, 0x00ff_ffff);
const HPET: (u64, u64) = (10_000_000, 0xffff_ffff);
const PIT: (u64, u64) = (838_095_345, 0xffff);

fn calibrate_with((period, mask): (u64, u64), start: u64, fault: Fault) -> Option<ClockRates> {
    let machine = FakeMachine::new();
    let mut clock = FakeClock { machine: &machine, period, mask, start, fault, reads: 0 };
    machine.meter().against(&mut clock, TscSource::PmTimer)
}

fn assert_close(actual: u64, expected: u64) {
    assert!(actual.abs_diff(expected) < expected / 500, "{actual} is not about {expected}");
}

#[test]
fn each_kind_of_clock_gives_both_rates() {
    for clock in [PM_TIMER, HPET, PIT] {
        let rates = calibrate_with(clock, 12, Fault::None).unwrap();
        assert_close(rates.tsc, 2_500_000_000);
        assert_close(rates.local_apic_timer.unwrap(), 1_000_000_000);
    }
}

#[test]
fn a_counter_that_wraps_in_the_window_is_measured_right() {
    for (period, mask) in [PM_TIMER, HPET, PIT] {
        let rates = calibrate_with((period, mask), mask - 300, Fault::None).unwrap();
        assert_close(rates.tsc, 2_500_000_000);
    }
}

#[test]
fn a_clock_that_does_not_tick_is_given_up() {
    assert_eq!(calibrate_with(PM_TIMER, 5, Fault::Stopped), None);
    assert_eq!(calibrate_with(HPET, 0, Fault::AllOnes), None);
    assert_eq!(calibrate_with(PIT, 0, Fault::StopsAfter(100)), None);
}

#[test]
fn a_clock_that_jumps_about_is_given_up() {
    assert_eq!(calibrate_with(HPET, 0, Fault::Erratic), None);
}

#[test]
fn an_implausible_rate_is_refused() {
    let machine = FakeMachine { tsc: 50_000_000, ..FakeMachine::new() };
    let (period, mask) = PM_TIMER;
    let mut clock = FakeClock { machine: &machine, period, mask, start: 0, fault: Fault::None, reads: 0 };
    assert_eq!(machine.meter().against(&mut clock, TscSource::PmTimer), None);
}

#[test]
fn the_timer_is_measured_against_a_known_counter() {
    let machine = FakeMachine::new();
    assert_close(machine.meter().timer_against_tsc(machine.tsc).unwrap(), machine.timer);
    let dead = FakeMachine { timer: 0, ..FakeMachine::new() };
    assert_eq!(dead.meter().timer_against_tsc(dead.tsc), None);
}

#[test]
fn a_time_stamp_counter_that_stands_still_ends_the_wait() {
    let mut meter = Meter::new(|| 5, || 7);
    assert_eq!(meter.timer_against_tsc(2_000_000_000), None);
}

#[test]
fn the_whole_calibration_takes_about_two_milliseconds() {
    let machine = FakeMachine::new();
    let before = machine.nanoseconds.get();
    let (period, mask) = HPET;
    let mut clock = FakeClock { machine: &machine, period, mask, start: 0, fault: Fault::None, reads: 0 };
    machine.meter().against(&mut clock, TscSource::Hpet).unwrap();
    assert!(machine.nanoseconds.get() - before < 2_100_000);
}

#[test]
fn a_deadline_passes() {
    let rates = ClockRates { tsc: 1, tsc_source: TscSource::Assumed, local_apic_timer: None };
    assert!(Deadline::after(Duration::ZERO, &rates).has_passed());
    assert!(!Deadline::after(Duration::MAX, &rates).has_passed());
}
