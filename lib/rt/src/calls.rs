//! The process's Call objects: which of them are free, and which call each carries.
//!
//! Calls are made on demand and kept. Call number `n` signals its completion by bit `n mod 32` of
//! the thread's notification; the state in its page tells which of those that share a bit it was.
use alloc::{
    boxed::Box,
    collections::VecDeque,
    rc::{Rc, Weak},
    vec::Vec,
};
use core::cell::{Cell, RefCell};

use abi::Status;
use capnp::Error;

use crate::{
    buffer::Buffer,
    kernel,
    message::{Body, CallId, FreeBodies},
    outgoing::OutgoingCall,
    runtime::runtime,
    syscall,
};

/// Most Call objects of one process.
const MAXIMUM_CALLS: u32 = 128;

/// Notification bits that signal completions: the lowest ones.
pub(crate) const COMPLETION_BITS: u32 = 32;

/// Calls that may wait for a Call object.
const MAXIMUM_WAITING: usize = 1024;

/// Where the pages of the Call objects are mapped.
#[cfg(target_os = "none")]
const PAGES_START: u64 = 0x2000_0000_0000;

/// What a Call object carries.
struct Carried {
    buffer: Buffer,
    call: Weak<OutgoingCall>,
}

/// All Call objects of the process.
pub(crate) struct Calls {
    free: FreeBodies,
    /// The call that each Call object carries, by number.
    in_flight: RefCell<Vec<Option<Carried>>>,
    /// Calls that wait until a Call object is free, in order.
    waiting: RefCell<VecDeque<Weak<OutgoingCall>>>,
    has_waiting: Cell<bool>,
}

impl Calls {
    pub(crate) const fn new() -> Self {
        Self {
            free: FreeBodies::new(),
            in_flight: RefCell::new(Vec::new()),
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
        // Its number is less than `MAXIMUM_CALLS`.
        let index = self.in_flight.borrow().len() as u32;
        if index >= MAXIMUM_CALLS {
            return Err(Error::overloaded("all calls of this process are in flight".into()));
        }
        let address = page_address(index)?;
        let handle = kernel::call(1 << (index % COMPLETION_BITS), address)?;
        // SAFETY: the kernel has just mapped the Call's page there, and the Call is never closed.
        let buffer = unsafe { Buffer::at(address) }
            .ok_or_else(|| Error::failed("a call's page is never at address 0".into()))?;
        self.in_flight.borrow_mut().push(None);
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
        if self.in_flight.borrow().is_empty() || waiting.len() >= MAXIMUM_WAITING {
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
        if let Some(slot) = self.in_flight.borrow_mut().get_mut(id.index as usize) {
            *slot = Some(Carried { buffer: id.buffer, call: Rc::downgrade(call) });
        }
    }

    /// Ends a call that its caller no longer wants, sent or not.
    pub(crate) fn abandon(&self, id: &CallId) {
        let carried = self.in_flight.borrow_mut().get_mut(id.index as usize).and_then(Option::take);
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
            let count = self.in_flight.borrow().len();
            while index < count {
                if let Some(call) = self.take_done(index) {
                    call.answered();
                }
                index += COMPLETION_BITS as usize;
            }
        }
    }

    /// The call that Call number `index` carries, if it is done.
    #[inline]
    fn take_done(&self, index: usize) -> Option<Rc<OutgoingCall>> {
        let mut in_flight = self.in_flight.borrow_mut();
        let slot = in_flight.get_mut(index)?;
        if !slot.as_ref()?.buffer.is_done() {
            return None;
        }
        slot.take()?.call.upgrade()
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
