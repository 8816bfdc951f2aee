//! A 16550, and devices that only look like one.

use crate::{
    regs::Registers,
    spec::{self, Enable, Line, Register},
};
use capnp::Error;
use std::{cell::RefCell, collections::VecDeque, rc::Rc};

/// How the device behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As the data sheet says.
    Good,
    /// All ones, whatever was written.
    Absent,
    /// It interrupts for a reason that does not end.
    Stuck,
    /// There is always another byte.
    Endless,
    /// The transmitter never becomes empty.
    Clogged,
}

#[derive(Debug)]
pub struct State {
    pub kind: Kind,
    pub received: VecDeque<(u8, Line)>,
    pub overrun: bool,
    pub enabled: u8,
    line_control: u8,
    modem_control: u8,
    scratch: u8,
    divisor: [u8; 2],
    fifo_control: u8,
    /// What is in the transmitter's FIFO.
    pub fifo: VecDeque<u8>,
    /// What went out.
    pub line: Vec<u8>,
    transmitter_interrupt: bool,
    /// Accesses so far.
    pub accesses: u64,
}

/// The device; clones are the same one.
#[derive(Clone, Debug)]
pub struct Fake(Rc<RefCell<State>>);

impl Fake {
    pub fn new(kind: Kind) -> Self {
        Self(Rc::new(RefCell::new(State {
            kind,
            received: VecDeque::new(),
            overrun: false,
            enabled: 0,
            line_control: 0,
            modem_control: 0,
            scratch: 0,
            divisor: [12, 0],
            fifo_control: 0,
            fifo: VecDeque::new(),
            line: Vec::new(),
            transmitter_interrupt: false,
            accesses: 0,
        })))
    }

    pub fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.borrow_mut())
    }

    /// A byte comes in on the line.
    pub fn receive(&self, byte: u8) {
        self.receive_with(byte, Line::empty());
    }

    pub fn receive_with(&self, byte: u8, error: Line) {
        self.with(|state| {
            if state.received.len() < spec::FIFO_BYTES {
                state.received.push_back((byte, error));
            } else {
                state.overrun = true;
            }
        });
    }

    /// The line has taken all that was in the FIFO.
    pub fn send_fifo(&self) {
        self.with(|state| {
            state.line.extend(state.fifo.drain(..));
            state.transmitter_interrupt = true;
        });
    }

    /// Whether the interrupt line is up.
    pub fn interrupts(&self) -> bool {
        self.with(|state| state.modem_control & 8 != 0 && state.pending() & 1 == 0)
    }

    pub fn divisor(&self) -> [u8; 2] {
        self.with(|state| state.divisor)
    }
}

impl State {
    fn pending(&self) -> u8 {
        let enabled = |which: Enable| self.enabled & which.bits() != 0;
        let errors = self.overrun || self.received.front().is_some_and(|(_, error)| !error.is_empty());
        if self.kind == Kind::Stuck || errors && enabled(Enable::LINE_STATUS) {
            spec::CAUSE_LINE_STATUS
        } else if (!self.received.is_empty() || self.kind == Kind::Endless) && enabled(Enable::RECEIVED) {
            if self.received.len() >= 8 { spec::CAUSE_DATA } else { spec::CAUSE_TIMEOUT }
        } else if self.transmitter_interrupt && enabled(Enable::TRANSMITTER_EMPTY) {
            spec::CAUSE_TRANSMITTER_EMPTY
        } else {
            spec::NOTHING_PENDING
        }
    }

    fn line_status(&mut self) -> Line {
        let mut line = Line::empty();
        line.set(Line::OVERRUN, std::mem::take(&mut self.overrun));
        if let Some((_, error)) = self.received.front_mut() {
            line |= Line::DATA_READY | std::mem::replace(error, Line::empty());
        }
        line.set(Line::FIFO_ERROR, self.received.iter().any(|(_, error)| !error.is_empty()));
        line.set(Line::TRANSMITTER_EMPTY, self.fifo.is_empty() && self.kind != Kind::Clogged);
        if self.kind == Kind::Endless {
            line |= Line::DATA_READY;
        }
        line
    }
}

impl Registers for Fake {
    fn read(&self, register: Register) -> Result<u8, Error> {
        let mut state = self.0.borrow_mut();
        state.accesses += 1;
        if state.kind == Kind::Absent {
            return Ok(spec::ABSENT);
        }
        let latch = state.line_control & spec::DIVISOR_LATCH != 0;
        Ok(match register {
            Register::Data if latch => state.divisor[0],
            Register::InterruptEnable if latch => state.divisor[1],
            Register::Data => state.received.pop_front().map_or(0, |(byte, _)| byte),
            Register::InterruptEnable => state.enabled,
            Register::InterruptIdentification => {
                let pending = state.pending();
                if pending == spec::CAUSE_TRANSMITTER_EMPTY {
                    state.transmitter_interrupt = false;
                }
                pending | 0xc0
            }
            Register::LineControl => state.line_control,
            Register::ModemControl => state.modem_control,
            Register::LineStatus => state.line_status().bits(),
            Register::ModemStatus => 0,
            Register::Scratch => state.scratch,
        })
    }

    fn write(&self, register: Register, value: u8) -> Result<(), Error> {
        let mut state = self.0.borrow_mut();
        state.accesses += 1;
        let latch = state.line_control & spec::DIVISOR_LATCH != 0;
        match register {
            Register::Data if latch => state.divisor[0] = value,
            Register::InterruptEnable if latch => state.divisor[1] = value,
            Register::Data => {
                assert!(state.fifo.len() < spec::FIFO_BYTES, "the transmitter's FIFO is overfull");
                state.fifo.push_back(value);
                state.transmitter_interrupt = false;
            }
            Register::InterruptEnable => {
                let before = state.enabled;
                state.enabled = value;
                let newly = value & !before & Enable::TRANSMITTER_EMPTY.bits() != 0;
                if newly && state.fifo.is_empty() && state.kind != Kind::Clogged {
                    state.transmitter_interrupt = true;
                }
            }
            Register::InterruptIdentification => {
                state.fifo_control = value;
                if value & 0b10 != 0 {
                    state.received.clear();
                }
                if value & 0b100 != 0 {
                    state.fifo.clear();
                }
            }
            Register::LineControl => state.line_control = value,
            Register::ModemControl => state.modem_control = value,
            Register::LineStatus | Register::ModemStatus => {}
            Register::Scratch => state.scratch = value,
        }
        Ok(())
    }
}
