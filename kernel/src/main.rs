//! capOS: the microkernel. It hands out typed capabilities and knows no driver and no protocol.
//!
//! | module | what |
//! |---|---|
//! | [`boot`] | what the boot loader hands over |
//! | [`arch`] | the processor: entry, traps, page table register, interrupts between processors |
//! | [`memory`] | frames, heap, page tables |
//! | [`object`] | kernel objects and the interfaces that they serve |
//! | [`ipc`], [`message`], [`syscall`] | calls |
//! | [`scheduler`], [`timers`], [`time`], [`reaper`] | who runs when, and what is left of the dead |
//! | [`machine`], [`interrupts`] | what the platform crate found, and device vectors |
//! | [`iommu`] | what of a device's DMA and interrupts gets through |
#![no_std]
#![no_main]

extern crate alloc;

mod arch;
mod boot;
mod error;
mod first_process;
mod interrupts;
mod iommu;
mod ipc;
mod list;
mod log_sink;
mod machine;
mod memory;
mod message;
mod object;
mod panic;
mod reaper;
mod scheduler;
mod symbols;
mod sync;
mod syscall;
mod time;
mod timers;
mod unwind;

/// Version of the system.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Source commit that it was built from.
pub const COMMIT: &str = match option_env!("CAPOS_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};
