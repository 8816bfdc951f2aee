//! The clients' doorbells: signal bits are few and streams many, so the streams share a handful of bits in groups.

use alloc::{rc::Rc, vec::Vec};

use capnp::Error;
use rt::Signal;
use schema::ipc_capnp::signaller;

use super::Service;
use crate::table::Id;

/// Groups of streams, each with a signal bit of its own. When a bit is set, the streams of that group are looked at.
pub const GROUPS: usize = 8;

/// The signal of each group.
pub struct Groups(Vec<Signal>);

impl Groups {
    /// Takes the signal bits.
    pub async fn new() -> Result<Self, Error> {
        let mut signals = Vec::with_capacity(GROUPS);
        for _ in 0..GROUPS {
            signals.push(Signal::new().await?);
        }
        Ok(Self(signals))
    }

    /// What the client of a connection rings.
    pub fn signaller(&self, id: Id) -> Result<signaller::Client, Error> {
        let signal = self.0.get(id.index() % GROUPS);
        signal.map(Signal::signaller).ok_or_else(|| Error::failed("no such group of streams".into()))
    }
}

/// Has the streams of one group looked at whenever its doorbell rings.
pub async fn watch(service: Rc<Service>, group: usize) {
    let Some(signal) = service.streams.0.get(group) else { return };
    loop {
        signal.wait().await;
        service.stack.borrow_mut().streams_rang(group, GROUPS);
        service.kick();
    }
}
