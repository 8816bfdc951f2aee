//! Thread: one schedulable context.
//!
//! ```text
//!          start                 pick
//!   New ----------> Ready ------------------> Running --exit, fault, kill--> Dead
//!                     ^                        |    |
//!                     |  preempted, yields     |    | receive, call
//!                     +------------------------+    v
//!                     +---------------------- Receiving / Calling
//!                        event, answer (or straight to Running on the waker's processor)
//! ```
//!
//! A thread of a paused process that is to run is Parked instead, until the process is resumed
//! (`process/pause.rs`).
//!
//! Invariants: the state changes under its lock; whoever takes a thread out of Receiving or Calling
//! owns it until it is made ready or run; a thread whose process is dying goes to Dead instead of to Ready or Running. The
//! context is touched only by the processor that runs the thread or by that owner.

use super::account::Charge;
use super::call::Call;
use super::endpoint::Endpoint;
use super::message_buffer::MessageBuffer;
use super::notification::Notification;
use super::process::Process;
use crate::arch::context::Context;
use crate::arch::cpu;
use crate::error::Error;
use crate::list::{Linked, Links};
use crate::message::{Answer, Params};
use crate::sync::Lock;
use crate::timers::{self, Deadline, TimerSlot};
use abi::{Event, MessageInfo, NO_DEADLINE, Status};
use alloc::sync::Arc;
use capnp::traits::HasTypeId;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use schema::process_capnp::thread;

/// Where a thread waits for calls, if it does.
///
/// It does not own the endpoint: an endpoint that is closed claims all its receivers before it can go
/// away, so it lives as long as a thread's state, looked at under its lock, names it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ReceivesFrom(*const Endpoint);

// SAFETY: the pointer is only followed under the rule above.
unsafe impl Send for ReceivesFrom {}

impl ReceivesFrom {
    /// No endpoint: the thread waits for signals only.
    pub const NOTHING: Self = Self(core::ptr::null());

    /// This endpoint, in whose list of receivers the thread is about to be put.
    pub const fn endpoint(endpoint: &Endpoint) -> Self {
        Self(endpoint)
    }

    /// Another reference to the endpoint.
    ///
    /// # Safety
    ///
    /// The caller holds the state lock of a thread whose state names it.
    unsafe fn get(self) -> Option<Arc<Endpoint>> {
        if self.0.is_null() {
            return None;
        }
        // SAFETY: endpoints are only ever made in `Arc`s, and it lives, see the type's documentation.
        unsafe {
            Arc::increment_strong_count(self.0);
            Some(Arc::from_raw(self.0))
        }
    }
}

/// Where a thread is in its life.
#[derive(Clone, Copy)]
pub enum State {
    /// Made, not started.
    New,
    /// In a run queue, or about to be put there.
    Ready,
    /// On the processor with this number, or about to be.
    Running(u32),
    /// Waits for signals and, with an endpoint, for calls; in the endpoint's list of receivers.
    Receiving(ReceivesFrom),
    /// Waits for the answer to its own call.
    Calling,
    /// Would run, but its process is paused; in no queue.
    Parked,
    /// Ended.
    Dead,
}

/// One schedulable context.
#[repr(C)]
pub struct Thread {
    context: UnsafeCell<Context>,
    /// Number of this thread, unique in the system.
    pub id: u32,
    /// The process that it runs in.
    pub process: Arc<Process>,
    /// Its message buffer.
    pub buffer: MessageBuffer,
    /// Its own call, for synchronous calls.
    pub call: Arc<Call>,
    /// What it waits on.
    pub notification: Arc<Notification>,
    /// Where it is in its life.
    pub state: Lock<State>,
    /// Priority that it was given.
    pub base_priority: AtomicU8,
    /// Priority that it runs with: its own, or that of a caller it works for.
    pub priority: AtomicU8,
    /// Processor that it ran on last, or whose run queue it is in.
    pub processor: AtomicU32,
    /// Its place among the deadlines.
    pub timer: TimerSlot,
    /// Deadline of that entry, if there is one; written under the state lock.
    armed: AtomicU64,
    /// Deadline of the wait that it is in.
    pub deadline: AtomicU64,
    /// Time stamps that it has run for.
    pub time: AtomicU64,
    /// Interface id of the call that it made last, 0 before the first.
    made_interface: AtomicU64,
    /// Method and counts of that call.
    made_info: AtomicU64,
    links: Links<Self>,
    _charge: Charge,
}

