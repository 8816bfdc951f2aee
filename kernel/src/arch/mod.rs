//! The processor architecture that this kernel is built for.

mod x86_64;

pub use x86_64::*;
