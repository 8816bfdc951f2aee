//! Lets tasks wait for the next change of something that they share.

use alloc::vec::Vec;
use core::{
    cell::{Cell, RefCell},
    future::poll_fn,
    task::{Poll, Waker},
};

/// Something that happens again and again.
#[derive(Default)]
pub(crate) struct Event {
    count: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

impl Event {
    /// Wakes all who wait.
    pub(crate) fn happened(&self) {
        self.count.set(self.count.get().wrapping_add(1));
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    /// How often it happened; look at what is waited for after this, and before [`Self::after`].
    pub(crate) fn count(&self) -> u64 {
        self.count.get()
    }

    /// Waits until it happened again since it had happened so often.
    pub(crate) async fn after(&self, count: u64) {
        poll_fn(|context| {
            if self.count.get() != count {
                return Poll::Ready(());
            }
            let mut waiting = self.waiting.borrow_mut();
            if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}
