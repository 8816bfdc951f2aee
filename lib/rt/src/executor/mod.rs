//! The executor of this process's thread: it runs what is ready, and when nothing is, its one wait
//! is the kernel's receive, for calls, signals, releases and the next deadline together.
use alloc::{boxed::Box, rc::Rc};
use core::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

mod alarm;
mod sleeper;
mod task;
#[cfg(test)]
mod tests;
mod timer;

use crate::{
    calls::COMPLETION_BITS,
    clock,
    runtime::runtime,
    server,
    syscall::{Rare, Wait},
};

pub use self::{alarm::Alarm, sleeper::Sleeper};
pub(crate) use self::{
    task::{Executor, TaskId},
    timer::Timers,
};

/// Polls of tasks after which events are looked at although tasks are still ready, so that busy tasks
/// cannot keep the process from its clients and deadlines.
const POLLS_BETWEEN_EVENTS: u32 = 32;

/// A deadline in the past: look for an event and do not wait.
const AT_ONCE: u64 = 0;

/// Runs `future` and everything that it starts, until it is done.
pub(crate) fn block_on<T: 'static>(future: impl Future<Output = T> + 'static) -> T {
    let result = Rc::new(Cell::new(None));
    let slot = result.clone();
    runtime().executor.spawn(Box::pin(async move { slot.set(Some(future.await)) }));
    loop {
        run_ready();
        if let Some(result) = result.take() {
            runtime().pending.flush();
            return result;
        }
        wait();
    }
}

#[inline]
fn run_ready() {
    let executor = &runtime().executor;
    for _ in 0..POLLS_BETWEEN_EVENTS {
        if !executor.run_next() {
            break;
        }
        if executor.has_ready() {
            runtime().pending.signal_now();
        }
    }
}

/// Waits for the next event and handles it. Does not wait when tasks are ready.
#[inline]
fn wait() {
    let runtime = runtime();
    if runtime.calls.has_waiting() {
        runtime.calls.send_waiting();
    }
    let deadline = if runtime.executor.has_ready() { AT_ONCE } else { runtime.timers.next() };
    let acknowledged = runtime.calls.begin_wait();
    let event =
        runtime.pending.receive(Wait { endpoint: runtime.objects.endpoint(), acknowledged, deadline });
    if let Some(bits) = event.signals() {
        // The completion bits are the lower half.
        let completed = bits as u32;
        if completed != 0 {
            runtime.calls.complete(completed);
        }
        runtime.signals.arrived((bits >> COMPLETION_BITS) as u32);
    } else if let Some(call) = event.call() {
        server::serve(call);
    } else {
        handle_rare(event.rare());
    }
    runtime.timers.fire();
}

#[inline(never)]
fn handle_rare(event: Rare) {
    match event {
        Rare::Released(badge) => runtime().objects.released(badge),
        Rare::Timeout => {}
        Rare::Refused(status) => panic!("the kernel refused to receive: {status:?}"),
    }
}

/// The time given to [`timeout`] ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl core::fmt::Display for Elapsed {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("the time ran out")
    }
}

impl core::error::Error for Elapsed {}

/// Runs `future` as a task of its own. Panics when there is no memory for it.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    runtime().executor.spawn(Box::pin(future));
}

/// Runs `future` as a task of its own and waits for its end: for what a process does for ever once it is set up, which
/// then lies apart from the set-up's code, and is polled without it. Panics when there is no memory for it.
pub async fn apart<T: 'static>(future: impl Future<Output = T> + 'static) -> T {
    let end = Rc::new((Cell::new(None), Sleeper::default()));
    let told = end.clone();
    spawn(async move {
        told.0.set(Some(future.await));
        told.1.wake();
    });
    poll_fn(|context| match end.0.take() {
        Some(result) => Poll::Ready(result),
        None => {
            end.1.register(context);
            Poll::Pending
        }
    })
    .await
}

/// `future` in a box of its own, for what a task seldom waits for: so that what it mostly runs lies together. Panics when there is
/// no memory for it.
pub fn rare<'a, T>(future: impl Future<Output = T> + 'a) -> Pin<Box<dyn Future<Output = T> + 'a>> {
    Box::pin(future)
}

/// Monotonic time since the kernel started its clock; no system call.
pub fn now() -> Duration {
    Duration::from_nanos(clock::nanoseconds())
}

/// Waits for `duration`.
pub async fn sleep(duration: Duration) {
    timer::Sleep::until(clock::nanoseconds().saturating_add(nanoseconds(duration))).await;
}

/// Waits until the monotonic clock shows `time`.
pub async fn sleep_until(time: Duration) {
    timer::Sleep::until(nanoseconds(time)).await;
}

/// Runs `future` for at most `duration`; when the time is up it is dropped.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let mut sleep = pin!(sleep(duration));
    poll_fn(move |context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        sleep.as_mut().poll(context).map(|()| Err(Elapsed))
    })
    .await
}

/// Lets every other ready task run once.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(move |context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Nanoseconds of a duration; what does not fit is the deadline that never comes.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(abi::NO_DEADLINE)
}
