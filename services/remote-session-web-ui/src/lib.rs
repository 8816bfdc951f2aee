//! The parts of the web server that know no operating system: HTTP, the site, and the view of the system.
//!
//! Bytes go in and bytes come out; time is an argument. `main.rs` wires them to capabilities, the tests and
//! `examples/preview.rs` to fakes.
//!
//! - [`http`]: one connection of HTTP/1.1, from bytes to requests and from responses to bytes.
//! - [`server`]: all connections together: who is served, who is closed when there are too many.
//! - [`site`]: what is served at which path.
//! - [`system`]: the view of the live system that the page shows, as plain data and as JSON.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod http;
pub mod server;
pub mod site;
pub mod system;
