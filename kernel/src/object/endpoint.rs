//! Endpoint: where calls arrive; Facet: what clients hold of it.
//!
//! Invariants: threads wait in `receivers` only while `queue` and `released` are empty; each facet has a slot, and
//! `released` has room for all facets, so that the last copy of a facet can go at any time without allocating.
//! After [`Endpoint::close`] nothing is queued any more and facets answer `disconnected`.

use super::Object;
use super::account::{Account, Charge};
use super::call::Call;
use super::thread::{State, Thread};
use crate::error::Error;
use crate::ipc;
use crate::list::List;
use crate::message::{Answer, Params};
use crate::scheduler;
use crate::sync::Lock;
use abi::{Event, Status};
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use capnp::traits::HasTypeId;
use core::sync::atomic::{AtomicBool, Ordering};
use schema::ipc_capnp::endpoint;
use spin::mutex::SpinMutexGuard;

/// Most facets of one endpoint.
const MAXIMUM_FACETS: usize = 16384;

/// What an endpoint holds.
pub struct Inner {
    /// Whether the server is gone.
    pub closed: bool,
    /// Threads that wait for an event.
    pub receivers: List<Thread>,
    /// Calls that wait for a receiver.
    pub queue: List<Call>,
    /// Badges of facets that are gone.
    pub released: VecDeque<u64>,
    facets: Vec<Option<Weak<Facet>>>,
    free_slots: Vec<u32>,
}

/// A call / reply rendezvous.
pub struct Endpoint {
    /// Number of this object in inventories.
    pub id: u64,
    /// Number of the process that serves it.
    pub server: u32,
    account: Arc<Account>,
    inner: Lock<Inner>,
    _charge: Charge,
}

/// The right to call an endpoint with a certain badge.
pub struct Facet {
    /// Where its calls arrive.
    pub endpoint: Arc<Endpoint>,
    /// The server's number for the object behind it.
    pub badge: u64,
    revoked: AtomicBool,
    slot: u32,
    _charge: Charge,
}

impl Endpoint {
    /// An endpoint without facets, served by the process numbered `server`.
    pub fn new(account: &Arc<Account>, server: u32) -> Result<Arc<Self>, Error> {
        let charge = Charge::object::<Self>(account)?;
        Ok(Arc::new(Self {
            id: super::new_id(),
            server,
            account: account.clone(),
            inner: Lock::new(Inner {
                closed: false,
                receivers: List::new(),
                queue: List::new(),
                released: VecDeque::new(),
                facets: Vec::new(),
                free_slots: Vec::new(),
            }),
            _charge: charge,
        }))
    }