// SAFETY: the context is touched only by the thread's owner (see the module's documentation).
unsafe impl Sync for Thread {}
// SAFETY: as above.
unsafe impl Send for Thread {}

// SAFETY: `links` is one field. Run queues use it under their lock while the thread is Ready, endpoints under theirs
// while it is Receiving.
unsafe impl Linked for Thread {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

static NEXT_ID: AtomicU32 = AtomicU32::new(1);

impl Thread {
    /// A thread that has not started.
    pub fn new(process: &Arc<Process>, context: Context, buffer: MessageBuffer) -> Result<Arc<Self>, Error> {
        let account = &process.account;
        let charge =
            Charge::bytes(account, size_of::<Self>() + size_of::<Call>() + size_of::<Notification>())?;
        let call = Arc::new(Call::of_thread(buffer.clone()));
        let notification = Arc::new(Notification::new());
        let thread = Arc::new(Self {
            context: UnsafeCell::new(context),
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            process: process.clone(),
            buffer,
            call,
            notification,
            state: Lock::new(State::New),
            base_priority: AtomicU8::new(process.priority),
            priority: AtomicU8::new(process.priority),
            processor: AtomicU32::new(cpu::current().index),
            timer: TimerSlot::new(),
            armed: AtomicU64::new(0),
            deadline: AtomicU64::new(0),
            time: AtomicU64::new(0),
            made_interface: AtomicU64::new(0),
            made_info: AtomicU64::new(0),
            links: Links::new(),
            _charge: charge,
        });
        thread.notification.bind(Some(thread.clone()));
        Ok(thread)
    }

    /// The saved registers.
    #[inline]
    pub const fn context(&self) -> *mut Context {
        self.context.get()
    }

