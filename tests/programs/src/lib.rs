//! What the tests' programs share: how to do what `rt` and the compiler do not let a program do.
#![no_std]

extern crate alloc;

pub mod blocks;
pub mod campaign;
pub mod checks;
pub mod compute;
pub mod faults;
pub mod injector;
pub mod memory;
pub mod progress;
pub mod raw;
pub mod stream;
