//! Bounded data structures of the kernel that need no hardware, so that they are tested on the host.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod frame_bitmap;
mod log_handover;
mod log_ring;
mod slot_table;
mod timer_heap;

pub use frame_bitmap::FrameBitmap;
pub use log_handover::LogHandover;
pub use log_ring::{LogRead, LogRing};
pub use slot_table::{SlotTable, SlotTableFull};
pub use timer_heap::{TimerHeap, TimerKey};
