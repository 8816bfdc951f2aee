//! Start code: from the registers of the first instruction to the program's `main`.
use core::future::Future;

use capnp::Error;

use crate::{Environment, FirstProcess};

/// Registers at the entry of the process's first thread.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Registers {
    /// Handle of `OwnProcess`.
    pub own_process: u64,
    /// Address of the `StartInfo` message, or of the boot package in the first process.
    pub message: u64,
    /// Words of that message.
    pub words: u64,
    /// Address of the thread's message buffer.
    pub buffer: u64,
    /// Address of the clock page (first process only).
    pub clock: u64,
}

/// Runs a program's `main`; what [`program!`](crate::program) expands to calls it.
pub fn run<F: Future<Output = Result<(), Error>> + 'static>(
    _registers: &Registers,
    _main: impl FnOnce(Environment) -> F,
) -> ! {
    unimplemented!()
}

/// Runs the first process's `main`; what [`first_program!`](crate::first_program) expands to calls it.
pub fn run_first<F: Future<Output = Result<(), Error>> + 'static>(
    _registers: &Registers,
    _main: impl FnOnce(FirstProcess) -> F,
) -> ! {
    unimplemented!()
}

/// A number that is hard to guess.
pub fn random_u64() -> u64 {
    unimplemented!()
}

/// Makes `async fn main(environment: rt::Environment) -> Result<(), capnp::Error>` the program.
///
/// `main.rs` is `#![no_std] #![no_main]`; give its `[[bin]]` `test = false`. Built for the host it does nothing but check.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn capos_main(registers: &$crate::start::Registers) -> ! {
            $crate::start::run(registers, $main)
        }
    };
}

/// Makes `async fn main(first: rt::FirstProcess) -> Result<(), capnp::Error>` the very first process.
#[macro_export]
macro_rules! first_program {
    ($main:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn capos_main(registers: &$crate::start::Registers) -> ! {
            $crate::start::run_first(registers, $main)
        }
    };
}
