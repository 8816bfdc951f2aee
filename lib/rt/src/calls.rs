//! The process's Call objects: which of them are free, and which call each carries.
//!
//! Calls are made on demand and kept. Call number `n` signals its completion by bit `n mod 32` of
//! the thread's notification; the state in its page tells which of those that share a bit it was.
use alloc::{
    boxed::Box,
    collections::VecDeque,
    rc::{Rc, Weak},
};
use core::{
    cell::{Cell, RefCell},
    ptr::NonNull,
};

use abi::Status;
use capnp::Error;

use crate::{
    buffer::Buffer,
    client::Handle,
    free_bodies::FreeBodies,
    kernel,
    message::{Body, CallId},
    outgoing::OutgoingCall,
    runtime::runtime,
    syscall::{self, Submission},
};

/// Most Call objects of one process.
const MAXIMUM_CALLS: usize = 128;

/// Notification bits that signal completions: the lowest ones.
pub(crate) const COMPLETION_BITS: u32 = 32;

/// Calls whose answers are taken in place before the executor looks at events, so that a task that calls and
/// calls cannot keep the process from its clients and deadlines.
const CALLS_IN_PLACE: u32 = 256;

/// Calls that may wait for a Call object.
const MAXIMUM_WAITING: usize = 1024;

/// Where the pages of the Call objects are mapped.
#[cfg(target_os = "none")]
const PAGES_START: u64 = 0x1000_0000;

/// One Call object.
struct Slot {
    /// Its page, once it was made.
    buffer: Cell<Option<Buffer>>,
    /// The call that it carries. A call takes itself out before it goes.
    call: Cell<Option<NonNull<OutgoingCall>>>,
}

/// All Call objects of the process. In this order, as [`crate::runtime::Runtime`] says.
#[repr(C)]
pub(crate) struct Calls {
    /// What each Call object carries, by number.
    slots: [Slot; MAXIMUM_CALLS],
    free: FreeBodies,
    /// How many there are.
    made: Cell<u32>,
    /// Completion bits that the kernel need not tell of, for the answers were seen in place.
    seen: Cell<u32>,
    /// Calls whose answers may still be taken in place before the executor looks at events.
    in_place: Cell<u32>,
    /// Calls that wait until a Call object is free, in order.
    waiting: RefCell<VecDeque<Weak<OutgoingCall>>>,
    has_waiting: Cell<bool>,
}

impl Calls {
    pub(crate) const fn new() -> Self {
        Self {
            free: FreeBodies::new(),
            made: Cell::new(0),
            slots: [const { Slot { buffer: Cell::new(None), call: Cell::new(None) } }; MAXIMUM_CALLS],
            seen: Cell::new(0),
            in_place: Cell::new(0),
            waiting: RefCell::new(VecDeque::new()),
            has_waiting: Cell::new(false),
        }
    }

    /// The page of a free Call, or of a new one. Errors: `overloaded` when there can be no more.
    #[inline]
    pub(crate) fn take(&self) -> Result<Box<Body>, Error> {
        match self.free.pop() {
            Some(body) => Ok(body),
            None => self.make(),
        }
    }

    #[cold]
    fn make(&self) -> Result<Box<Body>, Error> {
        let index = self.made.get();
        if index as usize >= MAXIMUM_CALLS {
            return Err(Error::overloaded("all calls of this process are in flight".into()));
        }
        let address = page_address(index)?;
        let handle = kernel::call(1 << (index % COMPLETION_BITS), address)?;
        // SAFETY: the kernel has just mapped the Call's page there, and the Call is never closed.
        let buffer = unsafe { Buffer::at(address) }
            .ok_or_else(|| Error::failed("a call's page is never at address 0".into()))?;
        self.made.set(index + 1);
        self.slots[index as usize].buffer.set(Some(buffer));
        Ok(Body::of_call(CallId { handle, index, buffer }))
    }

    /// Gives back the page of a Call, clean.
    #[inline]
    pub(crate) fn put(&self, body: Box<Body>) {
        self.free.push(body);
    }

    /// Queues a call that found no free Call. Errors: `overloaded` when too many wait.
    pub(crate) fn wait(&self, call: &Rc<OutgoingCall>) -> Result<(), Error> {
        let mut waiting = self.waiting.borrow_mut();
        if self.made.get() == 0 || waiting.len() >= MAXIMUM_WAITING {
            return Err(Error::overloaded("too many calls wait to be sent".into()));
        }
        waiting.push_back(Rc::downgrade(call));
        self.has_waiting.set(true);
        Ok(())
    }

