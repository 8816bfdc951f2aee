//! A device whose registers read as anything.
#![no_main]

use capnp::Error;
use libfuzzer_sys::fuzz_target;
use std::cell::Cell;
use uart::{OUTPUT_BYTES, Register, Registers, Uart};

/// Reads give the input's bytes one after the other, and then all ones; the scratch register works, so that it is taken for a UART.
struct Anything<'a> {
    bytes: Cell<&'a [u8]>,
    scratch: Cell<u8>,
    accesses: Cell<u32>,
}

impl Registers for &Anything<'_> {
    fn read(&self, register: Register) -> Result<u8, Error> {
        self.accesses.set(self.accesses.get() + 1);
        if register == Register::Scratch {
            return Ok(self.scratch.get());
        }
        let (first, rest) = self.bytes.get().split_first().unwrap_or((&0xff, &[]));
        self.bytes.set(rest);
        Ok(*first)
    }

    fn write(&self, register: Register, value: u8) -> Result<(), Error> {
        self.accesses.set(self.accesses.get() + 1);
        if register == Register::Scratch {
            self.scratch.set(value);
        }
        Ok(())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let device = Anything { bytes: Cell::new(bytes), scratch: Cell::new(0), accesses: Cell::new(0) };
    let mut uart = Uart::open(&device).expect("ports");
    for round in 0..64_u32 {
        let before = device.accesses.get();
        match round % 4 {
            0 => uart.push(&[b'x'; 100]).expect("ports"),
            1 => drop(uart.turn().expect("ports")),
            2 => uart.poll().expect("ports"),
            _ => drop(uart.take_input(512)),
        }
        assert!(device.accesses.get() - before < 20_000, "a turn without end");
        assert!(uart.room() <= OUTPUT_BYTES && uart.sent() <= uart.output_end());
    }
});
