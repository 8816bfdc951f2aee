//! Bits of this thread's notification: how interrupts, doorbells and exits reach a task.
use alloc::vec::Vec;
use core::{
    cell::{Cell, RefCell},
    future::poll_fn,
    task::{Context, Poll, Waker},
};

use abi::Status;
use capnp::{Error, capability::FromClientHook};
use schema::ipc_capnp::signaller;

use crate::{
    calls::COMPLETION_BITS, capability, client::Remote, executor, kernel, runtime::runtime, syscall,
};

/// Signals of a process at most.
pub const SIGNALS: usize = 32;

/// The signal bits of this process: the upper half of the thread's notification.
pub(crate) struct Signals {
    /// Bits that no [`Signal`] has.
    free: Cell<u32>,
    /// Bits that were set and not yet waited for.
    arrived: Cell<u32>,
    /// Tasks that wait, or did.
    waiting: RefCell<Vec<Waiting>>,
}

/// A task that waits for signals. What is over is kept, for the task mostly waits for the same ones again.
struct Waiting {
    /// For which bits.
    mask: u32,
    waker: Waker,
    over: bool,
}

impl Waiting {
    /// Wakes the task if it waits for one of the bits.
    fn hear(&mut self, bits: u32) {
        if bits & self.mask != 0 && !self.over {
            self.over = true;
            self.waker.wake_by_ref();
        }
    }
}

impl Signals {
    pub(crate) const fn new() -> Self {
        Self { free: Cell::new(u32::MAX), arrived: Cell::new(0), waiting: RefCell::new(Vec::new()) }
    }

    /// Notes bits that the kernel delivered, and wakes who waits for them.
    #[inline]
    pub(crate) fn arrived(&self, bits: u32) {
        if bits != 0 {
            self.hear(bits);
        }
    }

    #[inline(never)]
    fn hear(&self, bits: u32) {
        self.arrived.set(self.arrived.get() | bits);
        for waiting in &mut *self.waiting.borrow_mut() {
            waiting.hear(bits);
        }
    }
}

/// One bit of this thread's notification; freed on drop.
///
/// Signals count as one until they are waited for. A bit is reused after a drop: what was handed out and
/// still signals then wakes the bit's next owner, so a wait means "look", and not "it happened".
pub struct Signal {
    bit: u32,
    signaller: signaller::Client,
}

impl Signal {
    /// Takes a free bit. Errors: `overloaded` when none is left; what the kernel says.
    // Async by contract, although the kernel answers at once today.
    #[expect(clippy::unused_async, reason = "who makes notifications may one day be another process")]
    pub async fn new() -> Result<Self, Error> {
        let signals = &runtime().signals;
        let bit = signals.free.get().trailing_zeros();
        if bit == u32::BITS {
            return Err(Error::overloaded("all signal bits of this process are taken".into()));
        }
        let handle = kernel::signaller(1 << (bit + COMPLETION_BITS))?;
        signals.free.set(signals.free.get() & !(1 << bit));
        signals.arrived.set(signals.arrived.get() & !(1 << bit));
        Ok(Self { bit, signaller: FromClientHook::new(Remote::client(handle)) })
    }

    /// The capability that sets this bit; to be handed out.
    pub fn signaller(&self) -> signaller::Client {
        self.signaller.clone()
    }

    /// Completes when the bit was set since the last wait.
    pub async fn wait(&self) {
        poll_fn(|context| {
            if self.try_take() {
                return Poll::Ready(());
            }
            self.set().poll(context)
        })
        .await;
    }

    /// This signal alone.
    pub fn set(&self) -> SignalSet {
        SignalSet(1 << self.bit)
    }

    /// Its number among this process's signals, below [`SIGNALS`].
    pub fn number(&self) -> usize {
        self.bit as usize
    }

    /// Whether the bit was set since the last wait; takes it.
    pub fn try_take(&self) -> bool {
        self.set().try_take() != SignalSet::default()
    }
}

/// Some signals that one task waits for together, at the cost of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalSet(u32);

