//! What the kernel knows of the PC platform: firmware tables, interrupt controllers, clocks, PCI
//! configuration space, the serial port, and how to start processors and to switch the machine off.
//!
//! The crate knows nothing of the kernel's objects. What it needs of the kernel is the
//! [`PhysicalMemory`] trait. It never allocates and never panics on what firmware or a device says: tables have fixed
//! capacities, loops and waits are bounded, and what is refused is logged.
//!
//! The order at boot is: [`processor::identify`], [`acpi::read_tables`], [`io_apic::disable_legacy_pics`],
//! [`local_apic::LocalApic::new`], [`clock::measure`], [`io_apic::IoApics::new`], [`pci::enumerate`],
//! [`start_processors::start_processor`].
#![cfg_attr(not(test), no_std)]
#![cfg(target_arch = "x86_64")]

pub mod acpi;
pub mod address;
pub mod clock;
pub mod io_apic;
pub mod local_apic;
pub mod pci;
pub mod ports;
pub mod power;
pub mod processor;
pub mod registers;
pub mod serial;
pub mod start_processors;
pub mod vtd;

pub use address::{ApicId, Gsi, PhysicalAddress, PhysicalMemory, PhysicalRange, Vector};
