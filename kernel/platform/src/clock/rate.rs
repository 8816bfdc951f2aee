//! Counting the time stamp counter and the local APIC timer over a window of a reference clock.

use super::reference::ReferenceClock;
use super::{ClockRates, TscSource};
use crate::processor::PLAUSIBLE_TSC;

const FEMTOSECONDS: u128 = 1_000_000_000_000_000;
/// Length of one window. Two in a row that agree are one measurement.
const WINDOW_FEMTOSECONDS: u64 = 1_000_000_000_000;
/// Windows until the best agreement so far has to do.
const MAXIMUM_WINDOWS: usize = 8;
/// Two windows agree well when their rates differ by less than one part in so many, and what the clock's own ticks
/// blur. An emulator's first reads are slow, and a host that takes the processor away makes a window disagree.
const GOOD_AGREEMENT: u64 = 2000;
/// The least agreement that is believed.
const POOR_AGREEMENT: u64 = 200;
/// Polls without a change after which a clock counts as not ticking: several milliseconds even when a read is as
/// cheap as an instruction.
const MAXIMUM_STILL_POLLS: u32 = 20_000;
/// Polls in one window, and time stamps in one window: 50 milliseconds at 4 GHz.
const MAXIMUM_POLLS: u32 = 2_000_000;
const MAXIMUM_TIME_STAMPS: u64 = 200_000_000;
/// Reads at each end of a window, of which the quickest counts.
const READS: usize = 16;

/// Reads the two counters whose rates are wanted.
pub(super) struct Meter<T, L> {
    time_stamp: T,
    timer_count: L,
}

/// All counters at about one moment.
#[derive(Clone, Copy)]
struct Sample {
    reference: u64,
    time_stamp: u64,
    timer: u32,
    uncertainty: u64,
}

impl<T: FnMut() -> u64, L: FnMut() -> u32> Meter<T, L> {
    pub(super) fn new(time_stamp: T, timer_count: L) -> Self {
        Self { time_stamp, timer_count }
    }

    /// Both rates by a reference clock; `None` when it does not tick, or not evenly.
    pub(super) fn against(
        &mut self,
        clock: &mut impl ReferenceClock,
        source: TscSource,
    ) -> Option<ClockRates> {
        let mut start = self.sample(clock);
        let mut previous: Option<(Sample, u64)> = None;
        let mut best: Option<(u64, Sample, Sample)> = None;
        for _ in 0..MAXIMUM_WINDOWS {
            let end = self.window(clock, start)?;
            let rate = rate(clock, start, end)?;
            if let Some((first, before)) = previous {
                let difference = before.abs_diff(rate);
                if best.is_none_or(|(least, ..)| difference < least) {
                    best = Some((difference, first, end));
                }
                let blur = rate / (WINDOW_FEMTOSECONDS / (2 * clock.period()));
                if difference < rate / GOOD_AGREEMENT + blur {
                    break;
                }
            }
            previous = Some((start, rate));
            start = end;
        }
        let (difference, first, last) = best?;
        let tsc = rate(clock, first, last)?;
        if difference > tsc / POOR_AGREEMENT {
            log::error!("clock: {source}: windows disagree; not used");
            return None;
        }
        PLAUSIBLE_TSC.contains(&tsc).then(|| ClockRates {
            tsc,
            tsc_source: source,
            local_apic_timer: timer_rate(first, last, tsc),
        })
    }

    /// The rate of the local APIC timer when that of the time stamp counter is known.
    pub(super) fn timer_against_tsc(&mut self, tsc: u64) -> Option<u64> {
        let (start, timer) = ((self.time_stamp)(), (self.timer_count)());
        for _ in 0..MAXIMUM_POLLS {
            let time_stamp = (self.time_stamp)();
            let elapsed = time_stamp.wrapping_sub(start);
            if elapsed >= tsc / 1000 {
                let counts = (self.timer_count)().wrapping_sub(timer);
                return scale(u64::from(counts), tsc, elapsed);
            }
        }
        None
    }

    /// Waits until the window that began with `start` is over.
    fn window(&mut self, clock: &mut impl ReferenceClock, start: Sample) -> Option<Sample> {
        let ticks = WINDOW_FEMTOSECONDS / clock.period();
        let (mut last, mut still) = (start.reference, 0);
        for _ in 0..MAXIMUM_POLLS {
            let now = clock.read();
            if now.wrapping_sub(start.reference) & clock.mask() >= ticks {
                return Some(self.sample(clock));
            }
            still = if now == last { still + 1 } else { 0 };
            last = now;
            let elapsed = (self.time_stamp)().wrapping_sub(start.time_stamp);
            if still > MAXIMUM_STILL_POLLS || elapsed > MAXIMUM_TIME_STAMPS {
                break;
            }
        }
        None
    }

    /// Reads all counters a few times and keeps the reading between whose time stamps the least time passed: the others were
    /// held up by the host or by system management.
    fn sample(&mut self, clock: &mut impl ReferenceClock) -> Sample {
        let mut best: Option<Sample> = None;
        for _ in 0..READS {
            let before = (self.time_stamp)();
            let reference = clock.read();
            let timer = (self.timer_count)();
            let after = (self.time_stamp)();
            let uncertainty = after.wrapping_sub(before);
            let time_stamp = before.wrapping_add(uncertainty / 2);
            let sample = Sample { reference, time_stamp, timer, uncertainty };
            if best.is_none_or(|best| uncertainty < best.uncertainty) {
                best = Some(sample);
            }
        }
        // `READS` is not 0; the default only satisfies the type.
        best.unwrap_or(Sample { reference: 0, time_stamp: 0, timer: 0, uncertainty: 0 })
    }
}

/// Time stamps in a second between two samples.
fn rate(clock: &impl ReferenceClock, start: Sample, end: Sample) -> Option<u64> {
    let ticks = end.reference.wrapping_sub(start.reference) & clock.mask();
    let femtoseconds = u128::from(ticks) * u128::from(clock.period());
    let time_stamps = end.time_stamp.wrapping_sub(start.time_stamp);
    u64::try_from((u128::from(time_stamps) * FEMTOSECONDS).checked_div(femtoseconds)?).ok()
}

/// Counts of the timer in a second between two samples.
fn timer_rate(start: Sample, end: Sample, tsc: u64) -> Option<u64> {
    let counts = end.timer.wrapping_sub(start.timer);
    scale(u64::from(counts), tsc, end.time_stamp.wrapping_sub(start.time_stamp))
}

/// `counts` * `rate` / `elapsed`; `None` for none.
fn scale(counts: u64, rate: u64, elapsed: u64) -> Option<u64> {
    let scaled = (u128::from(counts) * u128::from(rate)).checked_div(u128::from(elapsed))?;
    u64::try_from(scaled).ok().filter(|&rate| rate != 0)
}
