//! Start code: from the registers of the first instruction to the program's `main`.
use core::{future::Future, slice};

use abi::{ClockPage, FirstHandles};
use capnp::Error;

use crate::{
    Environment, FirstProcess, buffer::Buffer, clock, environment::StartInfo, executor, health, log,
    runtime::runtime, syscall,
};

/// Exit code of a program whose `main` returned an error.
const FAILED: i64 = 1;

/// Exit code after a panic.
#[cfg(target_os = "none")]
const PANICKED: i64 = 101;

/// Registers at the entry of the process's first thread.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Registers {
    /// `rdi`: handle of `OwnProcess`.
    own_process: u64,
    /// `rsi`: address of the `StartInfo` message, or of the boot package in the first process.
    message: u64,
    /// `rdx`: words of that message.
    words: u64,
    /// `rcx`: address of the thread's message buffer.
    buffer: u64,
    /// `r8`: address of the clock page (first process only).
    clock: u64,
    /// `r9`: first free address behind the image (first process only).
    image_end: u64,
}

/// The first instructions: puts the registers where the program's code can read them.
#[cfg(target_os = "none")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    core::arch::naked_asm!(
        // The end of the chain of frames.
        "xor ebp, ebp",
        "push r9",
        "push r8",
        "push rcx",
        "push rdx",
        "push rsi",
        "push rdi",
        "mov rdi, rsp",
        // Six words were pushed onto an aligned stack: it is aligned again, as a call needs it.
        "call capos_main",
        "ud2",
    )
}

/// Runs a program's `main`; what [`program!`](crate::program) expands to calls it.
pub fn run<F: Future<Output = Result<(), Error>> + 'static>(
    registers: &Registers,
    main: impl FnOnce(Environment) -> F,
) -> ! {
    let own_process = set_up(registers);
    // SAFETY: the supervisor mapped the message there for the life of the process, read-only.
    let segment = unsafe { message(registers) };
    let info = match StartInfo::read(segment, own_process) {
        Ok(info) => info,
        Err(error) => panic!("the start information is malformed: {error}"),
    };
    runtime().log_writer.set(info.log_writer);
    runtime().clock.set(info.clock);
    executor::spawn(health::attend(info.environment.clone()));
    finish(executor::block_on(main(info.environment)))
}

/// Runs the first process's `main`; what [`first_program!`](crate::first_program) expands to calls it.
pub fn run_first<F: Future<Output = Result<(), Error>> + 'static>(
    registers: &Registers,
    main: impl FnOnce(FirstProcess) -> F,
) -> ! {
    set_up(registers);
    // SAFETY: the kernel mapped both there for the life of the process, read-only.
    let (boot_package, clock_page) = unsafe { (message(registers), *(registers.clock as *const ClockPage)) };
    runtime().log_writer.set(FirstHandles::LogWriter as u32);
    runtime().clock.set(clock_page);
    finish(executor::block_on(main(FirstProcess::new(boot_package, clock_page))))
}

/// Sets up what everything else needs; the handle of `OwnProcess`.
fn set_up(registers: &Registers) -> u32 {
    // Handles are 32 bits wide.
    let own_process = registers.own_process as u32;
    runtime().own_process.set(own_process);
    // SAFETY: who started the thread mapped its message buffer there, for the life of the thread, which is that
    // of the process; this function runs once.
    runtime().buffer.set(unsafe { Buffer::at(registers.buffer) });
    log::install();
    own_process
}

/// The message that the process was started with.
///
/// # Safety
/// `message` and `words` of the registers are those of memory that stays mapped and unchanged.
unsafe fn message(registers: &Registers) -> &'static [u8] {
    let bytes = registers.words as usize * size_of::<u64>();
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(registers.message as *const u8, bytes) }
}

/// Ends the process as `main` ended.
fn finish(result: Result<(), Error>) -> ! {
    match result {
        Ok(()) => syscall::exit(0),
        Err(error) => {
            ::log::error!("{error}");
            syscall::exit(FAILED)
        }
    }
}

/// Writes where and why to the log, and ends the process.
#[cfg(target_os = "none")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    use core::sync::atomic::{AtomicBool, Ordering};

    static PANICKING: AtomicBool = AtomicBool::new(false);
    // A panic while a panic is written would never end. Relaxed: one thread.
    if !PANICKING.swap(true, Ordering::Relaxed) {
        match info.location() {
            Some(place) => {
                log::line(format_args!("panicked at {}:{}: {}", place.file(), place.line(), info.message()));
            }
            None => log::line(format_args!("panicked: {}", info.message())),
        }
    }
    syscall::exit(PANICKED)
}

/// A number that is hard to guess: from the processor's random number generator where it has one, else mixed
/// from time stamps. Not for keys.
pub fn random_u64() -> u64 {
    hardware_random().unwrap_or_else(mixed_time_stamps)
}

fn hardware_random() -> Option<u64> {
    const RDRAND: u32 = 1 << 30;
    /// [Intel SDM 1, 7.3.17.1]: ten tries without a number mean that the generator is broken.
    const TRIES: u32 = 10;
    if core::arch::x86_64::__cpuid(1).ecx & RDRAND == 0 {
        return None;
    }
    (0..TRIES).find_map(|_| rdrand())
}

fn rdrand() -> Option<u64> {
    let (number, valid): (u64, u8);
    // SAFETY: the caller checked that the processor has the instruction; it changes only these registers and flags.
    unsafe {
        core::arch::asm!("rdrand {}", "setc {}", out(reg) number, out(reg_byte) valid, options(nomem, nostack));
    }
    (valid != 0).then_some(number)
}

/// [SplitMix64], with the time stamp mixed into its state at each step.
///
/// [SplitMix64]: https://doi.org/10.1145/2714064.2660195
fn mixed_time_stamps() -> u64 {
    const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
    let state = runtime().random.get().wrapping_add(GAMMA) ^ clock::time_stamp().rotate_left(32);
    runtime().random.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Makes `async fn main(environment: rt::Environment) -> Result<(), capnp::Error>` the program.
///
/// The program's `main.rs` is `#![no_std] #![no_main]`, and its `[[bin]]` says `test = false`. Built for the host it
/// passes the compiler's checks and does nothing.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        $crate::entry!($main, run);
    };
}

/// Makes `async fn main(first: rt::FirstProcess) -> Result<(), capnp::Error>` the very first process.
#[macro_export]
macro_rules! first_program {
    ($main:path) => {
        $crate::entry!($main, run_first);
    };
}

/// Defines the function that the start code calls, and on the host the one that the linker wants.
#[doc(hidden)]
#[macro_export]
macro_rules! entry {
    ($main:path, $run:ident) => {
        #[unsafe(no_mangle)]
        extern "C" fn capos_main(registers: &$crate::start::Registers) -> ! {
            $crate::start::$run(registers, $main)
        }

        #[cfg(not(target_os = "none"))]
        #[unsafe(no_mangle)]
        extern "C" fn main() -> i32 {
            $crate::start::not_here()
        }
    };
}

/// What a program does that was built for the host.
#[cfg(not(target_os = "none"))]
#[doc(hidden)]
pub fn not_here() -> i32 {
    std::eprintln!("this is a capOS program");
    1
}
