//! Bring-up: is a UART there, and its settings.

use crate::{
    regs::Registers,
    spec::{self, Enable, Register},
};
use capnp::Error;

/// What bring-up found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// A UART, set up for 115200 baud, 8 bits, no parity.
    Present,
    /// None, or one that does not keep what it is given.
    Absent,
}

/// Looks for a UART and sets it up, with interrupts for what is received.
///
/// Errors: the ports were taken away.
pub fn bring_up(registers: &impl Registers) -> Result<Presence, Error> {
    // An absent UART reads as all ones; the scratch register of a present one keeps what it was given.
    for pattern in [0x5a, 0xa5] {
        registers.write(Register::Scratch, pattern)?;
        if registers.read(Register::Scratch)? != pattern {
            return Ok(Presence::Absent);
        }
    }
    // Whoever had it before may have left the divisor latch open, where this register is another.
    registers.write(Register::LineControl, spec::EIGHT_BITS)?;
    registers.enable(Enable::empty())?;
    let [low, high] = spec::DIVISOR;
    registers.write(Register::LineControl, spec::DIVISOR_LATCH)?;
    registers.write(Register::Data, low)?;
    registers.write(Register::InterruptEnable, high)?;
    registers.write(Register::LineControl, spec::EIGHT_BITS)?;
    registers.write(Register::InterruptIdentification, spec::FIFOS_ON_AND_CLEAR)?;
    registers.write(Register::ModemControl, spec::READY_WITH_INTERRUPTS)?;
    // What was pending from before: reading clears it.
    registers.line()?;
    registers.read(Register::ModemStatus)?;
    registers.enable(Enable::RECEIVED | Enable::LINE_STATUS)?;
    Ok(Presence::Present)
}
