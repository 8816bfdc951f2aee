//! The rates of the time stamp counter and of the local APIC timer.
//!
//! What the hypervisor or the processor states is taken. Else both are counted over about two milliseconds of a clock whose rate is known: the HPET,
//! the ACPI power management timer, or channel 2 of the PIT; none of them needs an interrupt. A clock that does not tick, or whose windows
//! disagree, is passed over. Every wait is bounded in polls and in time stamps.

mod rate;
mod reference;
#[cfg(test)]
mod tests;

use core::arch::x86_64::{_mm_lfence, _rdtsc};
use core::fmt;
use core::time::Duration;

use crate::acpi::PlatformTables;
use crate::address::PhysicalMemory;
use crate::local_apic::LocalApic;
use crate::processor::{PLAUSIBLE_LOCAL_APIC_TIMER, ProcessorInfo, StatedBy};
use reference::{Hpet, IntervalTimer, PmTimer};

/// What is assumed of a time stamp counter when nothing can tell its rate.
const ASSUMED_TSC: u64 = 2_000_000_000;

/// The measured or stated rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockRates {
    /// Time stamps in a second.
    pub tsc: u64,
    /// Where the rate of the time stamp counter comes from.
    pub tsc_source: TscSource,
    /// Counts of the local APIC timer in a second, with the divider that [`LocalApic`] sets; `None` when the timer
    /// does not count.
    pub local_apic_timer: Option<u64>,
}

/// Where the rate of the time stamp counter comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TscSource {
    /// It was stated.
    Stated(StatedBy),
    /// Counted against the HPET.
    Hpet,
    /// Counted against the ACPI power management timer.
    PmTimer,
    /// Counted against channel 2 of the PIT.
    IntervalTimer,
    /// Nothing could tell: a guess.
    Assumed,
}

impl TscSource {
    /// The clock's name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stated(StatedBy::CrystalRatio) => "tsc (rate from cpuid 0x15)",
            Self::Stated(StatedBy::BaseFrequency) => "tsc (rate from cpuid 0x16)",
            Self::Stated(StatedBy::Hypervisor) => "tsc (rate from the hypervisor)",
            Self::Hpet => "tsc (calibrated against the HPET)",
            Self::PmTimer => "tsc (calibrated against the ACPI PM timer)",
            Self::IntervalTimer => "tsc (calibrated against the PIT)",
            Self::Assumed => "tsc (assumed rate)",
        }
    }
}

impl fmt::Display for TscSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Reads the time stamp counter, not before earlier instructions have finished.
#[inline]
pub fn time_stamp() -> u64 {
    // SAFETY: every x86_64 processor has both instructions; the kernel runs in ring 0, where CR4.TSD does not matter.
    unsafe {
        _mm_lfence();
        _rdtsc()
    }
}

/// Finds both rates. Uses the local APIC's timer, silently; leaves it stopped and masked.
///
/// # Safety
/// The processor runs in ring 0, [`LocalApic::enable`] was called on it, and nothing else uses its timer, the HPET or channel 2 of
/// the PIT.
pub unsafe fn measure(
    processor: &ProcessorInfo,
    tables: &PlatformTables,
    memory: &impl PhysicalMemory,
    local_apic: &LocalApic,
) -> ClockRates {
    local_apic.start_silent_timer(u32::MAX);
    let mut meter = rate::Meter::new(time_stamp, || u32::MAX - local_apic.timer_count());
    let mut rates = match processor.stated_tsc {
        Some((tsc, by)) => {
            let local_apic_timer = match processor.stated_local_apic_timer {
                Some(stated) => Some(stated),
                None => meter.timer_against_tsc(tsc),
            };
            ClockRates { tsc, tsc_source: TscSource::Stated(by), local_apic_timer }
        }
        None => calibrate(&mut meter, tables, memory),
    };
    local_apic.stop_timer();
    rates.local_apic_timer = rates.local_apic_timer.filter(|rate| PLAUSIBLE_LOCAL_APIC_TIMER.contains(rate));
    if rates.local_apic_timer.is_none() {
        log::error!("clock: the local APIC timer does not count");
    }
    rates
}

/// Tries the reference clocks, best first.
fn calibrate<T: FnMut() -> u64, L: FnMut() -> u32>(
    meter: &mut rate::Meter<T, L>,
    tables: &PlatformTables,
    memory: &impl PhysicalMemory,
) -> ClockRates {
    let hpet = tables.hpet.and_then(|description| Hpet::open(&description, memory));
    if let Some(rates) = hpet.and_then(|mut hpet| meter.against(&mut hpet, TscSource::Hpet)) {
        return rates;
    }
    let pm_timer = tables.pm_timer.map(|description| PmTimer::open(&description));
    if let Some(rates) = pm_timer.and_then(|mut timer| meter.against(&mut timer, TscSource::PmTimer)) {
        return rates;
    }
    if let Some(rates) = meter.against(&mut IntervalTimer::start(), TscSource::IntervalTimer) {
        return rates;
    }
    log::error!("clock: no reference clock ticks; assuming {} MHz", ASSUMED_TSC / 1_000_000);
    ClockRates {
        tsc: ASSUMED_TSC,
        tsc_source: TscSource::Assumed,
        local_apic_timer: meter.timer_against_tsc(ASSUMED_TSC),
    }
}

/// A point in time that a poll loop must not pass.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    start: u64,
    ticks: u64,
}

impl Deadline {
    /// So long from now.
    pub fn after(duration: Duration, rates: &ClockRates) -> Self {
        let ticks = duration.as_nanos().saturating_mul(u128::from(rates.tsc)) / 1_000_000_000;
        Self { start: time_stamp(), ticks: u64::try_from(ticks).unwrap_or(u64::MAX) }
    }

    /// Whether it is over.
    pub fn has_passed(&self) -> bool {
        time_stamp().wrapping_sub(self.start) >= self.ticks
    }
}

/// Waits, doing nothing.
pub fn wait(duration: Duration, rates: &ClockRates) {
    let deadline = Deadline::after(duration, rates);
    while !deadline.has_passed() {
        core::hint::spin_loop();
    }
}
