//! Call: one call in flight; and the right to answer it.
//!
//! ```text
//!   Idle --no receiver--> Queued --receive--> Delivered --reply, or the reply is dropped--> Idle
//!     \------receiver waits-------------------^   |
//!                        cancel (from Queued or Delivered) ------------------------------> Idle
//! ```
//!
//! Invariants: the sequence number changes whenever the call becomes Idle, so that a reply to a call that was
//! cancelled finds another number and does nothing. While Queued, the call is in its endpoint's queue.

use super::Object;
use super::account::Charge;
use super::endpoint::Endpoint;
use super::message_buffer::MessageBuffer;
use super::notification::Notification;
use super::process::Process;
use super::thread::Thread;
use crate::list::{Linked, Links};
use crate::sync::Lock;
use abi::{MAXIMUM_CAPABILITIES, MessageInfo};
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Capabilities of a message on its way.
pub type Capabilities = [Option<Object>; MAXIMUM_CAPABILITIES];

/// No capabilities.
pub const NO_CAPABILITIES: Capabilities = [const { None }; MAXIMUM_CAPABILITIES];

/// Where a call stands.
pub enum Phase {
    /// Not in flight.
    Idle,
    /// Taken by a thread that is about to start it.
    Starting,
    /// In this endpoint's queue.
    Queued(Arc<Endpoint>),
    /// A server has it.
    Delivered,
}

/// What changes as the call goes.
pub struct Inner {
    /// Where it stands.
    pub phase: Phase,
    /// The thread that waits for the answer, for a thread's own call.
    pub client: Option<Arc<Thread>>,
    /// Interface id of the request.
    pub interface: u64,
    /// Counts of the request.
    pub info: MessageInfo,
    /// Priority of the caller.
    pub priority: u8,
}

/// Who hears that the call is complete.
pub enum Completion {
    /// The thread that owns the call, which waits in the kernel.
    Thread,
    /// A process with an executor, by signal.
    Signal {
        /// Whose handle table takes the answer's capabilities.
        process: Weak<Process>,
        /// What is signalled.
        notification: Arc<Notification>,
        /// The bits that are set.
        bits: u64,
        /// Where the buffer is mapped.
        address: u64,
        /// Kernel memory of the call.
        _charge: Charge,
    },
}

/// One call in flight.
pub struct Call {
    /// Number of this object in inventories.
    pub id: u64,
    /// Its message buffer.
    pub buffer: MessageBuffer,
    /// Who hears of the completion.
    pub completion: Completion,
    badge: AtomicU64,
    /// Which use of the call this is; changes under the lock.
    sequence: AtomicU32,
    inner: Lock<Inner>,
    /// Capabilities of the message that is on its way: of the request, then of the answer.
    capabilities: Lock<Capabilities>,
    links: Links<Self>,
}

// SAFETY: `links` is one field, used only by endpoint queues under their lock.
unsafe impl Linked for Call {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

impl Call {
    /// The call that a thread owns for its synchronous calls.
    pub fn of_thread(buffer: MessageBuffer) -> Self {
        Self::new(buffer, Completion::Thread)
    }

    /// A call in no flight.
    pub fn new(buffer: MessageBuffer, completion: Completion) -> Self {
        Self {
            id: super::new_id(),
            buffer,
            completion,
            badge: AtomicU64::new(0),
            sequence: AtomicU32::new(0),
            inner: Lock::new(Inner {
                phase: Phase::Idle,
                client: None,
                interface: 0,
                info: MessageInfo(0),
                priority: 0,
            }),
            capabilities: Lock::new(NO_CAPABILITIES),
            links: Links::new(),
        }
    }

    /// Its changing part.
    #[inline(always)]
    pub fn lock(&self) -> spin::mutex::SpinMutexGuard<'_, Inner, crate::sync::AnswerShootdowns> {
        self.inner.lock()
    }

    /// Badge of the facet that was called.
    #[inline]
    pub fn badge(&self) -> u64 {
        self.badge.load(Ordering::Relaxed)
    }

    /// Notes the badge, before the call is queued.
    #[inline]
    pub fn set_badge(&self, badge: u64) {
        self.badge.store(badge, Ordering::Relaxed);
    }

    /// Which use of the call the next delivery is. Only for who has started it or taken it out of a queue.
    #[inline]
    pub fn sequence(&self) -> u32 {
        self.sequence.load(Ordering::Relaxed)
    }

    /// Takes an idle call to start it; `false` when it is in flight.
    pub fn begin(&self) -> bool {
        let mut inner = self.lock();
        let idle = matches!(inner.phase, Phase::Idle);
        if idle {
            inner.phase = Phase::Starting;
        }
        idle
    }

    /// The call that [`Self::begin`] took was not started, or is complete.
    pub fn end(&self) {
        self.lock().phase = Phase::Idle;
    }

    /// Attaches the capabilities of a message.
    #[cold]
    pub fn set_capabilities(&self, capabilities: Capabilities) {
        let previous = core::mem::replace(&mut *self.capabilities.lock(), capabilities);
        drop(previous);
    }

    /// Takes one of the attached capabilities.
    pub fn take_capability(&self, index: usize) -> Option<Object> {
        self.capabilities.lock().get_mut(index).and_then(Option::take)
    }

    /// Drops what is attached.
    #[cold]
    pub fn clear_capabilities(&self) {
        self.set_capabilities(NO_CAPABILITIES);
    }

    /// Gives the call up, wherever it is; `None` when it is in no flight. Within: the thread that waited for it, if one did.
    pub fn cancel(&self) -> Option<Option<Arc<Thread>>> {
        loop {
            let endpoint = {
                let mut inner = self.lock();
                match &inner.phase {
                    Phase::Idle | Phase::Starting => return None,
                    Phase::Delivered => return Some(self.finish(&mut inner)),
                    Phase::Queued(endpoint) => endpoint.clone(),
                }
            };
            // The endpoint's lock comes before the call's.
            let mut queue = endpoint.lock();
            let mut inner = self.lock();
            let Phase::Queued(now) = &inner.phase else { continue };
            if !Arc::ptr_eq(now, &endpoint) {
                continue;
            }
            let entry = queue.queue.remove(self);
            let client = self.finish(&mut inner);
            drop(inner);
            drop(queue);
            drop(entry);
            self.clear_capabilities();
            return Some(client);
        }
    }

    /// The call is over: a reply to this use of it no longer counts. Returns the thread that waits.
    #[inline]
    pub fn finish(&self, inner: &mut Inner) -> Option<Arc<Thread>> {
        // The endpoint in `Queued` is referenced by its server or by the facet that was called.
        inner.phase = Phase::Idle;
        self.sequence.store(self.sequence().wrapping_add(1), Ordering::Relaxed);
        inner.client.take()
    }
}
