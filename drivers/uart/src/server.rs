//! The interfaces `Console` and `ConsoleSession`.

use crate::{
    driver::{Driver, SessionNumber},
    init::Presence,
    terminal::Source,
};
use alloc::{format, rc::Rc};
use capnp::Error;
use core::cell::Cell;
use schema::console_capnp::{console, console_session};

/// Most bytes of one call of `write`.
const MAXIMUM_WRITE: usize = 1024;

/// The capability that is exported.
pub fn serve(driver: &Rc<Driver>) -> console::Client {
    rt::serve(Rc::new(ConsoleServer { driver: Rc::clone(driver) }))
}

struct ConsoleServer {
    driver: Rc<Driver>,
}

impl console::Server for ConsoleServer {
    async fn open(
        self: Rc<Self>,
        _: console::OpenParams,
        mut results: console::OpenResults,
    ) -> Result<(), Error> {
        let number = self.driver.open().await?;
        let session =
            Session { driver: Rc::clone(&self.driver), number, reading: Rc::new(Cell::new(Reading::No)) };
        results.get().set_session(rt::serve(Rc::new(session)));
        Ok(())
    }

    async fn info(
        self: Rc<Self>,
        _: console::InfoParams,
        mut results: console::InfoResults,
    ) -> Result<(), Error> {
        let (presence, counters, interrupts) = self.driver.status();
        let mut info = results.get();
        info.set_driver("16550");
        info.set_present(presence == Presence::Present);
        let mut to = info.init_counters();
        to.set_received_bytes(counters.received);
        to.set_sent_bytes(counters.sent);
        to.set_dropped_bytes(counters.dropped);
        to.set_overruns(counters.overruns);
        to.set_line_errors(counters.line_errors);
        to.set_interrupts(interrupts);
        Ok(())
    }
}

/// Whether a call waits for input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    No,
    Yes,
}

/// One session; dropped when its client lets go of it or dies.
struct Session {
    driver: Rc<Driver>,
    number: SessionNumber,
    reading: Rc<Cell<Reading>>,
}

/// Ends the reading when its call is answered or dropped.
struct Turn(Rc<Cell<Reading>>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.set(Reading::No);
    }
}

impl console_session::Server for Session {
    async fn write(
        self: Rc<Self>,
        params: console_session::WriteParams,
        _: console_session::WriteResults,
    ) -> Result<(), Error> {
        let data = params.get()?.get_data()?;
        if data.len() > MAXIMUM_WRITE {
            return Err(Error::failed(format!("{} bytes are more than {MAXIMUM_WRITE}", data.len())));
        }
        self.driver.write(self.number, |terminal| terminal.output(Source::Client, data)).await
    }

    async fn read(
        self: Rc<Self>,
        _: console_session::ReadParams,
        mut results: console_session::ReadResults,
    ) -> Result<(), Error> {
        if self.reading.replace(Reading::Yes) == Reading::Yes {
            return Err(Error::overloaded("another call waits for input".into()));
        }
        let (_turn, driver, number) = (Turn(Rc::clone(&self.reading)), Rc::clone(&self.driver), self.number);
        // A call of a client that died must not keep its session.
        drop(self);
        let (bytes, dropped) = driver.read(number).await?;
        let mut answer = results.get();
        answer.set_data(&bytes);
        answer.set_dropped(dropped);
        Ok(())
    }

    async fn set_line(
        self: Rc<Self>,
        params: console_session::SetLineParams,
        _: console_session::SetLineResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let (text, cursor) = (params.get_text()?.as_bytes(), usize::from(params.get_cursor()));
        self.driver.write(self.number, |terminal| terminal.set_line(text, cursor)).await
    }

    async fn end_line(
        self: Rc<Self>,
        _: console_session::EndLineParams,
        _: console_session::EndLineResults,
    ) -> Result<(), Error> {
        self.driver.write(self.number, |terminal| terminal.end_line()).await
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let (driver, number) = (Rc::clone(&self.driver), self.number);
        rt::spawn(async move { driver.close(number).await });
    }
}
