//! Calls between two processes: answers, errors, limits, cancellation and their cost in system calls.
use std::{cell::Cell, collections::VecDeque, rc::Rc, time::Duration};

use abi::{MAXIMUM_WORDS, Syscall};
use capnp::ErrorKind;
use schema::test_capnp::echo::{self, Failure};

use super::echo::{Counts, Echo, alone, call, counts, with_server};
use crate::{now, sleep, spawn, timeout, yield_now};

#[test]
fn a_value_goes_out_and_back() {
    with_server(|_, _, client| async move {
        for value in [0, 1, u64::MAX] {
            assert_eq!(call(&client, value).await.unwrap(), value);
        }
    });
}

#[test]
fn a_call_costs_two_system_calls_in_all() {
    const CALLS: u64 = 100;
    with_server(|kernel, _, client| async move {
        call(&client, 0).await.unwrap();
        let all = |kernel: &super::kernel::Kernel| {
            [
                Syscall::SubmitYield,
                Syscall::ReplyReceive,
                Syscall::SubmitReceive,
                Syscall::Submit,
                Syscall::Reply,
                Syscall::Close,
                Syscall::Call,
            ]
            .map(|number| kernel.count(number))
        };
        let before = all(&kernel);
        for value in 0..CALLS {
            assert_eq!(call(&client, value).await.unwrap(), value);
        }
        let after = all(&kernel);
        let spent: Vec<u64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
        assert_eq!(spent, [CALLS, CALLS, 0, 0, 0, 0, 0], "one SubmitYield and one ReplyReceive each");
    });
}

/// An answer that was taken in place is not told of again by a signal.
#[test]
fn a_wait_after_calls_in_place_is_one_system_call() {
    with_server(|kernel, _, client| async move {
        call(&client, 0).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        for value in 0..3 {
            call(&client, value).await.unwrap();
        }
        let before = kernel.count(Syscall::ReplyReceive);
        sleep(Duration::from_millis(1)).await;
        assert_eq!(kernel.count(Syscall::ReplyReceive), before + 1);
    });
}

#[test]
fn calls_in_place_leave_others_their_turn() {
    with_server(|kernel, _, client| async move {
        let calls = Rc::new(Cell::new(0));
        let seen = calls.clone();
        let rung = Rc::new(crate::Signal::new().await.unwrap());
        let doorbell = rung.signaller();
        spawn(async move {
            rung.wait().await;
            seen.set(seen.get() + 1_000_000);
        });
        sleep(Duration::from_millis(1)).await;
        crate::ring_doorbell(&doorbell);
        let before = kernel.count(Syscall::SubmitReceive);
        for value in 0..1000 {
            call(&client, value).await.unwrap();
            calls.set(calls.get() + 1);
        }
        assert_eq!(calls.get(), 1_001_000, "the signal was seen meanwhile");
        assert!(kernel.count(Syscall::SubmitReceive) >= before + 3);
    });
}

/// A server that takes its time is called in the way that costs least then, most of the time.
#[test]
fn calls_of_a_slow_server_are_seldom_tried_in_place() {
    with_server(|kernel, _, client| async move {
        const CALLS: u64 = 100;
        call(&client, 0).await.unwrap();
        let before = kernel.count(Syscall::SubmitYield);
        for _ in 0..CALLS {
            let mut request = client.later_request();
            request.get().set_nanoseconds(1000);
            request.send().promise.await.unwrap();
        }
        let tried = kernel.count(Syscall::SubmitYield) - before;
        assert!((1..=CALLS / 10).contains(&tried), "{tried} of {CALLS}");
    });
}

#[test]
fn each_kind_of_error_arrives_with_its_reason() {
    with_server(|_, _, client| async move {
        for (failure, kind) in [
            (Failure::Failed, ErrorKind::Failed),
            (Failure::Overloaded, ErrorKind::Overloaded),
            (Failure::Disconnected, ErrorKind::Disconnected),
            (Failure::Unimplemented, ErrorKind::Unimplemented),
        ] {
            for reason in ["", "12345678", "a reason that is no multiple of eight: ä"] {
                let mut request = client.fail_request();
                request.get().set_kind(failure);
                request.get().set_reason(reason);
                let error = request.send().promise.await.err().unwrap();
                assert_eq!((error.kind, error.extra.as_str()), (kind, reason));
            }
        }
        assert_eq!(call(&client, 5).await.unwrap(), 5, "the client goes on working");
    });
}

#[test]
fn a_reason_that_is_too_long_is_cut() {
    with_server(|_, _, client| async move {
        let mut request = client.fail_request();
        request.get().set_reason("ä".repeat(1000));
        let error = request.send().promise.await.err().unwrap();
        assert_eq!(error.extra, "ä".repeat(256));
    });
}

