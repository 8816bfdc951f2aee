//! The parts of the web server that know no operating system: HTTP, the site, and the view of the system. One part is for
//! capOS alone, so that other programs can serve the same way.
//!
//! Bytes go in and bytes come out; time is an argument. `main.rs` wires them to capabilities, the tests and
//! `examples/preview.rs` to fakes.
//!
//! - [`http`]: one connection of HTTP/1.1, from bytes to requests and from responses to bytes.
//! - [`server`]: all connections together: who is served, who is closed when there are too many.
//! - [`site`]: what is served at which path.
//! - `stream`: a connection of the network stack as a byte stream; only on capOS.
//! - `rest`: how the serving task waits; only on capOS.
//! - [`log_tail`]: the newest lines of the kernel's log.
//! - `inspect`, a crate of its own: the view of the live system that the page shows.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod http;
pub mod log_tail;
#[cfg(target_os = "none")]
pub mod rest;
pub mod server;
pub mod site;
#[cfg(target_os = "none")]
pub mod stream;
