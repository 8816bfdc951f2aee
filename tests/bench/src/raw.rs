//! System calls as they are, for measuring the kernel alone. See [`abi`].

use abi::{MessageInfo, Syscall};
use core::arch::asm;

/// What a receive returned.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// [`abi::Event`].
    pub event: u64,
    /// Counts of the message.
    pub info: MessageInfo,
    /// Handle to answer with.
    pub reply: u32,
}

/// Gives up a handle; of the null handle, the cheapest system call there is.
#[inline(always)]
pub fn close(handle: u32) -> u64 {
    let status;
    // SAFETY: changes no memory; the kernel keeps callee-saved registers.
    unsafe {
        asm!("syscall", inlateout("rax") Syscall::Close as u64 => status, in("rdi") u64::from(handle),
            clobber_abi("sysv64"), options(nostack));
    }
    status
}

/// Calls and waits for the answer. The message lies in the thread's buffer, which the runtime does not use meanwhile.
#[inline(always)]
pub fn call(target: u32, interface: u64, info: MessageInfo) -> (u64, MessageInfo) {
    let (status, answer);
    // SAFETY: changes only the thread's message buffer, which no reference covers.
    unsafe {
        asm!("syscall", inlateout("rax") Syscall::Call as u64 => status,
            inlateout("rdi") u64::from(target) => answer, inlateout("rsi") interface => _,
            inlateout("rdx") info.0 => _, clobber_abi("sysv64"), options(nostack));
    }
    (status, MessageInfo(answer))
}

/// Answers a call (or none, with handle 0) with the message in the thread's buffer, and waits for the next event.
#[inline(always)]
pub fn reply_receive(reply: u32, info: MessageInfo, endpoint: u32) -> Received {
    let (event, counts, next): (u64, u64, u64);
    // SAFETY: as for `call`.
    unsafe {
        asm!("syscall", inlateout("rax") Syscall::ReplyReceive as u64 => event,
            inlateout("rdi") u64::from(reply) => _, inlateout("rsi") 0_u64 => _,
            inlateout("rdx") info.0 => counts, inlateout("r8") u64::from(endpoint) => next,
            inlateout("r9") abi::NO_DEADLINE => _, clobber_abi("sysv64"), options(nostack));
    }
    // A handle is 32 bits.
    Received { event, info: MessageInfo(counts), reply: next as u32 }
}
