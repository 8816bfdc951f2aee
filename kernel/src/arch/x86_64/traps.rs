//! Interrupts and exceptions.
//!
//! | vectors | what |
//! |---|---|
//! | 0 to 31 | exceptions |
//! | 48 to 239 | devices ([`crate::interrupts`]) |
//! | 240 | something became ready for this processor |
//! | 241 | TLB shootdown |
//! | 242 | the local APIC's timer |
//! | 243 | somebody follows the log, and this processor wrote to it |
//! | 244 | an IOMMU refused something ([`crate::iommu`]) |
//! | 255 | spurious |

use super::context::Context;
use super::cpu::{self, Cpu};
use super::{processors, tlb};
use crate::object::process::Exit;
use crate::panic::Interrupted;
use crate::{interrupts, iommu, log_sink, panic, scheduler, timers};
use core::sync::atomic::Ordering;
use schema::process_capnp::ExitCause;
use x86_64::registers::control::Cr2;

/// Makes a processor look at its run queue.
pub const RESCHEDULE_VECTOR: u8 = 240;
/// Makes a processor flush its TLB.
pub const SHOOTDOWN_VECTOR: u8 = 241;
/// The local APIC's timer.
pub const TIMER_VECTOR: u8 = 242;
/// Makes a processor signal those who follow the log.
pub const LOG_VECTOR: u8 = 243;
/// What the local APIC reports when an interrupt has gone away.
pub const SPURIOUS_VECTOR: u8 = 255;
/// Vectors that devices can have.
pub const DEVICE_VECTORS: core::ops::RangeInclusive<u8> = 48..=239;

const NON_MASKABLE: u64 = 2;
const DOUBLE_FAULT: u64 = 8;
const PAGE_FAULT: u64 = 14;
const MACHINE_CHECK: u64 = 18;
const FIRST_INTERRUPT: u64 = 32;

/// Registers of kernel code that was interrupted, as the entry code pushed them.
#[derive(Debug)]
#[repr(C)]
#[allow(missing_docs, reason = "the registers' names say all")]
pub struct KernelFrame {
    pub rax: u64,
    pub rbx: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    pub rbp: u64,
    pub r8: u64,
    pub r9: u64,
    pub r10: u64,
    pub r11: u64,
    pub r12: u64,
    pub r13: u64,
    pub r14: u64,
    pub r15: u64,
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

/// A vector struck in user mode; its registers are in the thread's context.
pub(super) extern "C" fn from_user(vector: u64, error: u64) -> *mut Context {
    match vector {
        NON_MASKABLE | MACHINE_CHECK => {
            let Some(thread) = cpu::current().thread() else { panic::corrupt("user code without a thread") };
            // SAFETY: the thread runs here and is in the kernel.
            stop(vector, Interrupted::User(unsafe { &thread.context_mut().registers }))
        }
        0..FIRST_INTERRUPT => fault(cpu::current(), vector, error),
        _ => {
            let cpu = cpu::current();
            interrupt(cpu, vector as u8);
            scheduler::leave_interrupt(cpu)
        }
    }
}

/// A vector struck in the kernel: an interrupt of the idle loop, or a bug.
pub(super) extern "C" fn from_kernel(frame: &KernelFrame) {
    match frame.vector {
        NON_MASKABLE | MACHINE_CHECK => stop(frame.vector, Interrupted::Kernel(frame)),
        0..FIRST_INTERRUPT => {
            panic::kernel_exception(exception_name(frame.vector), frame, fault_address(frame.vector))
        }
        _ => interrupt(cpu::current(), frame.vector as u8),
    }
}

/// Another processor wants this one to stop, or the hardware has something to say.
fn stop(vector: u64, interrupted: Interrupted<'_>) -> ! {
    if processors::are_stopping() {
        processors::stop_for_another();
    }
    match vector {
        MACHINE_CHECK => panic::machine_check(interrupted),
        _ => panic::diagnostic_interrupt(interrupted),
    }
}

fn interrupt(cpu: &Cpu, vector: u8) {
    cpu.interrupts.fetch_add(1, Ordering::Relaxed);
    match vector {
        SPURIOUS_VECTOR => return, // Needs no end of interrupt.
        SHOOTDOWN_VECTOR => tlb::answer(),
        RESCHEDULE_VECTOR => cpu.reschedule.store(true, Ordering::Relaxed),
        TIMER_VECTOR => timers::expire(cpu),
        LOG_VECTOR => log_sink::signal_followers(),
        iommu::FAULT_VECTOR => iommu::event(),
        _ => interrupts::arrived(vector),
    }
    processors::end_of_interrupt();
}

fn fault_address(vector: u64) -> u64 {
    if vector == PAGE_FAULT { Cr2::read_raw() } else { 0 }
}

/// A user thread did something that it cannot: its process ends, with a report.
fn fault(cpu: &Cpu, vector: u64, error: u64) -> *mut Context {
    let address = fault_address(vector);
    let Some(thread) = cpu.thread() else { panic::corrupt("an exception in user mode without a thread") };
    let process = thread.process.clone();
    // SAFETY: the thread runs here and is in the kernel.
    let registers = unsafe { thread.context_mut().registers };
    log::error!(
        "process {} ({}) thread {}: {} (error {error:#x}) at {:#x}, address {address:#x}",
        process.name(),
        process.id,
        thread.id,
        exception_name(vector),
        registers.rip,
    );
    log::error!(
        "  rax {:x} rbx {:x} rcx {:x} rdx {:x} rsi {:x} rdi {:x} rbp {:x} rsp {:x}",
        registers.rax,
        registers.rbx,
        registers.rcx,
        registers.rdx,
        registers.rsi,
        registers.rdi,
        registers.rbp,
        registers.rsp,
    );
    log::error!(
        "  r8 {:x} r9 {:x} r10 {:x} r11 {:x} r12 {:x} r13 {:x} r14 {:x} r15 {:x} flags {:x}",
        registers.r8,
        registers.r9,
        registers.r10,
        registers.r11,
        registers.r12,
        registers.r13,
        registers.r14,
        registers.r15,
        registers.rflags,
    );
    process.end(Exit {
        cause: ExitCause::Fault,
        code: vector as i64,
        thread: thread.id,
        instruction: registers.rip,
        fault_address: address,
        error_code: error,
        stack: registers.rsp,
    });
    scheduler::end_current(cpu);
    drop(process);
    scheduler::run_next(cpu)
}

/// An exception's name in words. [Intel SDM 3, 6.3.1]
pub fn exception_name(vector: u64) -> &'static str {
    match vector {
        0 => "divide error",
        1 => "debug exception",
        3 => "breakpoint",
        4 => "overflow",
        5 => "bound range exceeded",
        6 => "invalid instruction",
        7 => "no floating point",
        DOUBLE_FAULT => "double fault",
        10 => "invalid task state",
        11 => "segment not present",
        12 => "stack segment fault",
        13 => "general protection fault",
        PAGE_FAULT => "page fault",
        16 => "floating-point error",
        17 => "misaligned access",
        MACHINE_CHECK => "machine check",
        19 => "SIMD floating-point error",
        21 => "control protection fault",
        _ => "exception",
    }
}
