//! How tasks of one process wait for each other: events, a turnstile, and the first of several futures.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;
use core::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, Waker},
};

/// Something that tasks wait for and look at again; the order is: look, then wait, then look.
#[derive(Default)]
pub struct Event {
    waiting: RefCell<Vec<Waker>>,
    /// Counts calls of [`Event::notify`], so that a wait cannot miss one.
    count: Cell<u64>,
}

impl Event {
    /// Wakes all who wait.
    pub fn notify(&self) {
        self.count.set(self.count.get().wrapping_add(1));
        for waker in self.waiting.take() {
            waker.wake();
        }
    }

    /// Whether anybody waits.
    pub fn has_waiters(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// Wakes all who wait, at no cost where nobody does.
    pub fn notify_any(&self) {
        if self.has_waiters() {
            self.notify();
        }
    }

    /// Waits until `look` answers; it is asked at first and after each [`Event::notify`].
    pub async fn until<R>(&self, mut look: impl FnMut() -> Option<R>) -> R {
        loop {
            let seen = self.count.get();
            if let Some(result) = look() {
                return result;
            }
            poll_fn(|context| self.poll_after(seen, context)).await;
        }
    }

    fn poll_after(&self, seen: u64, context: &Context<'_>) -> Poll<()> {
        if self.count.get() != seen {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}

/// Lets one task at a time do something that waits.
#[derive(Default)]
pub struct Turnstile {
    taken: Cell<bool>,
    event: Event,
}

/// The right of way; the next task gets it when this is dropped.
pub struct Pass<'a>(&'a Turnstile);

impl Turnstile {
    /// Waits for the right of way.
    pub async fn enter(&self) -> Pass<'_> {
        self.event.until(|| (!self.taken.replace(true)).then_some(())).await;
        Pass(self)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.0.taken.set(false);
        self.0.event.notify();
    }
}

/// Polls all futures until at least one is done; says which.
pub async fn any<const N: usize>(mut futures: [Pin<&mut dyn Future<Output = ()>>; N]) -> [bool; N] {
    poll_fn(|context| {
        let mut done = [false; N];
        for (done, future) in done.iter_mut().zip(&mut futures) {
            *done = future.as_mut().poll(context).is_ready();
        }
        if done.contains(&true) { Poll::Ready(done) } else { Poll::Pending }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn an_event_wakes_whoever_finds_what_it_looks_for() {
        let (event, value) = (Event::default(), Cell::new(0));
        let mut wait = pin!(event.until(|| (value.get() == 2).then_some(value.get())));
        assert!(poll(wait.as_mut()).is_pending());
        value.set(1);
        event.notify();
        assert!(poll(wait.as_mut()).is_pending());
        value.set(2);
        assert!(poll(wait.as_mut()).is_pending(), "nobody said so yet");
        event.notify();
        assert_eq!(poll(wait.as_mut()), Poll::Ready(2));
    }

    #[test]
    fn a_turnstile_lets_one_through() {
        let turnstile = Turnstile::default();
        let mut first = pin!(turnstile.enter());
        let Poll::Ready(pass) = poll(first.as_mut()) else { panic!("it was free") };
        let mut second = pin!(turnstile.enter());
        assert!(poll(second.as_mut()).is_pending());
        drop(pass);
        assert!(poll(second.as_mut()).is_ready());
    }

    #[test]
    fn any_tells_all_that_are_done() {
        let (mut never, mut now, mut too) =
            (pin!(core::future::pending()), pin!(core::future::ready(())), pin!(core::future::ready(())));
        let mut all = pin!(any([never.as_mut(), now.as_mut(), too.as_mut()]));
        assert_eq!(poll(all.as_mut()), Poll::Ready([false, true, true]));
    }
}
