//! Driver for the 16550 UART of a PC: ports and an interrupt in, one `Console` out.
//!
//! ```text
//!   kernel's log --- log_follower ---+
//!                                    v   pieces             bytes
//!   client --- write, setLine --> Terminal ------> output queue ------> transmitter's FIFO
//!   client <-- read <---------------------------- input queue <------- receiver's FIFO
//! ```
//!
//! [`Uart`] is all of the driver that is not waiting: it is tested on the host against a fake device. [`Driver`] has the tasks,
//! [`server`] the interfaces.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod device;
mod driver;
mod init;
pub mod log_follower;
mod queue;
mod regs;
pub mod server;
mod spec;
mod terminal;
#[cfg(test)]
mod tests;

pub use device::{Counters, INPUT_BYTES, OUTPUT_BYTES, Turn, Uart};
pub use driver::{Driver, SessionNumber};
pub use init::Presence;
pub use regs::Registers;
pub use spec::Register;
