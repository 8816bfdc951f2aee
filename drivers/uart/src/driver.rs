//! The tasks around the device: interrupts, clients and the log, which share it piece by piece.

use crate::{
    Counters, Presence, Uart,
    device::Turn,
    terminal::{MAXIMUM_PIECE, Source, Terminal},
};
use alloc::{rc::Rc, vec::Vec};
use capnp::Error;
use core::{
    cell::{Cell, RefCell},
    convert::Infallible,
    future::pending,
    pin::pin,
    time::Duration,
};
use rt::{Ports, Signal};
use schema::device_capnp::interrupt;
use tasks::{Event, Turnstile, any};

/// Most bytes of input in one answer.
const INPUT_PER_ANSWER: usize = 512;

/// After so long without the interrupt that the transmitter owes, the device is looked at. 16 bytes take 1.4 ms.
const PATIENCE: Duration = Duration::from_millis(5);
/// That time doubles up to this while nothing moves: the line may be held up at its other end.
const MAXIMUM_PATIENCE: Duration = Duration::from_secs(1);
/// Pause when there is more to do than one turn does: a device that never ends takes a bounded part of the processor. The
/// FIFO outlasts it.
const PAUSE: Duration = Duration::from_millis(1);
/// Turns in a row with an interrupt that nothing ends, after which the device is given up.
const MAXIMUM_STUCK: u32 = 100;

/// Tells sessions apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionNumber(u64);

/// The device, the terminal behind it, and who waits for them.
pub struct Driver {
    uart: RefCell<Uart<Ports>>,
    terminal: RefCell<Terminal>,
    interrupt: interrupt::Client,
    signal: Signal,
    interrupts: Cell<u64>,
    session: Cell<u64>,
    /// One piece at a time, so that pieces come in the order in which they were asked for.
    writing: Turnstile,
    /// Bytes came or went, or a session ended.
    moved: Event,
    /// Output waits for the transmitter.
    started: Event,
}

impl Driver {
    /// A driver whose interrupt is bound.
    ///
    /// Errors: what the kernel says.
    pub async fn new(uart: Uart<Ports>, interrupt: interrupt::Client) -> Result<Rc<Self>, Error> {
        let signal = Signal::new().await?;
        let mut request = interrupt.bind_request();
        request.get().set_signaller(signal.signaller());
        request.send().promise.await?;
        Ok(Rc::new(Self {
            uart: RefCell::new(uart),
            terminal: RefCell::default(),
            interrupt,
            signal,
            interrupts: Cell::new(0),
            session: Cell::new(0),
            writing: Turnstile::default(),
            moved: Event::default(),
            started: Event::default(),
        }))
    }

    /// Whether there is a device, what it counted, and its interrupts.
    pub fn status(&self) -> (Presence, Counters, u64) {
        let uart = self.uart.borrow();
        (uart.presence(), uart.counters(), self.interrupts.get())
    }

    /// Serves the device's interrupts.
    ///
    /// Errors: the kernel took something away.
    pub async fn run(&self) -> Result<Infallible, Error> {
        let (mut patience, mut before) = (PATIENCE, 0);
        loop {
            // What was pending before the interrupt was bound, or struck while it was masked, gives no edge any more.
            self.serve().await?;
            let (sending, sent) = (self.uart.borrow().is_sending(), self.uart.borrow().sent());
            let is_held_up = sending && sent == before;
            patience = if is_held_up { (patience * 2).min(MAXIMUM_PATIENCE) } else { PATIENCE };
            before = sent;
            let interrupt = pin!(self.signal.wait());
            let started = pin!(async {
                if sending {
                    pending().await
                } else {
                    self.started.until(|| self.uart.borrow().is_sending().then_some(())).await
                }
            });
            let late = pin!(async { if sending { rt::sleep(patience).await } else { pending().await } });
            let [struck, _, late] = any([interrupt, started, late]).await;
            if struck {
                self.interrupts.set(self.interrupts.get() + 1);
            } else if late {
                self.uart.borrow_mut().poll()?;
                self.moved.notify();
            }
        }
    }

