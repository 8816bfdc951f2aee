//! The alarm of a task that waits again and again.
use core::{
    task::{Context, Poll, Waker},
    time::Duration,
};

use super::{nanoseconds, timer::Key};
use crate::{clock, runtime::runtime};

/// Wakes a task at a deadline that is another one at each wait, and that is seldom reached. What was set for an earlier
/// deadline stays set, and then wakes the task for nothing now and then, which costs less than setting it each time.
#[derive(Default)]
pub struct Alarm {
    set: Option<Set>,
}

/// What is set.
struct Set {
    key: Key,
    waker: Waker,
}

impl Alarm {
    /// One that is not set.
    pub const fn new() -> Self {
        Self { set: None }
    }

    /// Whether the deadline has come; if not, the task is woken then. Without a deadline it never comes.
    #[inline]
    pub fn poll_until(&mut self, deadline: Option<Duration>, context: &Context<'_>) -> Poll<()> {
        let Some(deadline) = deadline.map(nanoseconds) else { return Poll::Pending };
        let now = clock::nanoseconds();
        if now >= deadline {
            return Poll::Ready(());
        }
        let fits = |set: &Set| {
            // What has come is no longer set.
            let (at, _) = set.key;
            now < at && at <= deadline && set.waker.will_wake(context.waker())
        };
        if !self.set.as_ref().is_some_and(fits) {
            self.clear();
            let waker = context.waker().clone();
            self.set = Some(Set { key: runtime().timers.add(deadline, waker.clone()), waker });
        }
        Poll::Pending
    }

    fn clear(&mut self) {
        if let Some(set) = self.set.take() {
            runtime().timers.remove(set.key);
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.clear();
    }
}
