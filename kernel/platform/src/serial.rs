//! The first serial port as the kernel's console: a 16550 UART, polled. [NS PC16550D]

use core::fmt;

use crate::ports;

/// The I/O port of COM1.
pub const COM1: u16 = 0x3f8;
/// Ports of a 16550.
pub const PORTS: u16 = 8;

const TRANSMIT: u16 = 0;
const INTERRUPT_ENABLE: u16 = 1;
const FIFO_CONTROL: u16 = 2;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;
const SCRATCH: u16 = 7;

const DIVISOR_LATCH: u8 = 1 << 7;
const EIGHT_BITS_NO_PARITY: u8 = 0b11;
const ENABLE_AND_CLEAR_FIFOS: u8 = 0b111;
const READY_AND_REQUEST: u8 = 0b11;
const TRANSMITTER_EMPTY: u8 = 1 << 5;
/// The transmitter and its FIFO are empty, and the last stop bit is out.
const TRANSMITTER_IDLE: u8 = 1 << 6;
/// Bytes that a 16550 takes once its transmitter is empty.
const FIFO_BYTES: u8 = 16;

/// Reads of the line status before text is dropped: at about 1 microsecond each, an order more than 16 bytes at
/// 115200 baud need.
const MAXIMUM_POLLS: u32 = 20_000;

/// A polled serial port. It swallows what is written when no UART is there, or while it does not send: the
/// first write to a stalled port waits, the following ones look once.
#[derive(Debug)]
pub struct SerialPort {
    base: u16,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Absent,
    /// That many bytes can be written before the status must be asked.
    Ready {
        room: u8,
    },
    /// The transmitter did not become empty in time.
    Stalled,
}

impl SerialPort {
    /// A port that is not set up yet and swallows everything; usable in a `static`.
    pub const fn absent() -> Self {
        Self { base: 0, state: State::Absent }
    }

    /// Looks for a UART at `base` and sets it up for 115200 baud, 8 data bits, no parity, without interrupts.
    ///
    /// # Safety
    /// The eight ports from `base` are a UART's or nobody's, and nothing else uses them.
    pub unsafe fn open(base: u16) -> Self {
        let mut port = Self { base, state: State::Absent };
        // An absent UART reads as all ones; the scratch register of a present one keeps what it was given.
        for pattern in [0x5a, 0xa5] {
            port.write(SCRATCH, pattern);
            if port.read(SCRATCH) != pattern {
                return port;
            }
        }
        port.write(INTERRUPT_ENABLE, 0);
        port.write(LINE_CONTROL, DIVISOR_LATCH);
        port.write(0, 1); // divisor 1 of 115200 baud, low byte
        port.write(1, 0);
        port.write(LINE_CONTROL, EIGHT_BITS_NO_PARITY);
        port.write(FIFO_CONTROL, ENABLE_AND_CLEAR_FIFOS);
        port.write(MODEM_CONTROL, READY_AND_REQUEST);
        port.state = State::Ready { room: 0 };
        port
    }

    /// Waits, for a bounded time, until all that was written is on the line. For a port that somebody else used.
    ///
    /// # Safety
    /// As for [`SerialPort::open`].
    pub unsafe fn drain(base: u16) {
        let port = Self { base, state: State::Absent };
        // An absent UART reads as all ones, which is as good.
        let _ = (0..MAXIMUM_POLLS).any(|_| port.read(LINE_STATUS) & TRANSMITTER_IDLE != 0);
    }

    /// Whether a UART was found.
    pub fn is_present(&self) -> bool {
        self.state != State::Absent
    }

    /// Writes bytes as they are.
    pub fn write_bytes(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let polls = match self.state {
                State::Absent => return,
                State::Ready { room: 1.. } => 0,
                State::Ready { room: 0 } => MAXIMUM_POLLS,
                State::Stalled => 1,
            };
            if polls > 0 {
                let empty = (0..polls).any(|_| self.read(LINE_STATUS) & TRANSMITTER_EMPTY != 0);
                self.state = if empty { State::Ready { room: FIFO_BYTES } } else { State::Stalled };
            }
            let State::Ready { room } = self.state else { return };
            self.write(TRANSMIT, byte);
            self.state = State::Ready { room: room.saturating_sub(1) };
        }
    }

    fn read(&self, register: u16) -> u8 {
        // SAFETY: `open` was promised that these ports are a UART's or nobody's; neither can harm memory.
        unsafe { ports::read_u8(self.base.wrapping_add(register)) }
    }

    fn write(&self, register: u16, value: u8) {
        // SAFETY: as for reading.
        unsafe { ports::write_u8(self.base.wrapping_add(register), value) }
    }
}

/// Writes text with each line end as carriage return and line feed.
impl fmt::Write for SerialPort {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (index, line) in text.split('\n').enumerate() {
            if index > 0 {
                self.write_bytes(b"\r\n");
            }
            self.write_bytes(line.as_bytes());
        }
        Ok(())
    }
}
