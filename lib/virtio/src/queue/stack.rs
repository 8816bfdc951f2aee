//! Running one call on a larger stack than the process has.
//!
//! The crate builds a queue's tables, 16 bytes a descriptor, by value and moves them: twice 64 KiB of stack for the 4096
//! descriptors of a legacy network card on Google Compute Engine, where a process has 64 KiB in all. So that
//! call, and only for large queues, borrows its stack from the heap.

use alloc::vec::Vec;
use core::arch::asm;

/// Runs `f` on a stack of `bytes` bytes. There is no guard page below it: `bytes` must be what `f` needs at most,
/// with room to spare. A panic in `f` must not unwind out of it.
pub(super) fn on_stack_of<R, F: FnOnce() -> R>(bytes: usize, f: F) -> R {
    let mut stack: Vec<u128> = Vec::with_capacity(bytes.div_ceil(size_of::<u128>()));
    let mut call: Call<F, R> = Call { f: Some(f), result: None };
    let top = stack.spare_capacity_mut().as_mut_ptr_range().end;
    // SAFETY: `top` is the end, aligned to 16 as the ABI asks before a call, of memory that lives until the call
    // has returned and that nothing else uses. `r12` keeps the old stack pointer: a callee keeps `r12`. `enter` gets the `Call` that it
    // is instantiated for, and `clobber_abi` covers what else a call may change.
    unsafe {
        asm!(
            "xchg rsp, r12",
            "call {enter}",
            "mov rsp, r12",
            enter = in(reg) enter::<R, F> as extern "C" fn(*mut Call<F, R>),
            inout("r12") top => _,
            in("rdi") &raw mut call,
            clobber_abi("C"),
        );
    }
    match call.result {
        Some(result) => result,
        // `enter` always sets it.
        None => unreachable!(),
    }
}

struct Call<F, R> {
    f: Option<F>,
    result: Option<R>,
}

extern "C" fn enter<R, F: FnOnce() -> R>(call: *mut Call<F, R>) {
    // SAFETY: `on_stack_of` passes a pointer to its own `Call`, and waits.
    let call = unsafe { &mut *call };
    if let Some(f) = call.f.take() {
        call.result = Some(f());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_frames_fit_and_results_come_back() {
        // More than the 2 MiB of a test thread.
        const BYTES: usize = 3 << 20;
        let seed = std::hint::black_box(3u8);
        let sum = on_stack_of(8 * BYTES, || {
            let filled = std::hint::black_box([seed; BYTES]);
            filled.iter().map(|&byte| u64::from(byte)).sum::<u64>()
        });
        assert_eq!(sum, 3 * BYTES as u64);
    }
}
