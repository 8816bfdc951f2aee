//! What every driver process shares: device registers, memory that the device reaches, and interrupts.
//!
//! ```text
//!   PciFunction --bar-------> Mapping ----> MmioRegisters
//!               --dmaPool---> DmaPool ----> DmaRegion (bus address, checked words)
//!               --interrupt-> Interrupt --> Interrupts (all on one doorbell)
//! ```
#![cfg_attr(not(any(test, feature = "fake")), no_std)]

extern crate alloc;

mod dma;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
mod interrupts;
pub mod pci;
mod registers;

pub use dma::{DmaRegion, RegionError};
pub use interrupts::{InterruptChoice, Interrupts};
pub use registers::{MmioRegisters, PortRegisters, Registers};

/// Bytes of a page.
pub const PAGE_BYTES: u32 = 4096;
