//! What happens when the kernel finds itself in the wrong: a full report on the serial port, and all processors stop.
//!
//! Nothing that a user, a device or the firmware does leads here; it is for bugs.

use crate::arch::context::Registers;
use crate::arch::traps::KernelFrame;
use crate::arch::{cpu, processors};
use crate::log_sink;
use crate::symbols;
use crate::unwind::Frame;
use core::fmt;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};
use x86_64::registers::control::{Cr2, Cr3};

/// All registers of code that was interrupted. The two kinds of frames have the same names for them.
macro_rules! print_registers {
    ($from:expr) => {{
        let r = $from;
        print(format_args!(
            "rax {:016x} rbx {:016x} rcx {:016x} rdx {:016x}\nrsi {:016x} rdi {:016x} rbp {:016x} rsp {:016x}\n",
            r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp, r.rsp
        ));
        print(format_args!(
            "r8  {:016x} r9  {:016x} r10 {:016x} r11 {:016x}\nr12 {:016x} r13 {:016x} r14 {:016x} r15 {:016x}\n",
            r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15
        ));
        print(format_args!("rip {:016x} flags {:x}\n", r.rip, r.rflags));
    }};
}

/// Most frames of a backtrace.
const MAXIMUM_FRAMES: usize = 32;

static PANICKING: AtomicBool = AtomicBool::new(false);

/// What ran when it happened.
#[derive(Clone, Copy)]
pub enum Interrupted<'a> {
    /// Kernel code, which called the panic.
    Caller(Frame),
    /// Kernel code, at an interrupt or exception.
    Kernel(&'a KernelFrame),
    /// User code.
    User(&'a Registers),
}

#[panic_handler]
fn on_panic(info: &PanicInfo<'_>) -> ! {
    report(format_args!("{info}"), Interrupted::Caller(Frame::here()))
}

/// An exception in kernel code.
pub fn kernel_exception(name: &str, frame: &KernelFrame, address: u64) -> ! {
    let cause = format_args!(
        "{name} in the kernel at {:#x}, error {:#x}, address {address:#x}",
        frame.rip, frame.error
    );
    report(cause, Interrupted::Kernel(frame))
}

/// The processor reports broken hardware.
pub fn machine_check(interrupted: Interrupted<'_>) -> ! {
    report(format_args!("machine check"), interrupted)
}

/// A non-maskable interrupt that no processor sent: the hardware, or a person who wants to see what a machine that hangs
/// is doing. Clouds call it a diagnostic interrupt.
pub fn diagnostic_interrupt(interrupted: Interrupted<'_>) -> ! {
    report(format_args!("diagnostic interrupt (NMI)"), interrupted)
}

/// A state that cannot be.
pub fn corrupt(what: &str) -> ! {
    report(format_args!("{what}"), Interrupted::Caller(Frame::here()))
}

fn report(cause: fmt::Arguments<'_>, interrupted: Interrupted<'_>) -> ! {
    if PANICKING.swap(true, Ordering::SeqCst) {
        // A second panic, here or on another processor: the first one is reporting.
        processors::stop_for_another();
    }
    let running = processors::stop_others();
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
    match interrupted {
        Interrupted::Caller(frame) => {
            let [rbx, rbp, r12, r13, r14, r15] = frame.kept();
            print(format_args!(
                "rbx {rbx:016x} rbp {rbp:016x} rsp {:016x} rip {:016x}\nr12 {r12:016x} r13 {r13:016x} r14 {r14:016x} r15 {r15:016x}\n",
                frame.stack(),
                frame.instruction(),
            ));
        }
        Interrupted::Kernel(frame) => print_registers!(frame),
        Interrupted::User(registers) => print_registers!(registers),
    }
    print(format_args!(
        "cr2 {:016x} cr3 {:016x}\n",
        Cr2::read_raw(),
        Cr3::read_raw().0.start_address().as_u64()
    ));
    match interrupted {
        Interrupted::Caller(frame) => backtrace(frame),
        Interrupted::Kernel(frame) => backtrace(Frame::new(
            frame.rip,
            frame.rsp,
            frame.rbx,
            frame.rbp,
            [frame.r12, frame.r13, frame.r14, frame.r15],
        )),
        Interrupted::User(registers) => print(format_args!("  {:#x} in user code\n", registers.rip)),
    }
    match running {
        0 => print(format_args!("all processors stopped\n")),
        _ => print(format_args!("{running} processors did not stop\n")),
    }
    processors::stop_here()
}

fn print(text: fmt::Arguments<'_>) {
    // SAFETY: only `report` calls this, after all other processors have been stopped.
    unsafe { log_sink::write_in_panic(text) };
}

/// The functions that called each other, the last one first.
fn backtrace(mut frame: Frame) {
    let mut within = frame.instruction();
    for _ in 0..MAXIMUM_FRAMES {
        match symbols::find(within) {
            Some((name, offset)) => {
                // The offset of the return address, as debuggers show it.
                let offset = offset + (frame.instruction() - within);
                print(format_args!("  {:#x} {name} + {offset:#x}\n", frame.instruction()));
            }
            None => print(format_args!("  {:#x}\n", frame.instruction())),
        }
        match frame.caller(within) {
            Some(caller) => frame = caller,
            None => return,
        }
        // A call may be its function's last instruction: what it returns to then belongs to the next one.
        within = frame.instruction().wrapping_sub(1);
    }
}