#[test]
fn the_largest_message_fits_and_one_word_more_is_refused() {
    // A root pointer and the struct's one pointer are not data.
    const LARGEST: usize = (MAXIMUM_WORDS - 2) * 8;
    with_server(|_, _, client| async move {
        let data: Vec<u8> = (0..LARGEST).map(|index| index as u8).collect();
        let mut request = client.blob_request();
        request.get().set_data(&data);
        assert_eq!(request.send().promise.await.unwrap().get().unwrap().get_data().unwrap(), data);

        let mut request = client.blob_request();
        request.get().set_data(&[0; LARGEST + 1]);
        let error = request.send().promise.await.err().unwrap();
        assert_eq!(error.kind, ErrorKind::Failed);
        assert!(error.extra.contains("too large"), "{error}");
        assert_eq!(call(&client, 1).await.unwrap(), 1);
    });
}

#[test]
fn an_answer_that_is_too_large_is_an_error() {
    alone(|_, _| async {
        // In one process, so that the request is not what is too large.
        use crate::serve;
        struct Big;
        impl echo::Server for Big {
            async fn blob(
                self: Rc<Self>,
                _: echo::BlobParams,
                mut results: echo::BlobResults,
            ) -> Result<(), capnp::Error> {
                results.get().init_data(100_000);
                Ok(())
            }
        }
        let local: echo::Client = serve(Rc::new(Big));
        let remote = super::capabilities::through_the_kernel(&local).await;
        for client in [local, remote] {
            let error = client.blob_request().send().promise.await.err().unwrap();
            assert!(error.extra.contains("too large"), "{error}");
        }
    });
}

/// What a method does with its results before it answers.
#[derive(Clone, Copy)]
enum Early {
    /// Gives them up and works on.
    Drops,
    /// Keeps them beyond its answer.
    Keeps,
    /// Puts a capability into them and fails.
    Fails,
}

struct Odd {
    early: Early,
    counts: Rc<Counts>,
}

impl echo::Server for Odd {
    async fn same(
        self: Rc<Self>,
        _: echo::SameParams,
        mut results: echo::SameResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_echo(Echo::client(&self.counts));
        match self.early {
            Early::Drops => {
                drop(results);
                sleep(Duration::from_millis(1)).await;
                Ok(())
            }
            Early::Keeps => {
                spawn(async move {
                    sleep(Duration::from_millis(1)).await;
                    drop(results);
                });
                Ok(())
            }
            Early::Fails => Err(capnp::Error::failed("no".into())),
        }
    }
}

#[test]
fn results_belong_to_their_call_whenever_a_method_drops_them() {
    alone(|_, _| async {
        let counts = Rc::new(Counts::default());
        let make = |early| {
            let local: echo::Client = crate::serve(Rc::new(Odd { early, counts: counts.clone() }));
            local
        };
        for early in [Early::Drops, Early::Keeps, Early::Fails] {
            let local = make(early);
            let remote = super::capabilities::through_the_kernel(&local).await;
            for client in [&local, &remote] {
                // Two at a time, and others in between.
                let calls = [client.same_request().send().promise, client.same_request().send().promise];
                let other = Echo::client(&Rc::default());
                let other = super::capabilities::through_the_kernel(&other).await;
                assert_eq!(call(&other, 6).await.unwrap(), 6);
                for promise in calls {
                    let response = promise.await;
                    assert_eq!(call(&other, 7).await.unwrap(), 7);
                    match early {
                        Early::Drops => {
                            let echo = response.unwrap().get().unwrap().get_echo().unwrap();
                            assert_eq!(call(&echo, 8).await.unwrap(), 8);
                        }
                        Early::Keeps => assert!(response.unwrap().get().unwrap().get_echo().is_err()),
                        Early::Fails => assert_eq!(response.err().unwrap().extra, "no"),
                    }
                }
            }
        }
        sleep(Duration::from_millis(5)).await;
        assert_eq!(counts.objects.get(), 0, "nothing is left of what was in the results");
    });
}

#[test]
fn memory_of_a_message_is_zero_when_it_is_used_again() {
    with_server(|_, _, client| async move {
        let mut request = client.blob_request();
        request.get().set_data(&[0xff; 3000]);
        request.send().promise.await.unwrap();
        let mut request = client.blob_request();
        assert_eq!(request.get().init_data(2000), vec![0; 2000]);
        assert_eq!(request.send().promise.await.unwrap().get().unwrap().get_data().unwrap(), vec![0; 2000]);
    });
}

