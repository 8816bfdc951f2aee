//! The clients' doorbells: signal bits are few and streams many, so the streams share a handful of bits in groups.

use alloc::vec::Vec;

use capnp::Error;
use rt::{SIGNALS, Signal, SignalSet};
use schema::ipc_capnp::signaller;

use crate::table::Id;

/// Groups of streams, each with a signal bit of its own. When a bit is set, the streams of that group are looked at.
pub const GROUPS: usize = 16;

/// The signal of each group.
pub struct Groups {
    signals: Vec<Signal>,
    all: SignalSet,
    /// The group of each of this process's signals that is one's.
    of_signal: [usize; SIGNALS],
}

impl Groups {
    /// Takes the signal bits.
    pub async fn new() -> Result<Self, Error> {
        let mut signals = Vec::with_capacity(GROUPS);
        let mut of_signal = [0; SIGNALS];
        for group in 0..GROUPS {
            let signal = Signal::new().await?;
            if let Some(place) = of_signal.get_mut(signal.number()) {
                *place = group;
            }
            signals.push(signal);
        }
        let all = signals.iter().fold(SignalSet::default(), SignalSet::with);
        Ok(Self { signals, all, of_signal })
    }

    /// All signals, with another one.
    pub fn set_with(&self, signal: &Signal) -> SignalSet {
        self.all.with(signal)
    }

    /// The groups whose clients have rung since this was last asked.
    pub fn take_rung(&self) -> impl Iterator<Item = usize> + '_ {
        self.all.try_take().numbers().filter_map(|number| self.of_signal.get(number).copied())
    }

    /// What the client of a connection rings.
    pub fn signaller(&self, id: Id) -> Result<signaller::Client, Error> {
        let signal = self.signals.get(id.index() % GROUPS);
        signal.map(Signal::signaller).ok_or_else(|| Error::failed("no such group of streams".into()))
    }
}
