//! The UART between its registers and two bounded queues of bytes.
//!
//! ```text
//!   transmitting:  idle --push, FIFO empty--> 16 bytes --more--> wait for "FIFO empty" --interrupt--> 16 bytes ...
//! ```
//!
//! Nothing here waits. A register is asked a bounded number of times; what does not end then is the device's fault, and the
//! caller looks again later.

use crate::{
    init::{Presence, bring_up},
    queue::ByteQueue,
    regs::Registers,
    spec::{self, Enable, FIFO_BYTES, Line, Register},
};
use alloc::vec::Vec;
use capnp::Error;

/// Bytes of output that are kept for the line.
pub const OUTPUT_BYTES: usize = 4096;
/// Bytes of input that are kept for a reader.
pub const INPUT_BYTES: usize = 4096;
/// Causes of interrupts that are handled in one turn.
const CAUSES_PER_TURN: u32 = 64;
/// Bytes that are received for one cause: some FIFOs fill while they are emptied.
const BYTES_PER_CAUSE: u32 = 64;

/// What was counted since the driver started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes received well.
    pub received: u64,
    /// Bytes given to the transmitter.
    pub sent: u64,
    /// Bytes received while nobody read and the queue was full.
    pub dropped: u64,
    /// Times that the device lost bytes.
    pub overruns: u64,
    /// Bytes with errors, and breaks.
    pub line_errors: u64,
}

/// What one turn left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// No interrupt is pending.
    Quiet,
    /// There is more to do, and bytes have moved.
    Busy,
    /// An interrupt is pending that nothing ends.
    Stuck,
}

/// A UART and its queues.
pub struct Uart<R> {
    registers: R,
    presence: Presence,
    output: ByteQueue,
    input: ByteQueue,
    counters: Counters,
    /// Bytes dropped behind what is in `input`. While there are any, all that comes is dropped too: what is taken then has no gap.
    untold: u64,
    enabled: Enable,
}

impl<R: Registers> Uart<R> {
    /// Looks for a UART and sets it up. One that is absent swallows output.
    ///
    /// Errors: the ports were taken away.
    pub fn open(registers: R) -> Result<Self, Error> {
        let presence = bring_up(&registers)?;
        Ok(Self {
            registers,
            presence,
            output: ByteQueue::new(OUTPUT_BYTES),
            input: ByteQueue::new(INPUT_BYTES),
            counters: Counters::default(),
            untold: 0,
            enabled: Enable::RECEIVED | Enable::LINE_STATUS,
        })
    }

