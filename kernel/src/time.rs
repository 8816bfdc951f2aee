//! Monotonic time: the time stamp counter, scaled to nanoseconds.

use abi::ClockPage;
use core::sync::atomic::{AtomicU64, Ordering};

static MULTIPLIER: AtomicU64 = AtomicU64::new(1 << SHIFT);
static BASE: AtomicU64 = AtomicU64::new(0);
static FREQUENCY: AtomicU64 = AtomicU64::new(1_000_000_000);

/// 32 bits of fraction: exact to 0.25 ppb at 1 GHz.
const SHIFT: u64 = 32;

/// Starts the clock at 0 now.
pub fn init(frequency: u64) {
    FREQUENCY.store(frequency, Ordering::Relaxed);
    MULTIPLIER
        .store(((1_000_000_000_u128 << SHIFT) / u128::from(frequency.max(1))) as u64, Ordering::Relaxed);
    BASE.store(ticks(), Ordering::Relaxed);
}

/// Ticks of the time stamp counter in a second.
pub fn frequency() -> u64 {
    FREQUENCY.load(Ordering::Relaxed)
}

/// The time stamp counter.
#[inline]
pub fn ticks() -> u64 {
    // SAFETY: reading the counter has no effect.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Nanoseconds since the clock was started.
#[inline]
pub fn now() -> u64 {
    ticks_to_nanoseconds(ticks().wrapping_sub(BASE.load(Ordering::Relaxed)))
}

/// A number of ticks in nanoseconds.
#[inline]
pub fn ticks_to_nanoseconds(ticks: u64) -> u64 {
    ((u128::from(ticks) * u128::from(MULTIPLIER.load(Ordering::Relaxed))) >> SHIFT) as u64
}

/// The time stamp at which a time comes; saturates.
pub fn time_stamp(nanoseconds: u64) -> u64 {
    let ticks = u128::from(nanoseconds) * u128::from(FREQUENCY.load(Ordering::Relaxed)) / 1_000_000_000;
    BASE.load(Ordering::Relaxed).saturating_add(u64::try_from(ticks).unwrap_or(u64::MAX))
}

/// How user code computes [`now`].
pub fn parameters() -> ClockPage {
    ClockPage {
        multiplier: MULTIPLIER.load(Ordering::Relaxed),
        shift: SHIFT,
        base: BASE.load(Ordering::Relaxed),
    }
}
