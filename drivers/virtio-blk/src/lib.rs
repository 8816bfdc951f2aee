//! Driver for virtio block devices, modern and legacy: one function in, one `BlockDevice` out.
//!
//! What it shares with virtio SCSI hosts is the crate `virtio-disk`; here is what a block device says of itself, and the
//! bytes of its requests [VIRTIO-1.2 5.2].
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod regs;
mod request;
pub mod spec;

pub use regs::{choose, read_disk};
pub use request::BlockFormat;
