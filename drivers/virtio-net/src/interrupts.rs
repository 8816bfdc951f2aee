//! Waiting for the device and the client, and keeping the device's interrupts alive.

use capnp::Error;
use core::{cell::Cell, time::Duration};
use rt::{Signal, SignalSet};
use schema::{device_capnp::interrupt, ipc_capnp::signaller};
use virtio::{InterruptPlan, Interrupts};

/// After how many interrupts the kernel is told that all is well. It masks a message interrupt after 1024 without a
/// word, and this process may have seen several as one.
const ACKNOWLEDGE_EVERY: u32 = 256;
/// After how long it is told at the next one.
const ACKNOWLEDGE_AFTER: Duration = Duration::from_millis(100);

/// What happened while this process slept; each means "look".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wake {
    /// The device may have used buffers.
    pub queues: bool,
    /// The device's configuration may have changed.
    pub config: bool,
    /// The client rang.
    pub client: bool,
}

/// The signals that the data path waits for.
pub struct Bells {
    interrupts: Interrupts,
    queues: Signal,
    /// Only where changes of the configuration have a vector of their own.
    config: Option<Signal>,
    client: Signal,
    all: SignalSet,
    seen: Cell<u64>,
    unacknowledged: Cell<u32>,
    /// When the kernel was told last.
    acknowledged_at: Cell<Duration>,
}

impl Bells {
    /// Binds the device's interrupts.
    pub async fn new(interrupts: Interrupts) -> Result<Self, Error> {
        let queues = Signal::new().await?;
        bind(interrupts.queues(), &queues).await?;
        let config = match interrupts.plan() {
            InterruptPlan::TwoVectors => {
                let signal = Signal::new().await?;
                bind(interrupts.config(), &signal).await?;
                Some(signal)
            }
            InterruptPlan::OneVector | InterruptPlan::Line => None,
        };
        let client = Signal::new().await?;
        let all = queues.set().with(&client);
        let all = config.as_ref().map_or(all, |config| all.with(config));
        let (seen, unacknowledged, acknowledged_at) = (Cell::new(0), Cell::new(0), Cell::new(rt::now()));
        Ok(Self { interrupts, queues, config, client, all, seen, unacknowledged, acknowledged_at })
    }

    /// The client's way to ring.
    pub fn doorbell(&self) -> signaller::Client {
        self.client.signaller()
    }

    /// How events come in.
    pub fn plan(&self) -> InterruptPlan {
        self.interrupts.plan()
    }

    /// Interrupts that were seen; several at once count as one.
    pub fn seen(&self) -> u64 {
        self.seen.get()
    }

    /// Sleeps until something happens.
    pub async fn wait(&self) -> Wake {
        self.all.wait().await;
        let (queues, client) = (self.queues.try_take(), self.client.try_take());
        let config = self.config.as_ref().is_some_and(Signal::try_take);
        if queues || config {
            self.seen.set(self.seen.get() + 1);
        }
        Wake { queues, config, client }
    }

    /// Tells the kernel, now and then, that message interrupts are being served; to be asked at each.
    pub async fn keep_alive(&self) {
        let unacknowledged = self.unacknowledged.get() + 1;
        self.unacknowledged.set(unacknowledged);
        if unacknowledged >= ACKNOWLEDGE_EVERY
            || rt::now().saturating_sub(self.acknowledged_at.get()) >= ACKNOWLEDGE_AFTER
        {
            rt::rare(self.acknowledge()).await;
        }
    }

    /// Acknowledges all interrupts; for a line this unmasks it.
    pub async fn acknowledge(&self) {
        self.unacknowledged.set(0);
        self.acknowledged_at.set(rt::now());
        for interrupt in [self.interrupts.queues(), self.interrupts.config()].into_iter().flatten() {
            if let Err(error) = interrupt.acknowledge_request().send().promise.await {
                log::warn!("an interrupt cannot be acknowledged: {error}");
            }
            if self.plan() != InterruptPlan::TwoVectors {
                break;
            }
        }
    }
}

async fn bind(interrupt: Option<&interrupt::Client>, signal: &Signal) -> Result<(), Error> {
    let interrupt = interrupt.ok_or_else(|| Error::failed("the function has no interrupt".into()))?;
    let mut request = interrupt.bind_request();
    request.get().set_signaller(signal.signaller());
    request.send().promise.await?;
    Ok(())
}
