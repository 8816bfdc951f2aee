//! What the benchmark programs share: time stamps, and system calls without the runtime between.
//!
//! Under `qemu -icount shift=0` the time stamp counter counts instructions, so a difference of two stamps is a number of
//! instructions, as long as no processor idles meanwhile.
#![no_std]

pub mod raw;

/// The time stamp counter.
#[inline]
pub fn time_stamp() -> u64 {
    // SAFETY: reading the counter has no effect.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// The bytes of a mapping of sealed memory.
///
/// # Safety
///
/// The memory must be sealed, so that nobody can change it.
pub unsafe fn sealed_bytes(mapping: &rt::memory::Mapping) -> &[u8] {
    // SAFETY: the range is mapped as long as the mapping lives, and does not change by the caller's word.
    unsafe { core::slice::from_raw_parts(mapping.as_ptr().as_ptr(), mapping.len()) }
}

/// Tells QEMU's counting plugin (`tools/bench/count.c`) that this place was reached; elsewhere an instruction that does
/// nothing.
#[inline(always)]
pub fn mark<const ID: u8>() {
    // SAFETY: a long `nop` with an address that is not accessed.
    unsafe { core::arch::asm!(".byte 0x0f, 0x1f, 0x80, {id}, 0x50, 0xa9, 0x0c", id = const ID) }
}
