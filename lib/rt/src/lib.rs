//! Runtime of capOS user processes: start code, heap, a single-threaded executor whose only wait is
//! the kernel's `receive`, and the glue by which generated Cap'n Proto clients and servers work over
//! kernel calls.
//!
//! # How a call goes
//!
//! ```text
//!   generated client          this crate                     kernel
//!   x.echo_request() -------> outgoing: a request in the
//!   request.get().set_..()    page of a free Call (calls)
//!   request.send() ---------> calls: in place            ---> SubmitYield
//!                             done at once: the promise is kept
//!                             else: the executor waits   ---> ReplyReceive
//!                             calls: done, task woken    <--- Signals
//!   or, of a slow object ---> pending: submit held back
//!        .await               executor: nothing is ready ---> SubmitReceive
//!   response.get() <--------- outgoing: read in the page
//!
//!   generated server
//!   fn echo(..) <------------ server: params copied      <--- Call
//!   results.get().set_..()    message: a reused block
//!        Ok(()) ------------> pending: reply held back
//!                             executor: nothing is ready ---> ReplyReceive
//! ```
//!
//! # Threads
//!
//! All of this runs on the process's first thread. Threads that a program starts by itself
//! (`OwnProcess.startThread`) must not use this crate, nor allocate.
#![cfg_attr(target_os = "none", no_std)]

extern crate alloc;
// The tests share a file with programs, which know this crate by its name.
#[cfg(test)]
extern crate self as rt;

mod address_ranges;
mod answers;
mod buffer;
mod calls;
mod capability;
mod client;
mod clock;
mod environment;
mod error;
mod executor;
mod free_bodies;
pub mod health;
#[cfg(any(target_os = "none", test))]
mod heap;
#[cfg(not(target_os = "none"))]
mod host;
mod kernel;
mod local;
mod log;
pub mod memory;
mod message;
mod objects;
mod outgoing;
mod pending;
mod pipeline;
mod ports;
mod received;
mod request;
mod runtime;
mod segments;
mod server;
mod signal;
pub mod start;
mod syscall;
#[cfg(test)]
mod tests;

pub use environment::{Environment, FirstProcess};
pub use executor::{
    Alarm, Elapsed, Sleeper, apart, now, rare, sleep, sleep_until, spawn, timeout, yield_now,
};
pub use local::serve;
pub use ports::Ports;
pub use signal::{Doorbell, SIGNALS, Signal, SignalSet, ring_doorbell};
pub use start::random_u64;
