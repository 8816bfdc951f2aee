//! The kernel's monotonic clock, read from the time stamp counter.

/// Nanoseconds since the kernel started its clock.
#[cfg(target_os = "none")]
pub(crate) fn nanoseconds() -> u64 {
    crate::runtime::runtime().clock.get().nanoseconds(time_stamp())
}

/// The time stamp counter.
pub(crate) fn time_stamp() -> u64 {
    // SAFETY: the instruction only reads a counter, and every x86-64 processor has it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// On the host, the clock of the test's kernel.
#[cfg(not(target_os = "none"))]
pub(crate) fn nanoseconds() -> u64 {
    crate::host::nanoseconds()
}
