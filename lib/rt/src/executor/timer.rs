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
type Key = (u64, u64);

/// All deadlines, the next one first. A map and no heap, for most deadlines are time-outs that are
/// taken out before they come.
pub(crate) struct Timers {
    sleeping: RefCell<BTreeMap<Key, Waker>>,
    next_number: Cell<u64>,
}

impl Timers {
    pub(crate) const fn new() -> Self {
        Self { sleeping: RefCell::new(BTreeMap::new()), next_number: Cell::new(0) }
    }

    /// The next deadline.
    pub(crate) fn next(&self) -> u64 {
        self.sleeping.borrow().first_key_value().map_or(abi::NO_DEADLINE, |((deadline, _), _)| *deadline)
    }

    /// Wakes all whose deadline has come.
    pub(crate) fn fire(&self) {
        if self.sleeping.borrow().is_empty() {
            return;
        }
        let now = clock::nanoseconds();
        loop {
            let mut sleeping = self.sleeping.borrow_mut();
            let Some(first) = sleeping.first_entry().filter(|first| first.key().0 <= now) else { return };
            let waker = first.remove();
            drop(sleeping);
            waker.wake();
        }
    }

    fn add(&self, deadline: u64, waker: Waker) -> Key {
        let key = (deadline, self.next_number.get());
        self.next_number.set(key.1 + 1);
        self.sleeping.borrow_mut().insert(key, waker);
        key
    }

    /// Replaces the waker of a deadline that has not come; whether there is one.
    fn replace(&self, key: Key, waker: &Waker) -> bool {
        let mut sleeping = self.sleeping.borrow_mut();
        let Some(known) = sleeping.get_mut(&key) else { return false };
        known.clone_from(waker);
        true
    }

    fn remove(&self, key: Key) {
        let waker = self.sleeping.borrow_mut().remove(&key);
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
