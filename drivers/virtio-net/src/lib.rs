//! Driver for virtio network devices, modern and legacy: one function in, one `Nic` out.
//!
//! ```text
//!   client (network stack)                      this process                            device
//!   received ring <---- deliver ---- ReceiveQueue <---- used ----- virtqueue 0  <----- frames
//!   free ring     ----- take_free -> ReceiveQueue ---- post -----> virtqueue 0
//!   send ring     ----- take_send -> SendQueue    ---- submit ---> virtqueue 1  -----> frames
//!   sent ring     <---- finish ----- SendQueue    <---- used ----- virtqueue 1
//! ```
//!
//! Frames lie in buffers that the device and the client share; the driver moves descriptors and never
//! touches a frame. The virtio header in front of each frame is a descriptor of its own, in memory that
//! the client cannot reach: a legacy device may demand that anyway [VIRTIO-1.2 5.1.6.6], and so no client can
//! ask the device for an offload that was not negotiated. Checksums and TCP segments are left to devices that do them.
//!
//! [`Device`] is all of the driver that is not waiting: it is tested on the host against a fake device. [`server`] and
//! [`interrupts`] connect it to the system.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod device;
mod driver;
mod init;
pub mod interrupts;
mod offload;
mod queue;
mod regs;
pub mod server;
mod spec;
#[cfg(test)]
mod tests;
mod watch;

pub use device::{Counters, Device, Fault, Turn, Work};
pub use driver::{Driver, reset};
pub use init::{Needs, StartError};
pub use offload::{Offloads, Receiving, Sending};
pub use regs::Facts;
pub use watch::{Sight, Watch};
