//! Starts processes from binaries that lie in the boot package.
//!
//! An [`Image`] is a binary that was checked once; [`start`] builds a process of it as often as wanted. What
//! no program may write, its code and constants, is mapped in place from the package's memory; what it may write
//! is copied into new memory that the process's own quota pays for.
//!
//! ```text
//!   image            guard  start message  message buffer  guard  stack  guard  heap of the runtime ...
//!   |--code--data--|  ....  |------------|--------------|  ....  |-----|  ....  |
//! ```
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod image;
mod layout;
pub mod package;
mod start;
mod start_info;

pub use image::{Content, Image, ImageError, Segment};
pub use start::{Launch, Program, Quota, StartError, start};
