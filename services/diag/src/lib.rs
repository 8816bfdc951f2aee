//! A prompt on the console that looks at the live system: the parts that know no operating system.
//!
//! ```text
//!   bytes --Keys--> keys --Editor--> line --parse--> Command --(capabilities)--> view of the system --show--> lines --Pager--> screens
//! ```
//!
//! All that is shown is bounded, and read only; rebooting and halting are another capability, which a manifest may leave out.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod command;
pub mod editor;
mod history;
pub mod keys;
pub mod log_lines;
pub mod pager;
pub mod show;
pub mod table;
