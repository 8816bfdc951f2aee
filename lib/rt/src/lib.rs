//! Runtime of capOS user processes: start code, heap, a single-threaded executor whose only wait is
//! the kernel's `receive`, and the glue by which generated Cap'n Proto clients and servers work over
//! kernel calls.
#![cfg_attr(target_os = "none", no_std)]

extern crate alloc;

mod environment;
mod executor;
mod local;
pub mod memory;
mod ports;
mod signal;
pub mod start;

pub use environment::{Environment, FirstProcess};
pub use executor::{Elapsed, now, sleep, sleep_until, spawn, timeout, yield_now};
pub use local::serve;
pub use ports::Ports;
pub use signal::{Signal, ring_doorbell};
pub use start::random_u64;
