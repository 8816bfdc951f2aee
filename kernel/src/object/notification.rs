//! Notification: 64 signal bits that one thread waits on; Signaller: the right to set some of them.
//!
//! The waiter publishes that it waits and then looks at the bits; a signaller sets bits and then
//! looks whether somebody waits. Both in sequentially consistent order, so that at least one sees the other.

use super::Object;
use super::account::Charge;
use super::thread::Thread;
use crate::error::Error;
use crate::message::{Answer, Params};
use crate::sync::Lock;
use alloc::sync::Arc;
use capnp::traits::HasTypeId;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use schema::ipc_capnp::{notification, signaller};

/// Signal bits, bound to one thread for its life.
pub struct Notification {
    /// Number of this object in inventories.
    pub id: u64,
    bits: AtomicU64,
    /// Whether the thread is about to wait or waits; written under the thread's state lock.
    waiting: AtomicBool,
    thread: Lock<Option<Arc<Thread>>>,
}

/// The right to set fixed bits of a notification.
pub struct Signaller {
    /// Number of this object in inventories.
    pub id: u64,
    notification: Arc<Notification>,
    bits: u64,
    _charge: Charge,
}

impl Notification {
    /// No bits set, no thread.
    pub fn new() -> Self {
        Self {
            id: super::new_id(),
            bits: AtomicU64::new(0),
            waiting: AtomicBool::new(false),
            thread: Lock::new(None),
        }
    }

    /// Binds it to its thread, or unbinds it when the thread has ended.
    pub fn bind(&self, thread: Option<Arc<Thread>>) {
        let previous = core::mem::replace(&mut *self.thread.lock(), thread);
        drop(previous);
    }

    /// Sets bits. Returns the thread if this woke it: it is then the caller's to run or to make ready.
    #[inline]
    pub fn signal(&self, bits: u64) -> Option<Arc<Thread>> {
        self.bits.fetch_or(bits, Ordering::SeqCst);
        if !self.waiting.load(Ordering::SeqCst) {
            return None;
        }
        let thread = self.thread.lock().clone()?;
        if thread.wake_for_signals() { Some(thread) } else { None }
    }

    /// Takes all bits.
    #[inline]
    pub fn take(&self) -> u64 {
        if self.bits.load(Ordering::Relaxed) == 0 { 0 } else { self.bits.swap(0, Ordering::SeqCst) }
    }

    /// Clears bits.
    #[inline]
    pub fn clear(&self, bits: u64) {
        self.bits.fetch_and(!bits, Ordering::SeqCst);
    }

    /// Says that the thread is about to wait; `false` when a bit is set, so that it must not.
    #[inline]
    pub fn begin_wait(&self) -> bool {
        self.waiting.store(true, Ordering::SeqCst);
        let nothing = self.bits.load(Ordering::SeqCst) == 0;
        if !nothing {
            self.end_wait();
        }
        nothing
    }

    /// Says that the thread no longer waits.
    #[inline]
    pub fn end_wait(&self) {
        self.waiting.store(false, Ordering::Relaxed);
    }
}

impl Signaller {
    /// Sets its bits; see [`Notification::signal`].
    #[inline]
    pub fn signal(&self) -> Option<Arc<Thread>> {
        self.notification.signal(self.bits)
    }
}

/// Serves `Notification`.
pub fn invoke_notification(
    object: &Arc<Notification>,
    params: &Params,
    answer: &mut Answer,
) -> Result<(), Error> {
    params.expect_interface(notification::Client::TYPE_ID)?;
    match params.method() {
        0 => {
            let bits = params.root::<notification::signaller_params::Owned>()?.get_bits();
            let charge = Charge::object::<Signaller>(params.account())?;
            answer.root::<notification::signaller_results::Owned>()?;
            let signaller =
                Signaller { id: super::new_id(), notification: object.clone(), bits, _charge: charge };
            answer.capability(0, Object::Signaller(Arc::new(signaller)))
        }
        _ => Err(Error::NO_METHOD),
    }
}

/// Serves `Signaller`.
pub fn invoke_signaller(object: &Arc<Signaller>, params: &Params, answer: &mut Answer) -> Result<(), Error> {
    params.expect_interface(signaller::Client::TYPE_ID)?;
    match params.method() {
        0 => {
            if let Some(thread) = object.signal() {
                crate::scheduler::make_ready(thread);
            }
            answer.root::<signaller::signal_results::Owned>()?;
            Ok(())
        }
        _ => Err(Error::NO_METHOD),
    }
}
