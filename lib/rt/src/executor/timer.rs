//! Deadlines of sleeping tasks.
use alloc::collections::BTreeMap;
use core::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use crate::{clock, runtime::runtime};

/// A deadline in nanoseconds, and a number that makes equal ones differ and keeps their order.
pub(super) type Key = (u64, u64);

/// All deadlines, the next one first. A map and no heap, for most deadlines are time-outs that are
/// taken out before they come.
pub(crate) struct Timers {
    sleeping: RefCell<BTreeMap<Key, Waker>>,
    /// The first deadline of `sleeping`.
    next: Cell<u64>,
    next_number: Cell<u64>,
}

impl Timers {
    pub(crate) const fn new() -> Self {
        Self {
            sleeping: RefCell::new(BTreeMap::new()),
            next: Cell::new(abi::NO_DEADLINE),
            next_number: Cell::new(0),
        }
    }

    /// The next deadline.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        self.next.get()
    }

    /// Wakes all whose deadline has come.
    #[inline]
    pub(crate) fn fire(&self) {
        if self.next.get() != abi::NO_DEADLINE {
            self.fire_until(clock::nanoseconds());
        }
    }

    fn fire_until(&self, now: u64) {
        while self.next.get() <= now {
            let first = self.sleeping.borrow_mut().pop_first();
            self.update();
            let Some((_, waker)) = first else { return };
            waker.wake();
        }
    }

    fn update(&self) {
        let first = self.sleeping.borrow().first_key_value().map(|((deadline, _), _)| *deadline);
        self.next.set(first.unwrap_or(abi::NO_DEADLINE));
    }

    pub(super) fn add(&self, deadline: u64, waker: Waker) -> Key {
        let key = (deadline, self.next_number.get());
        self.next_number.set(key.1 + 1);
        self.sleeping.borrow_mut().insert(key, waker);
        self.update();
        key
    }

    /// Replaces the waker of a deadline that has not come; whether there is one.
    fn replace(&self, key: Key, waker: &Waker) -> bool {
        let mut sleeping = self.sleeping.borrow_mut();
        let Some(known) = sleeping.get_mut(&key) else { return false };
        known.clone_from(waker);
        true
    }

    pub(super) fn remove(&self, key: Key) {
        let waker = self.sleeping.borrow_mut().remove(&key);
        self.update();
        drop(waker);
    }
}

/// Completes at a deadline.
pub(crate) struct Sleep {
    deadline: u64,
    key: Option<Key>,
}

impl Sleep {
    /// Sleeps until the clock shows `deadline` nanoseconds.
    pub(crate) fn until(deadline: u64) -> Self {
        Self { deadline, key: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if clock::nanoseconds() >= self.deadline {
            return Poll::Ready(());
        }
        let timers = &runtime().timers;
        if !self.key.is_some_and(|key| timers.replace(key, context.waker())) {
            self.key = Some(timers.add(self.deadline, context.waker().clone()));
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            runtime().timers.remove(key);
        }
    }
}
