//! Typed access to the registers.

use crate::spec::{Enable, Line, Register};
use capnp::Error;

/// Where the registers are: ports of the machine, or a fake device.
pub trait Registers {
    /// Reads one. Errors: the ports were taken away.
    fn read(&self, register: Register) -> Result<u8, Error>;
    /// Writes one. Errors: as for reading.
    fn write(&self, register: Register, value: u8) -> Result<(), Error>;

    /// The line's state; the error bits are cleared by this.
    fn line(&self) -> Result<Line, Error> {
        self.read(Register::LineStatus).map(Line::from_bits_retain)
    }

    /// Chooses what may interrupt.
    fn enable(&self, interrupts: Enable) -> Result<(), Error> {
        self.write(Register::InterruptEnable, interrupts.bits())
    }
}

impl Registers for rt::Ports {
    fn read(&self, register: Register) -> Result<u8, Error> {
        self.read_u8(register as u16)
    }

    fn write(&self, register: Register, value: u8) -> Result<(), Error> {
        self.write_u8(register as u16, value)
    }
}
