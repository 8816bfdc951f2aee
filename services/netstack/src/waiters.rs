//! Tasks that wait for something to change.

use alloc::vec::Vec;
use core::task::{Context, Waker};

/// The wakers of the tasks that wait.
#[derive(Default)]
pub struct Waiters(Vec<Waker>);

impl Waiters {
    /// Has the task woken at the next [`Self::wake`]. A task that waits already is not added again.
    pub fn register(&mut self, context: &Context<'_>) {
        if !self.0.iter().any(|waker| waker.will_wake(context.waker())) {
            self.0.push(context.waker().clone());
        }
    }

    /// Wakes every task that waits.
    pub fn wake(&mut self) {
        for waker in self.0.drain(..) {
            waker.wake();
        }
    }
}
