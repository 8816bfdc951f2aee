//! Single-producer single-consumer rings in memory that two processes share.
//!
//! Three layouts stand on one header: [`frame`] carries descriptors of network frames between a NIC
//! driver and its client, [`block`] carries requests and answers between a disk's driver and its client, and
//! [`stream`] carries the bytes of one connection between the network stack and its client; [`datagram`] puts a
//! UDP socket's datagrams into the same rings.
//!
//! # Trust
//!
//! The peer may write anything anywhere in the memory at any time. So every shared word is an atomic
//! that is read once, compared with private state, and only then used; an impossible value is a
//! [`PeerFault`], after which the ring answers nothing but that fault. No index, offset or length
//! that the peer wrote is used unchecked, and nothing that a peer does makes this crate panic.
//!
//! # Ordering
//!
//! Each ring has two positions, wrapping counts of items put in and taken out since the ring was made.
//! Only the producer writes one, only the consumer the other:
//!
//! ```text
//!   producer                                   consumer
//!   write item                                 load produced  (Acquire) <-+
//!   store produced (Release) ------------------------------------------- -+
//!   load consumed  (Acquire) <-+               read item
//!                              +-------------- store consumed (Release)
//! ```
//!
//! # Doorbells: work, arm, re-check, sleep
//!
//! A doorbell is rung only for a peer that said that it sleeps, so a busy pair exchanges no signals:
//!
//! ```text
//!   sleeper                                    waker
//!   1 work until nothing is left               1 publish (store position, Release)
//!   2 arm: store sleeping = 1                  2 fence (SeqCst)
//!   3 fence (SeqCst)                           3 sleeping == 1 ? take it and ring the doorbell
//!   4 re-check: is there work? then disarm, go to 1
//!   5 sleep until the doorbell
//! ```
//!
//! The two fences are each other's partner: either the sleeper's re-check sees what was published,
//! or the waker sees the flag. Both can happen, and then one doorbell is rung for nothing.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod block;
pub mod datagram;
mod fault;
pub mod frame;
mod header;
#[cfg(test)]
mod hostile;
mod items;
mod memory;
pub mod stream;

pub use fault::{LayoutError, PeerFault};
pub use header::Sleep;
pub use memory::{HeapMemory, SharedMemory, share};