    /// Whether calls are queued, so that a new one has to go behind them.
    #[inline]
    pub(crate) fn has_waiting(&self) -> bool {
        self.has_waiting.get()
    }

    /// Sends queued calls as far as there are free Calls.
    #[inline(never)]
    pub(crate) fn send_waiting(&self) {
        while !self.free.is_empty() {
            let next = self.waiting.borrow_mut().pop_front();
            let Some(next) = next else {
                self.has_waiting.set(false);
                return;
            };
            if let Some(call) = next.upgrade() {
                call.send();
            }
        }
    }

    /// Notes which call a Call is about to carry.
    #[inline]
    pub(crate) fn begin(&self, id: &CallId, call: &Rc<OutgoingCall>) {
        id.buffer.set_in_flight();
        self.seen.set(self.seen.get() & !(1 << (id.index % COMPLETION_BITS)));
        if let Some(slot) = self.slots.get(id.index as usize) {
            slot.call.set(NonNull::new(Rc::as_ptr(call).cast_mut()));
        }
    }

    /// Whether a call of the object behind `handle` is to be submitted in place.
    #[inline]
    pub(crate) fn may_be_in_place(&self, handle: &Handle) -> bool {
        self.in_place.get() != 0 && !runtime().executor.has_ready() && handle.answers_at_once()
    }

    /// Submits a call so that who receives it runs first; whether the answer is there then.
    ///
    /// This saves the way through the executor when the object answers at once. It never waits: when the server does,
    /// the caller goes on. The executor sees events after so many calls.
    #[inline]
    pub(crate) fn submit_in_place(&self, id: &CallId, submission: Submission) -> bool {
        self.in_place.set(self.in_place.get() - 1);
        syscall::submit_yield(submission);
        if !id.buffer.is_done() {
            return false;
        }
        if let Some(slot) = self.slots.get(id.index as usize) {
            slot.call.set(None);
        }
        // With more Calls than bits, a bit may also tell of another one.
        if self.made.get() <= COMPLETION_BITS {
            self.seen.set(self.seen.get() | 1 << (id.index % COMPLETION_BITS));
        }
        true
    }

    /// The executor is about to look at events: the completion bits that need not be among them.
    #[inline]
    pub(crate) fn begin_wait(&self) -> u32 {
        self.in_place.set(CALLS_IN_PLACE);
        self.seen.replace(0)
    }

    /// Ends a call that its caller no longer wants, sent or not. The call is going.
    pub(crate) fn abandon(&self, id: &CallId) {
        let carried = self.slots.get(id.index as usize).and_then(|slot| slot.call.take());
        if carried.is_some() && !runtime().pending.withdraw(id.handle) {
            cancel(id);
        }
    }

    /// Completes the calls that are done among those whose completion sets one of `bits`.
    #[inline]
    pub(crate) fn complete(&self, bits: u32) {
        let mut left = bits;
        while left != 0 {
            let mut index = left.trailing_zeros() as usize;
            left &= left - 1;
            while let Some(slot) = self.slots.get(index) {
                let Some(buffer) = slot.buffer.get() else { break };
                if buffer.is_done()
                    && let Some(call) = slot.call.take()
                {
                    // SAFETY: a call is in a reference count, and stays there at least until it has
                    // taken itself out of the slot. The count is raised, for telling of the answer may drop others.
                    let call = unsafe {
                        Rc::increment_strong_count(call.as_ptr());
                        Rc::from_raw(call.as_ptr())
                    };
                    call.answered(buffer);
                }
                index += COMPLETION_BITS as usize;
            }
        }
    }
}

/// Gives up the call that a Call carries, and whatever answer came meanwhile.
///
/// An answer may come until the kernel has cancelled; one that did is left as it is.
fn cancel(id: &CallId) {
    if !id.buffer.is_done() {
        syscall::cancel(id.handle);
    }
    if id.buffer.is_done() {
        let (status, info) = id.buffer.outcome();
        if status == Status::Ok {
            for handle in id.buffer.capabilities().iter().take(info.capabilities()) {
                syscall::close(*handle);
            }
        }
    }
}

/// The address at which the page of a new Call is to be mapped.
#[cfg(target_os = "none")]
#[expect(clippy::unnecessary_wraps, reason = "on the host it can fail")]
fn page_address(index: u32) -> Result<u64, Error> {
    Ok(PAGES_START + u64::from(index) * abi::PAGE_SIZE as u64)
}

/// On the host the page is memory of the test's kernel.
#[cfg(not(target_os = "none"))]
fn page_address(_index: u32) -> Result<u64, Error> {
    crate::host::new_page().ok_or_else(|| Error::failed("the host has no kernel".into()))
}
