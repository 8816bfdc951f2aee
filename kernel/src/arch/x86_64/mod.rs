//! What knows the processor. Everything else in the kernel uses these modules through their functions.

pub mod context;
pub mod cpu;
mod descriptors;
mod entry;
pub mod fpu;
pub mod processors;
pub mod tlb;
pub mod traps;
