//! The view of the live system that the page shows.
//!
//! What the kernel, init and the network stack answer is decoded into plain data ([`decode`]), put together
//! into one [`Snapshot`] ([`Gathered::assemble`]), and written as JSON. Names and texts come from programs that are not
//! trusted: they are cut to a length, and the page inserts them as text only.

mod assemble;
pub mod decode;
mod limits;
mod log_tail;
mod model;

#[cfg(test)]
mod tests;

pub use assemble::{Gathered, Holdings};
pub use limits::*;
pub use log_tail::LogTail;
pub use model::*;
