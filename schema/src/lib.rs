//! Generated readers, builders, clients and server traits of every interface in `schema/*.capnp`, and their names.
//!
//! The interfaces are documented in those files, and nowhere else.
#![no_std]
#![allow(missing_docs, clippy::all, clippy::pedantic)]

extern crate alloc;

pub mod names;

#[rustfmt::skip]
pub mod block_capnp {
    include!(concat!(env!("OUT_DIR"), "/block_capnp.rs"));
}

#[rustfmt::skip]
pub mod boot_capnp {
    include!(concat!(env!("OUT_DIR"), "/boot_capnp.rs"));
}

#[rustfmt::skip]
pub mod console_capnp {
    include!(concat!(env!("OUT_DIR"), "/console_capnp.rs"));
}

#[rustfmt::skip]
pub mod device_capnp {
    include!(concat!(env!("OUT_DIR"), "/device_capnp.rs"));
}

#[rustfmt::skip]
pub mod ipc_capnp {
    include!(concat!(env!("OUT_DIR"), "/ipc_capnp.rs"));
}

#[rustfmt::skip]
pub mod manifest_capnp {
    include!(concat!(env!("OUT_DIR"), "/manifest_capnp.rs"));
}

#[rustfmt::skip]
pub mod memory_capnp {
    include!(concat!(env!("OUT_DIR"), "/memory_capnp.rs"));
}

#[rustfmt::skip]
pub mod network_capnp {
    include!(concat!(env!("OUT_DIR"), "/network_capnp.rs"));
}

#[rustfmt::skip]
pub mod process_capnp {
    include!(concat!(env!("OUT_DIR"), "/process_capnp.rs"));
}

#[rustfmt::skip]
pub mod supervisor_capnp {
    include!(concat!(env!("OUT_DIR"), "/supervisor_capnp.rs"));
}

#[rustfmt::skip]
pub mod system_capnp {
    include!(concat!(env!("OUT_DIR"), "/system_capnp.rs"));
}

#[rustfmt::skip]
pub mod test_capnp {
    include!(concat!(env!("OUT_DIR"), "/test_capnp.rs"));
}

#[rustfmt::skip]
pub mod time_capnp {
    include!(concat!(env!("OUT_DIR"), "/time_capnp.rs"));
}
