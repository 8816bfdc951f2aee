//! The process's Call objects: their pages, which of them are free, and which call each carries.
//!
//! Calls are made on demand and kept. Call number `n` signals its completion by bit `n mod 32` of
//! the thread's notification; the state in its page tells which of those that share a bit it was.
use alloc::{
    collections::VecDeque,
    rc::{Rc, Weak},
    vec::Vec,
};
use core::cell::{Cell, RefCell};

use abi::Status;
use capnp::Error;

use crate::{buffer::Buffer, kernel, outgoing::OutgoingCall, runtime::runtime, syscall};

/// Most Call objects of one process.
const MAXIMUM_CALLS: u32 = 128;

/// Notification bits that signal completions: the lowest ones.
pub(crate) const COMPLETION_BITS: u32 = 32;

/// Calls that may wait for a Call object.
const MAXIMUM_WAITING: usize = 1024;

/// Where the pages of the Call objects are mapped.
#[cfg(target_os = "none")]
const PAGES_START: u64 = 0x2000_0000_0000;

/// One Call object and its page. Who holds it owns both, until it gives it back to [`Calls::put`].
#[derive(Clone, Copy)]
pub(crate) struct CallPage {
    /// Handle of the Call object.
    pub(crate) handle: u32,
    /// Its page.
    pub(crate) buffer: Buffer,
    index: u32,
}

impl CallPage {
    /// Gives up the call in flight, and whatever answer came meanwhile.
    ///
    /// An answer may come until the kernel has cancelled; one that did is left as it is.
    fn cancel(&self) {
        if !self.buffer.is_done() {
            syscall::cancel(self.handle);
        }
        if self.buffer.is_done() {
            let (status, info) = self.buffer.outcome();
            if status == Status::Ok {
                for handle in self.buffer.capabilities().iter().take(info.capabilities()) {
                    syscall::close(*handle);
                }
            }
        }
    }
}

/// What a Call object carries.
struct InFlight {
    buffer: Buffer,
    call: Weak<OutgoingCall>,
}

/// All Call objects of the process.
pub(crate) struct Calls {
    free: RefCell<Vec<CallPage>>,
    /// The call that each Call object carries, by number.
    in_flight: RefCell<Vec<Option<InFlight>>>,
    /// Calls that wait until a Call object is free, in order.
    waiting: RefCell<VecDeque<Weak<OutgoingCall>>>,
    has_waiting: Cell<bool>,
}

impl Calls {
    pub(crate) const fn new() -> Self {
        Self {
            free: RefCell::new(Vec::new()),
            in_flight: RefCell::new(Vec::new()),
            waiting: RefCell::new(VecDeque::new()),
            has_waiting: Cell::new(false),
        }
    }

    /// A free Call, or a new one. Errors: `overloaded` when there can be no more.
    pub(crate) fn take(&self) -> Result<CallPage, Error> {
        if let Some(page) = self.free.borrow_mut().pop() {
            return Ok(page);
        }
        self.make()
    }

    #[cold]
    fn make(&self) -> Result<CallPage, Error> {
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
        Ok(CallPage { handle, index, buffer })
    }

    /// Gives back a Call whose segment is zero again.
    pub(crate) fn put(&self, page: CallPage) {
        self.free.borrow_mut().push(page);
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
    pub(crate) fn has_waiting(&self) -> bool {
        self.has_waiting.get()
    }

    /// Sends queued calls as far as there are free Calls.
    pub(crate) fn send_waiting(&self) {
        while !self.free.borrow().is_empty() {
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
    pub(crate) fn begin(&self, page: &CallPage, call: &Rc<OutgoingCall>) {
        page.buffer.set_in_flight();
        if let Some(slot) = self.in_flight.borrow_mut().get_mut(page.index as usize) {
            *slot = Some(InFlight { buffer: page.buffer, call: Rc::downgrade(call) });
        }
    }

    /// Ends a call that its caller no longer wants, sent or not.
    pub(crate) fn abandon(&self, page: &CallPage) {
        let slot = self.in_flight.borrow_mut().get_mut(page.index as usize).and_then(Option::take);
        if slot.is_some() && !runtime().pending.withdraw(page.handle) {
            page.cancel();
        }
    }

    /// Completes the calls that are done among those whose completion sets one of `bits`.
    pub(crate) fn complete(&self, bits: u32) {
        let mut left = bits;
        while left != 0 {
            let mut index = left.trailing_zeros() as usize;
            left &= left - 1;
            while let Some(call) = self.take_done(index) {
                if let Some(call) = call {
                    call.answered();
                }
                index += COMPLETION_BITS as usize;
            }
        }
    }

    /// The call that Call number `index` carries, if it is done; `None` when there is no such Call.
    fn take_done(&self, index: usize) -> Option<Option<Rc<OutgoingCall>>> {
        let mut in_flight = self.in_flight.borrow_mut();
        let slot = in_flight.get_mut(index)?;
        if !slot.as_ref().is_some_and(|carried| carried.buffer.is_done()) {
            return Some(None);
        }
        Some(slot.take().and_then(|carried| carried.call.upgrade()))
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
