//! What all disk drivers share behind the interface `BlockDevice`, and what its clients need.
//!
//! ```text
//!   client                       driver process
//!   Session --- rings ---> Front --- Command ---> Engine --- DMA ---> device
//!           <-- answers --       <-- Status -----
//!      `------ buffers, shared with the device, never copied ----------'
//! ```
//!
//! [`Front`] is everything about queues that is not waiting: it checks each request against the blocks that its client
//! may reach, and hands it to the driver's [`Engine`]. [`Service`] connects it to the system. Both are the
//! same for all kinds of disks. [`client`] is the other side.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod client;
mod disk;
mod engine;
mod front;
mod server;
mod service;
#[cfg(test)]
mod tests;

pub use disk::{Access, Disk, Identity, View, ViewError};
pub use engine::{Command, Engine, Refusal, Ticket};
pub use front::{Counters, Front, OpenError, QueueNumber, Turn, Work};
pub use ring::block::{Operation, Status, Tag, WriteMode};
pub use server::serve;
pub use service::{Limits, PoolMaker, Service};
