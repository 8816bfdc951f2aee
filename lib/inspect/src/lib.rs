//! The view of the live system that the page and the prompt show.
//!
//! What the kernel, init and the network stack answer is asked for by the [`Observer`], decoded into plain data ([`decode`]), put
//! together into one [`Snapshot`] ([`Gathered::assemble`]), and can be written as JSON. Names and texts come from programs that
//! are not trusted: they are cut to a length, and who shows them inserts them as text only.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod assemble;
pub mod crashes;
pub mod decode;
mod limits;
pub mod machine;
mod model;
mod observer;

#[cfg(test)]
mod tests;

pub use assemble::{Gathered, Holdings};
pub use limits::*;
pub use model::*;
pub use observer::{LogPart, Observer, Parts, answer, granted, settled};
