//! The first serial port, for the one line that says why nothing starts.

use core::fmt::{self, Write};

use x86_64::instructions::port::Port;

/// I/O port of COM1.
const COM1: u16 = 0x3f8;

/// Reads of the line status before a byte is given up: a port that is not there never becomes ready.
const PATIENCE: u32 = 100_000;

/// Bit 5 of the line status: the transmitter takes another byte [16550 8.5].
const TRANSMITTER_READY: u8 = 1 << 5;

struct Com1;

/// Writes one line at 115200 bits per second, 8 bits, no parity.
pub fn line(text: fmt::Arguments<'_>) {
    // Interrupts off, divisor latch on, divisor 1, 8N1, FIFO on, DTR and RTS.
    for (register, value) in [(1, 0), (3, 0x80), (0, 1), (1, 0), (3, 3), (2, 1), (4, 3)] {
        write_register(register, value);
    }
    // The writer below never fails.
    let _ = writeln!(Com1, "{text}\r");
}

impl Write for Com1 {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            for _ in 0..PATIENCE {
                // SAFETY: reading COM1's line status has no effect on memory.
                let status: u8 = unsafe { Port::new(COM1 + 5).read() };
                if status & TRANSMITTER_READY != 0 {
                    break;
                }
            }
            write_register(0, byte);
        }
        Ok(())
    }
}

fn write_register(register: u16, value: u8) {
    // SAFETY: COM1's registers have no effect on memory, and the loader alone uses them.
    unsafe { Port::new(COM1 + register).write(value) }
}
