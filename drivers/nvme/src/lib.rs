//! Driver for NVMe controllers: one function in, one `BlockDevice` for each namespace out.
//!
//! ```text
//!   Front (crate block)            this crate                                   controller
//!   Command ----- submit --------> IoPair: slot, entry -- tail doorbell ------> submission queue
//!   Status  <---- reap ----------- IoPair: slot        <- phase bit ----------- completion queue
//!                                  Controller: bring-up, deadlines, abort, reset (admin queue)
//! ```
//!
//! Data goes straight between the device and the buffers that the client sees. A queue's buffers are contiguous on the
//! bus, so the lists of their pages are written once, when the buffers are opened, in memory that no client reaches; a command
//! only points into them.
//!
//! QEMU's shadow doorbells are not used: with them its version 7.2 loses wake-ups.
//!
//! Section numbers like `[NVMe-2.1 3.1.4]` name the "NVM Express Base Specification, Revision 2.1", `[NVM-1.1 ...]` the "NVM
//! Command Set Specification, Revision 1.1".
#![cfg_attr(not(any(test, feature = "fake")), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod admin;
mod command;
mod device;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
mod identify;
mod init;
mod names;
mod pool;
mod queue;
mod recovery;
mod regs;
mod slots;
mod spec;
#[cfg(test)]
mod tests;

pub use device::{Controller, Failure, Memory, Plan};
pub use identify::{ControllerFacts, NamespaceFacts, active_namespaces, controller, namespace};
pub use names::{controller_name, namespace_name};
pub use pool::Pool;
pub use regs::Capabilities;