    /// Handles all that is pending, and lets the next interrupt through.
    async fn serve(&self) -> Result<(), Error> {
        let mut stuck = 0;
        loop {
            let turn = self.uart.borrow_mut().turn()?;
            self.moved.notify();
            match turn {
                Turn::Quiet => break,
                Turn::Busy => stuck = 0,
                Turn::Stuck if stuck == MAXIMUM_STUCK => {
                    self.uart.borrow_mut().give_up();
                    log::warn!("the UART is given up: an interrupt of it does not end");
                }
                Turn::Stuck => stuck += 1,
            }
            rt::sleep(PAUSE).await;
        }
        self.interrupt.acknowledge_request().send().promise.await?;
        // An edge between the last look and the acknowledgement was not seen.
        let turn = self.uart.borrow_mut().turn()?;
        if turn != Turn::Quiet {
            rt::ring_doorbell(&self.signal.signaller());
        }
        self.moved.notify();
        Ok(())
    }

    /// Writes one piece when there is room for it. Answers what the count of bytes sent will be when it is out.
    ///
    /// Errors: the ports were taken away.
    async fn put(&self, compose: impl FnOnce(&mut Terminal) -> Result<Vec<u8>, Error>) -> Result<u64, Error> {
        let _pass = self.writing.enter().await;
        self.moved.until(|| (self.uart.borrow().room() >= MAXIMUM_PIECE).then_some(())).await;
        let bytes = compose(&mut self.terminal.borrow_mut())?;
        let mut uart = self.uart.borrow_mut();
        uart.push(&bytes)?;
        let (end, sending) = (uart.output_end(), uart.is_sending());
        drop(uart);
        if sending {
            self.started.notify();
        }
        Ok(end)
    }

    /// Writes lines of the log, and waits until they have gone to the device.
    ///
    /// Errors: the ports were taken away.
    pub async fn write_log(&self, text: &[u8]) -> Result<(), Error> {
        let end = self.put(|terminal| Ok(terminal.output(Source::Log, text))).await?;
        self.moved.until(|| (self.uart.borrow().sent() >= end).then_some(())).await;
        Ok(())
    }

    /// Begins a session, which ends the one before.
    ///
    /// Errors: the ports were taken away.
    pub async fn open(&self) -> Result<SessionNumber, Error> {
        let number = SessionNumber(self.session.get() + 1);
        self.session.set(number.0);
        self.moved.notify();
        // What was typed for another is not for this one.
        self.uart.borrow_mut().clear_input();
        self.put(|terminal| Ok(terminal.set_line(&[], 0))).await?;
        Ok(number)
    }

    /// Ends a session, if it is the present one.
    pub async fn close(&self, session: SessionNumber) {
        if self.check(session).is_ok() {
            self.session.set(session.0 + 1);
            self.moved.notify();
            // With the ports goes the process.
            let _ = self.put(|terminal| Ok(terminal.set_line(&[], 0))).await;
        }
    }

    fn check(&self, session: SessionNumber) -> Result<(), Error> {
        if self.session.get() == session.0 {
            Ok(())
        } else {
            Err(Error::disconnected("the session has ended".into()))
        }
    }

    /// Writes one piece for a session when there is room for it.
    ///
    /// Errors: `disconnected` when the session has ended.
    pub async fn write(
        &self,
        session: SessionNumber,
        compose: impl FnOnce(&mut Terminal) -> Vec<u8>,
    ) -> Result<(), Error> {
        self.put(|terminal| self.check(session).map(|()| compose(terminal))).await?;
        Ok(())
    }

    /// Waits for input; the bytes, and how many were lost before them.
    ///
    /// Errors: `disconnected` when the session has ended.
    pub async fn read(&self, session: SessionNumber) -> Result<(Vec<u8>, u64), Error> {
        let look = || match self.check(session) {
            Err(error) => Some(Err(error)),
            Ok(()) if self.uart.borrow().has_input() => {
                Some(Ok(self.uart.borrow_mut().take_input(INPUT_PER_ANSWER)))
            }
            Ok(()) => None,
        };
        self.moved.until(look).await
    }
}
