//! Tests of tasks and wakers, without a kernel: nothing here waits.
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use super::task::Executor;
use crate::runtime::runtime;

fn run_all(executor: &Executor) -> usize {
    let mut runs = 0;
    while executor.run_next() {
        runs += 1;
    }
    runs
}

#[test]
fn tasks_run_in_the_order_in_which_they_were_woken() {
    let executor = &runtime().executor;
    let order = Rc::new(RefCell::new(Vec::new()));
    for index in 0..4 {
        let order = order.clone();
        executor.spawn(Box::pin(async move {
            order.borrow_mut().push(index);
            super::yield_now().await;
            order.borrow_mut().push(index + 10);
        }));
    }
    run_all(executor);
    assert_eq!(*order.borrow(), [0, 1, 2, 3, 10, 11, 12, 13]);
}

#[test]
fn a_waker_of_a_task_that_ended_wakes_nobody() {
    let executor = &runtime().executor;
    let kept = Rc::new(RefCell::new(None));
    let slot = kept.clone();
    executor.spawn(Box::pin(poll_fn(move |context| {
        *slot.borrow_mut() = Some(context.waker().clone());
        Poll::Ready(())
    })));
    run_all(executor);
    let polls = Rc::new(RefCell::new(0));
    let counted = polls.clone();
    executor.spawn(Box::pin(poll_fn(move |_| {
        *counted.borrow_mut() += 1;
        Poll::Pending
    })));
    run_all(executor);
    kept.borrow().as_ref().unwrap().wake_by_ref();
    assert_eq!(run_all(executor), 0, "the task in the same slot is another one");
    assert_eq!(*polls.borrow(), 1);
}

#[test]
fn a_task_is_dropped_when_it_is_cancelled_idle_ready_or_running() {
    let executor = &runtime().executor;
    let alive = Rc::new(());
    let make = || {
        let alive = alive.clone();
        Box::pin(async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        })
    };
    let idle = executor.spawn(make());
    run_all(executor);
    let ready = executor.spawn(make());
    executor.cancel(idle);
    executor.cancel(ready);
    assert_eq!(Rc::strong_count(&alive), 1);
    let inner = alive.clone();
    let own = Rc::new(RefCell::new(None));
    let slot = own.clone();
    let running = executor.spawn(Box::pin(poll_fn(move |_| {
        let _inner = &inner;
        runtime().executor.cancel(slot.borrow().unwrap());
        Poll::Pending
    })));
    *own.borrow_mut() = Some(running);
    run_all(executor);
    assert_eq!(Rc::strong_count(&alive), 1);
    let reused = executor.spawn(make());
    assert_eq!(run_all(executor), 1);
    executor.cancel(reused);
}

#[test]
fn a_task_that_is_woken_many_times_runs_once() {
    let executor = &runtime().executor;
    let polls = Rc::new(RefCell::new(Vec::new()));
    let seen = polls.clone();
    executor.spawn(Box::pin(poll_fn(move |context| {
        seen.borrow_mut().push(context.waker().clone());
        Poll::Pending
    })));
    run_all(executor);
    let waker = polls.borrow()[0].clone();
    waker.wake_by_ref();
    waker.wake_by_ref();
    let again = waker.clone();
    drop(waker);
    again.wake();
    assert_eq!(run_all(executor), 1);
    assert_eq!(polls.borrow().len(), 2);
}

#[test]
fn an_alarm_stays_set_for_a_later_deadline_and_moves_for_an_earlier_one() {
    let checked = Rc::new(Cell::new(false));
    let done = checked.clone();
    runtime().executor.spawn(Box::pin(poll_fn(move |context| {
        check_alarm(context);
        done.set(true);
        Poll::Ready(())
    })));
    run_all(&runtime().executor);
    assert!(checked.get());
}

fn check_alarm(context: &Context<'_>) {
    let timers = &runtime().timers;
    let later = |hours: u64| super::now() + Duration::from_secs(hours * 3600);
    let (two, three, one) = (later(2), later(3), later(1));
    let mut alarm = super::Alarm::new();
    assert_eq!(alarm.poll_until(None, context), Poll::Pending);
    assert_eq!(timers.next(), abi::NO_DEADLINE);
    assert_eq!(alarm.poll_until(Some(two), context), Poll::Pending);
    assert_eq!(u128::from(timers.next()), two.as_nanos());
    assert_eq!(alarm.poll_until(Some(three), context), Poll::Pending);
    assert_eq!(
        u128::from(timers.next()),
        two.as_nanos(),
        "it wakes for nothing at two and is set again then"
    );
    assert_eq!(alarm.poll_until(None, context), Poll::Pending);
    assert_eq!(u128::from(timers.next()), two.as_nanos());
    assert_eq!(alarm.poll_until(Some(one), context), Poll::Pending);
    assert_eq!(u128::from(timers.next()), one.as_nanos());
    assert_eq!(alarm.poll_until(Some(Duration::ZERO), context), Poll::Ready(()));
    drop(alarm);
    assert_eq!(timers.next(), abi::NO_DEADLINE);
}
