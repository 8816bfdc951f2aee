//! The TCP/IP service: smoltcp between a NIC's shared rings on one side and clients' byte streams and
//! messages on the other. All but [`service`] is free of the operating system, and tested on the host.
//!
//! | module | what |
//! |---|---|
//! | [`arguments`], [`network`], [`dhcp`] | what the interface is configured to, and by whom |
//! | [`device`], [`mod@frame`], [`checksum`] | frames in place; each checked once and sent on its way |
//! | [`stack`] | rounds of work, clients' requests |
//! | [`tcp`], [`udp`] | sockets and their lives |
//! | [`limits`] | every bound |
//! | [`service`] | the capabilities around it |
#![cfg_attr(not(test), no_std)]
// Tests play the device, which reaches the buffers by address.
#![cfg_attr(not(test), forbid(unsafe_code))]

extern crate alloc;

pub mod arguments;
pub mod checksum;
mod deadlines;
pub mod device;
pub mod dhcp;
pub mod doorbell;
pub mod frame;
pub mod limits;
pub mod network;
mod resolver;
pub mod service;
pub mod stack;
pub mod table;
pub mod tcp;
mod time;
pub mod udp;
mod waiters;
mod work;