    /// Whether there is one.
    pub fn presence(&self) -> Presence {
        self.presence
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Bytes of output that fit now.
    pub fn room(&self) -> usize {
        self.output.room()
    }

    /// Whether output waits for the line.
    pub fn is_sending(&self) -> bool {
        !self.output.is_empty()
    }

    /// Bytes of output that have left the queue.
    pub fn sent(&self) -> u64 {
        self.output.taken()
    }

    /// What [`sent`](Self::sent) will be when all output so far has left.
    pub fn output_end(&self) -> u64 {
        self.output.end()
    }

    /// Whether there is input to take.
    pub fn has_input(&self) -> bool {
        !self.input.is_empty() || self.untold > 0
    }

    /// Takes up to `most` bytes of input; or none, and how many were lost at this point.
    pub fn take_input(&mut self, most: usize) -> (Vec<u8>, u64) {
        let bytes = self.input.take(most);
        let lost = if bytes.is_empty() { core::mem::take(&mut self.untold) } else { 0 };
        (bytes, lost)
    }

    /// Forgets input that nobody took.
    pub fn clear_input(&mut self) {
        self.input.clear();
        self.untold = 0;
    }

    /// Queues output, for which there must be [`room`](Self::room); what is over it is dropped. Starts the transmitter if it is idle.
    ///
    /// Errors: the ports were taken away.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        for byte in bytes {
            self.output.push(*byte);
        }
        if self.enabled.contains(Enable::TRANSMITTER_EMPTY) { Ok(()) } else { self.transmit() }
    }

    /// Handles what is pending, within bounds.
    ///
    /// Errors: the ports were taken away.
    pub fn turn(&mut self) -> Result<Turn, Error> {
        let moved = |counters: &Counters| {
            (counters.received + counters.dropped + counters.line_errors, counters.sent)
        };
        let before = moved(&self.counters);
        for _ in 0..CAUSES_PER_TURN {
            if self.presence == Presence::Absent {
                return Ok(Turn::Quiet);
            }
            let pending = self.registers.read(Register::InterruptIdentification)?;
            if pending & spec::NOTHING_PENDING != 0 {
                return Ok(Turn::Quiet);
            }
            match pending & spec::CAUSE {
                spec::CAUSE_DATA => self.receive_level()?,
                spec::CAUSE_LINE_STATUS | spec::CAUSE_TIMEOUT => self.receive()?,
                spec::CAUSE_TRANSMITTER_EMPTY => self.transmit()?,
                // The modem's lines, which are not enabled.
                _ => drop(self.registers.read(Register::ModemStatus)?),
            }
        }
        Ok(if moved(&self.counters) == before { Turn::Stuck } else { Turn::Busy })
    }

    /// Looks whether the transmitter can take more, without an interrupt that says so.
    ///
    /// Errors: the ports were taken away.
    pub fn poll(&mut self) -> Result<(), Error> {
        self.receive()?;
        self.transmit()
    }

    /// Gives the device up: it does not do what a UART does.
    pub fn give_up(&mut self) {
        // It may not even take this.
        let _ = self.registers.enable(Enable::empty());
        self.presence = Presence::Absent;
        self.discard();
    }

    /// Receives as many bytes as the trigger level says are there, without asking before each; then what else there is.
    fn receive_level(&mut self) -> Result<(), Error> {
        let line = self.read_line()?;
        // With an error somewhere in the FIFO each byte has to be asked for.
        let errors = Line::PARITY | Line::FRAMING | Line::BREAK | Line::FIFO_ERROR;
        if line.contains(Line::DATA_READY) && !line.intersects(errors) && self.presence == Presence::Present {
            for _ in 0..spec::TRIGGER_BYTES {
                let byte = self.registers.read(Register::Data)?;
                self.keep(byte);
            }
        }
        self.receive()
    }

    fn keep(&mut self, byte: u8) {
        if self.untold == 0 && self.input.push(byte) {
            self.counters.received += 1;
        } else {
            self.counters.dropped += 1;
            self.untold += 1;
        }
    }

    fn receive(&mut self) -> Result<(), Error> {
        for _ in 0..BYTES_PER_CAUSE {
            let line = self.read_line()?;
            if !line.contains(Line::DATA_READY) || self.presence == Presence::Absent {
                break;
            }
            let byte = self.registers.read(Register::Data)?;
            if line.intersects(Line::PARITY | Line::FRAMING | Line::BREAK) {
                self.counters.line_errors += 1;
            } else {
                self.keep(byte);
            }
        }
        Ok(())
    }

    fn transmit(&mut self) -> Result<(), Error> {
        if self.presence == Presence::Present
            && self.is_sending()
            && self.read_line()?.contains(Line::TRANSMITTER_EMPTY)
        {
            for _ in 0..FIFO_BYTES {
                let Some(byte) = self.output.pop() else { break };
                self.registers.write(Register::Data, byte)?;
                self.counters.sent += 1;
            }
        }
        if self.presence == Presence::Absent {
            self.discard();
            return Ok(());
        }
        let mut wanted = self.enabled;
        wanted.set(Enable::TRANSMITTER_EMPTY, self.is_sending());
        if wanted != self.enabled {
            self.enabled = wanted;
            self.registers.enable(wanted)?;
        }
        Ok(())
    }

    /// The line's state; its errors are counted, since reading clears them.
    fn read_line(&mut self) -> Result<Line, Error> {
        let line = self.registers.line()?;
        if line.bits() == spec::ABSENT {
            // No UART is in all states at once: it is gone.
            self.presence = Presence::Absent;
        } else if line.contains(Line::OVERRUN) {
            self.counters.overruns += 1;
        }
        Ok(line)
    }

    fn discard(&mut self) {
        self.output.clear();
        self.enabled.remove(Enable::TRANSMITTER_EMPTY);
    }
}