impl SignalSet {
    /// With another signal. It must live as long as the set is used: after a drop the set means the bit's next owner.
    #[must_use]
    pub fn with(self, signal: &Signal) -> Self {
        Self(self.0 | 1 << signal.bit)
    }

    /// Takes the bits that were set since the last wait; returns them.
    #[must_use]
    pub fn try_take(self) -> Self {
        let arrived = &runtime().signals.arrived;
        let bits = arrived.get();
        arrived.set(bits & !self.0);
        Self(bits & self.0)
    }

    /// The numbers of the signals.
    pub fn numbers(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        core::iter::from_fn(move || {
            let number = left.trailing_zeros() as usize;
            // Takes the lowest bit away.
            left &= left.checked_sub(1)?;
            Some(number)
        })
    }

    /// Ready when one of the bits was set and not yet taken by [`Signal::try_take`]; else the task is woken when one is.
    #[inline]
    pub fn poll(self, context: &Context<'_>) -> Poll<()> {
        let signals = &runtime().signals;
        if signals.arrived.get() & self.0 != 0 {
            return Poll::Ready(());
        }
        let mut waiting = signals.waiting.borrow_mut();
        let again = |known: &&mut Waiting| known.mask == self.0 && known.waker.will_wake(context.waker());
        match waiting.iter_mut().find(again) {
            Some(known) => known.over = false,
            None => {
                let new = Waiting { mask: self.0, waker: context.waker().clone(), over: false };
                match waiting.iter_mut().find(|known| known.over) {
                    Some(place) => *place = new,
                    None => waiting.push(new),
                }
            }
        }
        Poll::Pending
    }

    /// Completes when one of the bits was set and not yet taken.
    pub async fn wait(self) {
        poll_fn(|context| self.poll(context)).await;
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        let signals = &runtime().signals;
        signals.free.set(signals.free.get() | 1 << self.bit);
        // Who waits for others as well is asked to look; the next owner is told nothing.
        signals.hear(1 << self.bit);
        signals.arrived.set(signals.arrived.get() & !(1 << self.bit));
    }
}

/// Sets the bits of a signaller by the system call, without a message.
///
/// Where a process stands in for the kernel's signaller it is called by a message. A signaller that is gone is no
/// error: who would have been told is gone too. Who rings the same one often keeps a [`Doorbell`].
pub fn ring_doorbell(signaller: &signaller::Client) {
    if ring(signaller).is_none() {
        call(signaller);
    }
}

/// A signaller that is rung often, mostly as the last thing before waiting: the two are one system call then.
pub struct Doorbell {
    signaller: signaller::Client,
    /// Its handle, once that has proved to be one of the kernel's signallers.
    handle: Cell<Option<u32>>,
}

impl Doorbell {
    /// Has the signaller's bits set before this task or another one goes on after a wait.
    #[inline]
    pub fn ring(&self) {
        match self.handle.get() {
            Some(handle) => runtime().pending.signal(handle),
            None => match ring(&self.signaller) {
                Some(handle) => self.handle.set(Some(handle)),
                None => call(&self.signaller),
            },
        }
    }
}

impl From<signaller::Client> for Doorbell {
    fn from(signaller: signaller::Client) -> Self {
        Self { signaller, handle: Cell::new(None) }
    }
}

impl Drop for Doorbell {
    fn drop(&mut self) {
        // The handle is closed with the client.
        if let Some(handle) = self.handle.get() {
            runtime().pending.let_go(handle);
        }
    }
}

/// Sets the bits of a signaller that is the kernel's; its handle, which is the client's for as long as that lives.
fn ring(signaller: &signaller::Client) -> Option<u32> {
    let hook = signaller.as_client_hook();
    // Local objects have no handle, and are not given one for this.
    if hook.get_brand() == capability::LOCAL {
        return None;
    }
    let handle = capability::handle_of(hook).ok().flatten()?;
    matches!(syscall::signal(handle), Status::Ok | Status::Disconnected).then_some(handle)
}

#[cold]
fn call(signaller: &signaller::Client) {
    let promise = signaller.signal_request().send().promise;
    executor::spawn(async move {
        if let Err(error) = promise.await {
            log::debug!("a doorbell was not rung: {error}");
        }
    });
}
