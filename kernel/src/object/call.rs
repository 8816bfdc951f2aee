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
use core::sync::atomic::{AtomicU64, Ordering};

/// Capabilities of a message on its way.
pub type Capabilities = [Option<Object>; MAXIMUM_CAPABILITIES];

/// No capabilities.
pub const NO_CAPABILITIES: Capabilities = [const { None }; MAXIMUM_CAPABILITIES];

/// Where a call stands.
pub enum Phase {
    /// Not in flight.
    Idle,
    /// In this endpoint's queue.
    Queued(Arc<Endpoint>),
    /// A server has it.
    Delivered,
}

/// What changes as the call goes.
pub struct Inner {
    /// Where it stands.
    pub phase: Phase,
    /// Which use of the call this is.
    pub sequence: u32,
    /// The thread that waits for the answer, for a thread's own call.
    pub client: Option<Arc<Thread>>,
    /// Interface id of the request.
    pub interface: u64,
    /// Counts of the request.
    pub info: MessageInfo,
    /// Capabilities of the request, while it is queued.
    pub capabilities: Capabilities,
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
    inner: Lock<Inner>,
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
            inner: Lock::new(Inner {
                phase: Phase::Idle,
                sequence: 0,
                client: None,
                interface: 0,
                info: MessageInfo(0),
                capabilities: NO_CAPABILITIES,
                priority: 0,
            }),
            links: Links::new(),
        }
    }

    /// Its changing part.
    #[inline]
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

    /// Gives the call up, wherever it is. Returns the thread that waited for it, if one did.
    pub fn cancel(&self) -> Option<Arc<Thread>> {
        loop {
            let endpoint = {
                let mut inner = self.lock();
                match &inner.phase {
                    Phase::Idle => return None,
                    Phase::Delivered => return inner.finish(),
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
            let capabilities = core::mem::replace(&mut inner.capabilities, NO_CAPABILITIES);
            let client = inner.finish();
            drop(inner);
            drop(queue);
            drop((entry, capabilities));
            return client;
        }
    }
}

impl Inner {
    /// The call is over: a reply to this use of it no longer counts. Returns the thread that waits.
    #[inline]
    pub fn finish(&mut self) -> Option<Arc<Thread>> {
        // The endpoint in `Queued` is referenced by its server or by the facet that was called.
        self.phase = Phase::Idle;
        self.sequence = self.sequence.wrapping_add(1);
        self.client.take()
    }
}