    /// Its contents.
    #[inline]
    pub fn lock(&self) -> SpinMutexGuard<'_, Inner, crate::sync::AnswerShootdowns> {
        self.inner.lock()
    }

    fn mint(self: &Arc<Self>, badge: u64) -> Result<Arc<Facet>, Error> {
        let slot_bytes = size_of::<Option<Weak<Facet>>>() + size_of::<u64>() + size_of::<u32>();
        let charge = Charge::bytes(&self.account, size_of::<Facet>() + slot_bytes)?;
        let mut inner = self.lock();
        if inner.free_slots.is_empty() && inner.facets.len() >= MAXIMUM_FACETS {
            return Err(Error::overloaded("too many facets of one endpoint"));
        }
        let out_of_memory = |_| Error::overloaded("the machine is out of memory");
        let facets = inner.facets.len() + 1;
        let pending = inner.released.len();
        inner.released.try_reserve((facets + pending).saturating_sub(pending)).map_err(out_of_memory)?;
        let missing = facets.saturating_sub(inner.free_slots.len());
        inner.free_slots.try_reserve(missing).map_err(out_of_memory)?;
        inner.facets.try_reserve(1).map_err(out_of_memory)?;
        let slot = match inner.free_slots.pop() {
            Some(slot) => slot,
            None => {
                inner.facets.push(None);
                inner.facets.len() as u32 - 1
            }
        };
        let facet = Arc::new(Facet {
            endpoint: self.clone(),
            badge,
            revoked: AtomicBool::new(false),
            slot,
            _charge: charge,
        });
        if let Some(entry) = inner.facets.get_mut(slot as usize) {
            *entry = Some(Arc::downgrade(&facet));
        }
        Ok(facet)
    }

    /// Makes every facet with this badge answer `disconnected`.
    fn revoke(&self, badge: u64) {
        let mut inner = self.lock();
        let mut kept = List::new();
        let mut refused = List::new();
        // Upgraded references are dropped after the lock: the last one takes it.
        let mut index = 0;
        while let Some(entry) = inner.facets.get(index) {
            index += 1;
            if let Some(facet) = entry.as_ref().and_then(Weak::upgrade) {
                if facet.badge == badge {
                    facet.revoked.store(true, Ordering::Relaxed);
                }
                drop(inner);
                drop(facet);
                inner = self.lock();
            }
        }
        while let Some(call) = inner.queue.pop_front() {
            let list = if call.badge() == badge { &mut refused } else { &mut kept };
            // A call that was just taken out of a list is in none.
            let _ = list.push_back(call);
        }
        inner.queue = kept;
        drop(inner);
        refuse(refused, Error::REVOKED);
    }

    /// The server gives the endpoint up: waiting calls are answered `disconnected`, waiting threads get an error.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        let calls = core::mem::replace(&mut inner.queue, List::new());
        let mut receivers = core::mem::replace(&mut inner.receivers, List::new());
        inner.released.clear();
        while let Some(thread) = receivers.pop_front() {
            let mut state = thread.state.lock();
            let alive = thread.claim(&mut state);
            if alive {
                // SAFETY: the thread is claimed.
                unsafe { thread.set_event(Event::Error, Status::Disconnected as u64) };
            } else {
                *state = State::Dead;
            }
            drop(state);
            drop(inner);
            if alive {
                scheduler::make_ready(thread);
            } else {
                thread.process.thread_ended(&thread);
            }
            inner = self.lock();
        }
        drop(inner);
        refuse(calls, Error::SERVER_GONE);
    }
}

/// Answers calls that no receiver will see.
fn refuse(mut calls: List<Call>, error: Error) {
    while let Some(call) = calls.pop_front() {
        if let Some(thread) = ipc::refuse_queued(&call, error) {
            scheduler::make_ready(thread);
        }
    }
}

impl Facet {
    /// Whether the server has revoked it.
    #[inline]
    pub fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Relaxed)
    }
}

impl Drop for Facet {
    fn drop(&mut self) {
        let mut inner = self.endpoint.lock();
        if let Some(entry) = inner.facets.get_mut(self.slot as usize) {
            *entry = None;
        }
        // Room for every slot was reserved when the facet was made.
        inner.free_slots.push(self.slot);
        if inner.closed || self.is_revoked() {
            return;
        }
        match ipc::claim_receiver(&mut inner) {
            Some(thread) => {
                // SAFETY: the thread is claimed.
                unsafe { thread.set_event(Event::Released, self.badge) };
                drop(inner);
                // Nobody waits for what the server does then.
                scheduler::make_ready_in(thread, scheduler::Turn::AtNextWait);
            }
            None => inner.released.push_back(self.badge),
        }
    }
}

/// Serves `Endpoint`.
pub fn invoke(object: &Arc<Endpoint>, params: &Params, answer: &mut Answer) -> Result<(), Error> {
    params.expect_interface(endpoint::Client::TYPE_ID)?;
    match params.method() {
        0 => {
            let badge = params.root::<endpoint::mint_params::Owned>()?.get_badge();
            let facet = object.mint(badge)?;
            answer.root::<endpoint::mint_results::Owned>()?;
            answer.capability(0, Object::Facet(facet))
        }
        1 => {
            object.revoke(params.root::<endpoint::revoke_params::Owned>()?.get_badge());
            answer.root::<endpoint::revoke_results::Owned>()?;
            Ok(())
        }
        _ => Err(Error::NO_METHOD),
    }
}