#[test]
fn dropping_a_promise_cancels_the_call() {
    with_server(|kernel, _, client| async move {
        let promise = client.never_request().send().promise;
        assert_eq!(counts(&client).await, (1, 1), "it has arrived");
        let before = kernel.count(Syscall::Cancel);
        drop(promise);
        assert_eq!(kernel.count(Syscall::Cancel), before + 1);
        assert_eq!(call(&client, 3).await.unwrap(), 3, "its Call carries the next one");
    });
}

#[test]
fn a_call_that_is_dropped_at_once_is_cancelled() {
    with_server(|kernel, _, client| async move {
        drop(client.never_request());
        assert_eq!(kernel.count(Syscall::Cancel), 0, "what is not sent is not cancelled");
        drop(client.never_request().send());
        assert_eq!(kernel.count(Syscall::Cancel), 1);
        assert_eq!(call(&client, 5).await.unwrap(), 5, "its Call can be used again");
    });
}

#[test]
fn a_slow_call_does_not_hold_up_another() {
    with_server(|_, _, client| async move {
        let slow = client.never_request().send().promise;
        assert_eq!(call(&client, 1).await.unwrap(), 1);
        drop(slow);
    });
}

#[test]
fn more_calls_than_call_objects_wait_their_turn() {
    const CALLS: u64 = 300;
    with_server(|_, _, client| async move {
        let mut promises = VecDeque::new();
        for value in 0..CALLS {
            let mut request = client.echo_request();
            request.get().set_value(value);
            promises.push_back(request.send().promise);
        }
        for value in 0..CALLS {
            let response = promises.pop_front().unwrap().await.unwrap();
            assert_eq!(response.get().unwrap().get_value(), value);
        }
    });
}

#[test]
fn a_server_with_too_many_calls_says_so() {
    // Two clients' Calls are needed to reach the server's limit.
    const EACH: usize = 120;
    alone(|_, _| async {
        let counts = Rc::new(Counts::default());
        let remote = super::capabilities::through_the_kernel(&Echo::client(&counts)).await;
        let waiting: Vec<_> = (0..EACH).map(|_| remote.never_request().send().promise).collect();
        while counts.waiting.get() < EACH as u32 {
            yield_now().await;
        }
        crate::runtime::runtime().serving.set(256);
        let error = call(&remote, 1).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Overloaded);
        crate::runtime::runtime().serving.set(EACH as u32);
        assert_eq!(call(&remote, 1).await.unwrap(), 1);
        drop(waiting);
    });
}

#[test]
fn a_server_that_ends_disconnects_its_clients() {
    let kernel = super::kernel::Kernel::default();
    let server = kernel.start(|environment| async move {
        environment.export("short", Echo::client(&Rc::default())).await.unwrap();
        sleep(Duration::from_millis(1)).await;
    });
    kernel.run(vec![server], |environment| async move {
        let client: schema::test_capnp::echo::Client = environment.reacquire("short").await.unwrap();
        let error = client.never_request().send().promise.await.err().unwrap();
        assert_eq!(error.kind, ErrorKind::Disconnected);
        assert_eq!(call(&client, 1).await.unwrap_err().kind, ErrorKind::Disconnected);
    });
}

#[test]
fn a_time_out_drops_the_call_and_time_goes_on_only_when_all_wait() {
    with_server(|kernel, _, client| async move {
        let start = now();
        let result = timeout(Duration::from_millis(5), client.never_request().send().promise).await;
        assert_eq!(result.err(), Some(crate::Elapsed));
        assert_eq!(now() - start, Duration::from_millis(5));
        assert_eq!(kernel.count(Syscall::Cancel), 1);
        assert_eq!(timeout(Duration::from_millis(5), call(&client, 2)).await.unwrap().unwrap(), 2);
    });
}

#[test]
fn a_busy_task_does_not_keep_events_away() {
    with_server(|_, _, client| async move {
        let busy = Rc::new(Cell::new(true));
        let flag = busy.clone();
        spawn(async move {
            while flag.get() {
                yield_now().await;
            }
        });
        assert_eq!(call(&client, 9).await.unwrap(), 9);
        busy.set(false);
    });
}

#[test]
fn a_response_outlives_its_client_and_further_calls() {
    with_server(|_, _, client| async move {
        let mut request = client.blob_request();
        request.get().set_data(b"kept");
        let response = request.send().promise.await.unwrap();
        for value in 0..10 {
            call(&client, value).await.unwrap();
        }
        drop(client);
        assert_eq!(response.get().unwrap().get_data().unwrap(), b"kept");
    });
}
