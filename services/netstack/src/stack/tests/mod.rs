//! Tests of whole stacks on a network in memory.

mod dhcp;
mod harness;
mod hostile;
mod offload;
mod recovery;
mod sessions;
mod tcp;
mod udp;
