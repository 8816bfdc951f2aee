//! The clients' doorbells: signal bits are few and streams many, so the streams share a handful of bits in groups.

use alloc::vec::Vec;

use capnp::Error;
use rt::{Signal, SignalSet};
use schema::ipc_capnp::signaller;

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

    /// All signals, with another one.
    pub fn set_with(&self, signal: &Signal) -> SignalSet {
        self.0.iter().fold(signal.set(), SignalSet::with)
    }

    /// The groups whose clients have rung since this was last asked.
    pub fn take_rung(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().filter(|(_, signal)| signal.try_take()).map(|(group, _)| group)
    }

    /// What the client of a connection rings.
    pub fn signaller(&self, id: Id) -> Result<signaller::Client, Error> {
        let signal = self.0.get(id.index() % GROUPS);
        signal.map(Signal::signaller).ok_or_else(|| Error::failed("no such group of streams".into()))
    }
}
