//! smoltcp's times and ours: both count from the kernel's start, smoltcp in signed microseconds.

use core::time::Duration;

use smoltcp::time::Instant;

/// The same moment for smoltcp; saturates after 292,000 years.
pub fn instant(time: Duration) -> Instant {
    Instant::from_micros(i64::try_from(time.as_micros()).unwrap_or(i64::MAX))
}

/// The same moment for us. smoltcp says "at once" by moments in the past, down to zero.
pub fn duration(instant: Instant) -> Duration {
    Duration::from_micros(u64::try_from(instant.total_micros()).unwrap_or(0))
}

/// A span of time for smoltcp.
pub fn span(duration: Duration) -> smoltcp::time::Duration {
    smoltcp::time::Duration::from_micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}
