//! The decisions of init, apart from the capabilities that they are about: when a process starts, what happens when one
//! ends, what the log and the status say. `main.rs` wires them to the kernel.
//!
//! ```text
//!   started, exported, ended, kill --> Supervision --> start, kill, wake at, log
//! ```
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod crashes;
pub mod devices;
mod ending;
pub mod heartbeat;
mod restart;
pub mod status;
mod supervision;

pub use ending::{Cause, Ending};
pub use supervision::{Action, Availability, Goal, StartFailure, State, Supervision, Unit};