    /// The saved registers, to change.
    ///
    /// # Safety
    ///
    /// The caller runs the thread (and is in the kernel), or has claimed it, and drops the reference before it lets the thread go.
    #[inline]
    #[expect(
        clippy::mut_from_ref,
        reason = "the owner of a thread is unique, see the module's documentation"
    )]
    pub unsafe fn context_mut(&self) -> &mut Context {
        // SAFETY: by the caller's word nobody else touches it.
        unsafe { &mut *self.context.get() }
    }

    /// Writes the result of a system call that ends with a status and perhaps a message.
    ///
    /// # Safety
    ///
    /// As for [`Self::context_mut`].
    #[inline]
    pub unsafe fn set_answer(&self, status: Status, info: MessageInfo) {
        // SAFETY: by the caller's word.
        let results = unsafe { &mut self.context_mut().results };
        results.rax = status as u64;
        results.rdi = info.0;
    }

    /// Writes the result of a receive that brings no call.
    ///
    /// # Safety
    ///
    /// As for [`Self::context_mut`].
    #[inline]
    pub unsafe fn set_event(&self, event: Event, value: u64) {
        // SAFETY: by the caller's word.
        let results = unsafe { &mut self.context_mut().results };
        results.rax = event as u64;
        results.rdi = value;
    }

    /// Notes the call that the thread, which runs here, is about to make. It stays noted when it has been answered.
    #[inline(always)]
    pub fn note_made(&self, interface: u64, info: MessageInfo) {
        self.made_interface.store(interface, Ordering::Relaxed);
        self.made_info.store(info.0, Ordering::Relaxed);
    }

    /// Interface id and method of the call that it made last, once it has ended; the id is 0 when it made none.
    pub fn made_last(&self) -> (u64, u16) {
        let info = MessageInfo(self.made_info.load(Ordering::Relaxed));
        (self.made_interface.load(Ordering::Relaxed), info.method())
    }

    /// Takes the thread out of its wait, under its state lock: it is the caller's to run or to make
    /// ready. `false` when its process is dying: it is then dead.
    #[inline(always)]
    pub fn claim(&self, state: &mut State) -> bool {
        let previous = core::mem::replace(state, State::Running(cpu::current().index));
        if let State::Receiving(_) = previous {
            self.end_receive();
        }
        self.may_be_claimed()
    }

    /// Takes the thread out of a receive, under its state lock; see [`Self::claim`].
    #[inline(always)]
    pub fn claim_receiving(&self, state: &mut State) -> bool {
        *state = State::Running(cpu::current().index);
        self.end_receive();
        self.may_be_claimed()
    }

    /// Whether the claim of a thread that has just been taken out of its wait holds. One of a paused process is claimed like any
    /// other; this processor then looks again before it returns to user code, and parks it.
    #[inline(always)]
    fn may_be_claimed(&self) -> bool {
        !self.process.is_halted() || self.may_be_claimed_halted()
    }

    #[cold]
    fn may_be_claimed_halted(&self) -> bool {
        cpu::current().reschedule.store(true, Ordering::Relaxed);
        !self.process.is_dying()
    }

    #[inline(always)]
    fn end_receive(&self) {
        self.notification.end_wait();
    }

    /// Wakes the thread for bits of its notification, if it waits. `true`: the caller owns it now.
    pub fn wake_for_signals(&self) -> bool {
        self.wake(|thread| {
            let bits = thread.notification.take();
            // SAFETY: `wake` has claimed the thread.
            unsafe { thread.set_event(Event::Signals, bits) };
        })
    }

    /// Sees to it that the thread is woken at its deadline, under its state lock. An entry that comes no later is left where it
    /// is: most waits end by something else, and the next one has a later deadline.
    #[inline]
    pub fn arm_deadline(self: &Arc<Self>, deadline: u64) -> Result<(), Error> {
        if self.timer.is_armed() && self.armed.load(Ordering::Relaxed) <= deadline {
            return Ok(());
        }
        self.arm_anew(deadline)
    }

    #[inline(never)]
    fn arm_anew(self: &Arc<Self>, deadline: u64) -> Result<(), Error> {
        self.timer.cancel();
        self.armed.store(deadline, Ordering::Relaxed);
        timers::arm(&self.timer, deadline, Deadline::Thread(self.clone()))
    }

    /// The entry of [`Self::arm_deadline`] has come. It may be that of an earlier wait: then the present one is given its own.
    /// `true`: the thread's deadline has come, too, and the caller owns it now.
    pub fn wake_for_deadline(self: &Arc<Self>, now: u64) -> bool {
        {
            let state = self.state.lock();
            let State::Receiving(_) = *state else { return false };
            let deadline = self.deadline.load(Ordering::Relaxed);
            // Without room for the entry the wait ends now.
            if deadline > now && (deadline == NO_DEADLINE || self.arm_deadline(deadline).is_ok()) {
                return false;
            }
        }
        self.wake(|thread| {
            // SAFETY: `wake` has claimed the thread.
            unsafe { thread.set_event(Event::Timeout, 0) };
        })
    }

    fn wake(&self, deliver: impl FnOnce(&Self)) -> bool {
        let (from, endpoint) = {
            let state = self.state.lock();
            let State::Receiving(from) = *state else { return false };
            // SAFETY: the state lock is held.
            (from, unsafe { from.get() })
        };
        let entry;
        let claimed;
        {
            // The endpoint's lock comes before the thread's.
            let mut inner = endpoint.as_ref().map(|endpoint| endpoint.lock());
            let mut state = self.state.lock();
            if !matches!(*state, State::Receiving(now) if now == from) {
                return false;
            }
            entry = inner.as_mut().and_then(|inner| inner.receivers.remove(self));
            claimed = self.claim(&mut state);
            if claimed {
                deliver(self);
            } else {
                *state = State::Dead;
            }
        }
        drop(entry);
        if !claimed {
            self.process.thread_ended(self);
        }
        claimed
    }
}

/// Serves `Thread`.
pub fn invoke(object: &Arc<Thread>, params: &Params, answer: &mut Answer) -> Result<(), Error> {
    params.expect_interface(thread::Client::TYPE_ID)?;
    match params.method() {
        0 => {
            let running = !matches!(*object.state.lock(), State::Dead);
            let mut status = answer.root::<thread::status_results::Owned>()?;
            status.set_id(object.id);
            status.set_running(running);
            status.set_processor_nanoseconds(crate::time::ticks_to_nanoseconds(
                object.time.load(Ordering::Relaxed),
            ));
        }
        1 => {
            let priority = params.root::<thread::set_priority_params::Owned>()?.get_priority();
            if priority > object.process.priority {
                return Err(Error::failed("the priority is above the process's"));
            }
            object.base_priority.store(priority, Ordering::Relaxed);
            object.priority.store(priority, Ordering::Relaxed);
            answer.root::<thread::set_priority_results::Owned>()?;
        }
        _ => return Err(Error::NO_METHOD),
    }
    Ok(())
}
