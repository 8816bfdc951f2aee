//! What the drivers of virtio's two kinds of disks share: one request queue, its slots, deadlines and resets.
//!
//! ```text
//!   Front (crate block)        VirtioDisk                                          virtqueue
//!   Command ---- submit -----> slot: header, answer; Format writes the header --> header | data | answer
//!   Status  <--- reap -------- slot; Format reads the answer                  <-- used
//! ```
//!
//! A [`Format`] is the difference between the kinds: the bytes of a request and of its answer. Headers and answers lie
//! in memory that only driver and device reach; data goes straight to and from the client's buffers, which are
//! contiguous on the bus and so one descriptor.
//!
//! A virtio device cannot give a single command up, so a late one means a reset of the device, after which all that was
//! in flight is asked for again.
#![cfg_attr(not(any(test, feature = "fake")), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod engine;
mod format;
mod hardware;
mod open;
#[cfg(test)]
mod tests;

pub use engine::VirtioDisk;
pub use format::{Format, Outcome, Payload, Step};
pub use hardware::{
    Choose, EXTRA_BYTES, Hardware, Headers, Plan, REQUEST_BYTES, RESPONSE_BYTES, Reply, ResponseOrder,
    StartError,
};
pub use open::{Bound, exchange, open, serve};
