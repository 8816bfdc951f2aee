//! What every virtio driver process shares: transports, DMA memory and queues around the `virtio-drivers` crate.
//!
//! ```text
//!   PciFunction --open--> PciTransport (modern or legacy) --negotiate--> features
//!   DmaPool ----> DmaMemory, arena ----> Queue<Tag> ----add----> device
//!                                                   <-take_used-
//! ```
//!
//! The crate `virtio-drivers` keeps the rings; this one keeps the crate safe from the device and
//! from addresses that no DMA memory has:
//!
//! - [`Queue`] shadows what is in flight, so that a used id that names nothing is a [`DeviceFault`] and never
//!   reaches the crate, which would panic;
//! - [`dma`] gives the crate queue memory and refuses to translate any other address;
//! - [`PciTransport`] checks every offset that the device gives before it is used.
//!
//! Section numbers like `[VIRTIO-1.2 4.1.4]` name "Virtual I/O Device (VIRTIO) Version 1.2".
#![cfg_attr(not(any(test, feature = "fake")), no_std)]

extern crate alloc;

mod capability;
pub mod dma;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
mod interrupt;
pub mod pci;
mod queue;
mod setup;
mod transport;

pub use capability::{LayoutFault, ModernLayout, Place, VendorCapability};
pub use device::{MmioRegisters, PortRegisters, Registers};
pub use dma::DmaMemory;
pub use interrupt::{InterruptPlan, Interrupts};
pub use queue::{
    AddError, DeviceFault, MAXIMUM_PARTS, Notifications, Part, Queue, QueueError, Used, arena_pages,
};
pub use setup::{SetupError, begin_reset, features, finish, give_up, is_reset, negotiate, read_stable};
pub use transport::{
    LegacyTransport, MAXIMUM_QUEUES, ModernTransport, Msix, NO_VECTOR, PciTransport, TransportFault,
};
pub use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
