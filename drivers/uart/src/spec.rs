//! Registers of the 16550 UART, as its data sheet names them. [NS PC16550D 8]

use bitflags::bitflags;

/// Bytes that the transmitter's FIFO takes once it is empty.
pub const FIFO_BYTES: usize = 16;

/// A register, by its offset from the base port. Three of them are others when the divisor latch is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Register {
    /// Receiver buffer (read), transmitter holding (write), low half of the divisor.
    Data = 0,
    /// Interrupt enable, high half of the divisor.
    InterruptEnable = 1,
    /// Interrupt identification (read), FIFO control (write).
    InterruptIdentification = 2,
    /// Line control.
    LineControl = 3,
    /// Modem control.
    ModemControl = 4,
    /// Line status; reading it clears the error bits.
    LineStatus = 5,
    /// Modem status.
    ModemStatus = 6,
    /// A byte without a meaning.
    Scratch = 7,
}

bitflags! {
    /// What may interrupt.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Enable: u8 {
        /// Received data, at the FIFO's trigger level or after a time without more.
        const RECEIVED = 1 << 0;
        /// The transmitter's FIFO became empty.
        const TRANSMITTER_EMPTY = 1 << 1;
        /// Errors and breaks.
        const LINE_STATUS = 1 << 2;
    }

    /// The line's state.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Line: u8 {
        /// A byte can be read.
        const DATA_READY = 1 << 0;
        /// Bytes were lost.
        const OVERRUN = 1 << 1;
        /// The byte to be read came with a wrong parity.
        const PARITY = 1 << 2;
        /// The byte to be read came without a stop bit.
        const FRAMING = 1 << 3;
        /// The line was held low; the byte to be read stands for that.
        const BREAK = 1 << 4;
        /// The transmitter's FIFO is empty.
        const TRANSMITTER_EMPTY = 1 << 5;
        /// The line is idle too.
        const TRANSMITTER_IDLE = 1 << 6;
        /// Some byte in the FIFO came with an error.
        const FIFO_ERROR = 1 << 7;
    }
}

/// What an absent device reads as.
pub const ABSENT: u8 = 0xff;

/// Interrupt identification: set when nothing is pending.
pub const NOTHING_PENDING: u8 = 1 << 0;
/// The bits of interrupt identification that tell the cause.
pub const CAUSE: u8 = 0b1111;
/// Causes, the most important first.
pub const CAUSE_LINE_STATUS: u8 = 0b0110;
/// Data at the trigger level.
pub const CAUSE_DATA: u8 = 0b0100;
/// Data below the trigger level, for the time of four bytes.
pub const CAUSE_TIMEOUT: u8 = 0b1100;
/// The transmitter's FIFO became empty.
pub const CAUSE_TRANSMITTER_EMPTY: u8 = 0b0010;

/// Received bytes at which the receiver's FIFO interrupts.
pub const TRIGGER_BYTES: usize = 8;
/// FIFO control: on, both emptied, an interrupt at [`TRIGGER_BYTES`].
pub const FIFOS_ON_AND_CLEAR: u8 = 0b1000_0111;
/// Line control: the divisor is reached.
pub const DIVISOR_LATCH: u8 = 1 << 7;
/// Line control: 8 bits, no parity, 1 stop bit.
pub const EIGHT_BITS: u8 = 0b11;
/// Modem control: ready, request to send, and the pin that lets interrupts out on a PC.
pub const READY_WITH_INTERRUPTS: u8 = 0b1011;
/// 115200 baud by the PC's clock of 1.8432 MHz.
pub const DIVISOR: [u8; 2] = [1, 0];
