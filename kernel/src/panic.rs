//! What happens when the kernel finds itself in the wrong: a full report on the serial port, and all processors stop.
//!
//! Nothing that a user, a device or the firmware does leads here; it is for bugs.

use crate::arch::traps::KernelFrame;
use crate::arch::{cpu, processors};
use crate::log_sink;
use crate::memory::kernel_space;
use crate::symbols;
use core::fmt;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

/// Most frames of a backtrace.
const MAXIMUM_FRAMES: usize = 32;

static PANICKING: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn on_panic(info: &PanicInfo<'_>) -> ! {
    let frame_pointer: u64;
    // SAFETY: reads a register.
    unsafe {
        core::arch::asm!("mov {}, rbp", out(reg) frame_pointer, options(nomem, nostack, preserves_flags))
    };
    report(format_args!("{info}"), None, frame_pointer)
}

/// An exception in kernel code.
pub fn kernel_exception(name: &str, frame: &KernelFrame, address: u64) -> ! {
    report(
        format_args!(
            "{name} in the kernel at {:#x}, error {:#x}, address {address:#x}",
            frame.rip, frame.error
        ),
        Some(frame),
        frame.rbp,
    )
}

/// The processor reports broken hardware.
pub fn machine_check() -> ! {
    report(format_args!("machine check"), None, 0)
}

/// A state that cannot be.
pub fn corrupt(what: &str) -> ! {
    report(format_args!("{what}"), None, 0)
}

fn report(cause: fmt::Arguments<'_>, frame: Option<&KernelFrame>, frame_pointer: u64) -> ! {
    if PANICKING.swap(true, Ordering::SeqCst) {
        // A second panic, here or on another processor: the first one is reporting.
        processors::stop_here();
    }
    processors::stop_others();
    let print = |text: fmt::Arguments<'_>| {
        // SAFETY: all other processors have been stopped.
        unsafe { log_sink::write_in_panic(text) };
    };
    print(format_args!("\ncapos kernel panic: {cause}\n"));
    if let Some(cpu) = cpu::try_current() {
        print(format_args!("processor {} (APIC id {})", cpu.index, cpu.apic_id));
        match cpu.thread() {
            Some(thread) => print(format_args!(
                ", process {} ({}), thread {}\n",
                thread.process.name(),
                thread.process.id,
                thread.id
            )),
            None => print(format_args!(", no thread\n")),
        }
    }
    if let Some(frame) = frame {
        print(format_args!(
            "rax {:016x} rbx {:016x} rcx {:016x} rdx {:016x}\nrsi {:016x} rdi {:016x} rbp {:016x} rsp {:016x}\n",
            frame.rax, frame.rbx, frame.rcx, frame.rdx, frame.rsi, frame.rdi, frame.rbp, frame.rsp
        ));
        print(format_args!(
            "r8  {:016x} r9  {:016x} r10 {:016x} r11 {:016x}\nr12 {:016x} r13 {:016x} r14 {:016x} r15 {:016x}\nrip {:016x} flags {:x} vector {}\n",
            frame.r8,
            frame.r9,
            frame.r10,
            frame.r11,
            frame.r12,
            frame.r13,
            frame.r14,
            frame.r15,
            frame.rip,
            frame.rflags,
            frame.vector
        ));
        print_frame(frame.rip);
    }
    backtrace(frame_pointer);
    print(format_args!("all processors stopped\n"));
    processors::stop_here()
}

/// Follows the frame pointers as long as they stay in kernel stacks and go upwards.
fn backtrace(mut frame_pointer: u64) {
    for _ in 0..MAXIMUM_FRAMES {
        if !kernel_space::is_stack(frame_pointer) || !frame_pointer.is_multiple_of(8) {
            return;
        }
        // SAFETY: the address lies in mapped kernel stack memory.
        let (next, address) = unsafe { *(frame_pointer as *const (u64, u64)) };
        if address == 0 {
            return;
        }
        print_frame(address);
        if next <= frame_pointer {
            return;
        }
        frame_pointer = next;
    }
}

fn print_frame(address: u64) {
    // SAFETY: all other processors have been stopped.
    unsafe {
        match symbols::find(address) {
            Some((name, offset)) => {
                log_sink::write_in_panic(format_args!("  {address:#x} {name} + {offset:#x}\n"));
            }
            None => log_sink::write_in_panic(format_args!("  {address:#x}\n")),
        }
    }
}
