//! The saved user state of a thread.

use super::fpu::FpuState;

/// How the thread entered the kernel, and so how it goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
#[allow(dead_code, reason = "the entry code writes the values")]
pub enum Entered {
    /// By `syscall`: only callee-saved registers are kept, and it goes back with [`Results`].
    Syscall = 0,
    /// By an interrupt or exception: every register is kept.
    Trap = 1,
}

/// Integer registers. The entry code addresses the fields by their offsets.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[allow(missing_docs, reason = "the registers' names say all")]
pub struct Registers {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub rsp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub rip: u64,
    pub rflags: u64,
    pub entered: Entered,
}

/// What system calls return in registers.
///
/// `rax` and `rdi` are those of the last system call. The others belong to the last one that received a call, and nothing
/// else writes them: so they also tell, when the thread has ended, which call that was (`process/evidence.rs`).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Results {
    /// The status or event.
    pub rax: u64,
    /// What an event, an answer or a port brings.
    pub rdi: u64,
    /// Interface id of the call that was received last, 0 before the first.
    pub rsi: u64,
    /// Its method and counts.
    pub rdx: u64,
    /// Handle of the right to answer it.
    pub r8: u64,
}

/// All user state of one thread. It is written by the processor that runs the thread, and by whoever
/// has claimed the thread while it waits.
#[repr(C, align(64))]
pub struct Context {
    /// Integer registers.
    pub registers: Registers,
    /// Results of system calls.
    pub results: Results,
    /// x87, SSE and AVX registers.
    pub fpu: FpuState,
}

/// Interrupts on; bit 1 is always set.
const INITIAL_RFLAGS: u64 = 0x202;

impl Context {
    /// The state of a thread that has not run: at `entry` with the first six arguments.
    pub fn new(entry: u64, stack_top: u64, arguments: [u64; 6]) -> Self {
        let [rdi, rsi, rdx, rcx, r8, r9] = arguments;
        Self {
            registers: Registers {
                rax: 0,
                rbx: 0,
                rcx,
                rdx,
                rsi,
                rdi,
                rbp: 0,
                rsp: stack_top,
                r8,
                r9,
                r10: 0,
                r11: 0,
                r12: 0,
                r13: 0,
                r14: 0,
                r15: 0,
                rip: entry,
                rflags: INITIAL_RFLAGS,
                entered: Entered::Trap,
            },
            results: Results { rax: 0, rdi: 0, rsi: 0, rdx: 0, r8: 0 },
            fpu: FpuState::new(),
        }
    }
}
