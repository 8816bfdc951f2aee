//! Driver for virtio SCSI hosts, modern and legacy: one function in, one `BlockDevice` for each disk out.
//!
//! What it shares with virtio block devices is the crate `virtio-disk`; here are the host's requests and answers
//! [VIRTIO-1.2 5.6], the SCSI commands in them, and how the disks behind a host are found.
//!
//! Section names like `[SPC-4 6.6]` and `[SBC-3 5.19]` name the SCSI Primary and Block Commands standards.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod answer;
mod command;
mod facts;
mod format;
pub mod scan;
pub mod spec;

pub use answer::{Answer, Verdict};
pub use command::{Cdb, Unit, header};
pub use facts::{Capacity, Limits, capacity, inquiry, limits, mode, provisioning, serial, units};
pub use format::{ScsiFormat, Target, choose};
