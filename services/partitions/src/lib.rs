//! Finds the GPT partitions of a disk and offers each as a disk of its own.
//!
//! The service reads the partition table, asks the disk's driver for a part for each partition
//! (`BlockDevice.partition`), and exports the parts. What their holders read and write goes to the driver straight; this
//! process never sees it. Section numbers like `[UEFI-2.10 5.3.2]` name the "UEFI Specification, Version 2.10".
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod table;

pub use table::{ENTRIES_BYTES, Header, Partition, TableError, entries, export_name, header};
