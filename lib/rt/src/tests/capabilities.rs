//! Capabilities in messages: both directions, pipelining, and the life of objects.
use std::{future::pending, rc::Rc, time::Duration};

use abi::Syscall;
use capnp::{ErrorKind, capability::FromClientHook};
use schema::test_capnp::echo;

use super::{
    echo::{Counts, Echo, alone, call, counts, with_server},
    kernel::Kernel,
};
use crate::{capability, sleep, yield_now};

/// A client that reaches a local object by the kernel, as another process would.
pub(super) async fn through_the_kernel(local: &echo::Client) -> echo::Client {
    let supervisor = crate::runtime::runtime();
    let handle = supervisor.objects.facet(local.as_client_hook().get_ptr()).unwrap();
    // A facet of our own that is sent to us would be a further handle; ask the kernel for one.
    let loopback = super::kernel::duplicate(handle);
    super::echo::client(loopback)
}

fn brand(client: &echo::Client) -> usize {
    client.as_client_hook().get_brand()
}

#[test]
fn a_capability_comes_back_as_a_client() {
    with_server(|_, _, client| async move {
        let child = client.child_request().send().promise.await.unwrap().get().unwrap().get_echo().unwrap();
        assert_eq!(brand(&child), capability::REMOTE);
        assert_eq!(call(&child, 7).await.unwrap(), 7);
        assert_eq!(counts(&client).await, (2, 0));
    });
}

#[test]
fn a_released_object_is_dropped_by_its_server() {
    with_server(|_, _, client| async move {
        let child = client.child_request().send().promise.await.unwrap().get().unwrap().get_echo().unwrap();
        let copy = child.clone();
        drop(child);
        assert_eq!(call(&copy, 1).await.unwrap(), 1);
        assert_eq!(counts(&client).await, (2, 0));
        drop(copy);
        assert_eq!(counts(&client).await, (1, 0));
    });
}

#[test]
fn a_local_object_can_be_called_by_its_receiver() {
    with_server(|_, _, client| async move {
        let own = Rc::new(Counts::default());
        let mut request = client.call_back_request();
        request.get().set_echo(Echo::client(&own));
        request.get().set_value(11);
        let response = request.send().promise.await.unwrap();
        assert_eq!(response.get().unwrap().get_value(), 11);
        drop(response);
        // The server has dropped it; the release is on its way.
        while own.objects.get() > 0 {
            sleep(Duration::from_nanos(1)).await;
        }
    });
}

#[test]
fn an_object_that_was_sent_and_kept_is_sent_again_under_the_same_facet() {
    with_server(|kernel, _, client| async move {
        let own = Rc::new(Counts::default());
        let local = Echo::client(&own);
        let before = kernel.count(Syscall::Call);
        for value in 0..3 {
            let mut request = client.call_back_request();
            request.get().set_echo(local.clone());
            request.get().set_value(value);
            assert_eq!(request.send().promise.await.unwrap().get().unwrap().get_value(), value);
        }
        assert_eq!(kernel.count(Syscall::Call) - before, 2, "an endpoint and a facet were made, once");
        assert_eq!(own.objects.get(), 1);
        drop(local);
        while own.objects.get() > 0 {
            sleep(Duration::from_nanos(1)).await;
        }
    });
}

#[test]
fn a_capability_of_our_own_that_comes_back_works() {
    with_server(|_, _, client| async move {
        let own = Rc::new(Counts::default());
        let mut request = client.same_request();
        request.get().set_echo(Echo::client(&own));
        let back = request.send().promise.await.unwrap().get().unwrap().get_echo().unwrap();
        assert_eq!(own.objects.get(), 1, "the copy that came back keeps it");
        assert_eq!(call(&back, 4).await.unwrap(), 4, "the call goes through the kernel and back to us");
        drop(back);
        while own.objects.get() > 0 {
            sleep(Duration::from_nanos(1)).await;
        }
    });
}

#[test]
fn a_remote_capability_can_be_passed_on() {
    with_server(|kernel, environment, client| async move {
        let open = kernel.open_handles(&environment);
        let child = client.child_request().send().promise.await.unwrap().get().unwrap().get_echo().unwrap();
        let mut request = client.call_back_request();
        request.get().set_echo(child.clone());
        request.get().set_value(12);
        assert_eq!(request.send().promise.await.unwrap().get().unwrap().get_value(), 12);
        drop(child);
        assert_eq!(kernel.open_handles(&environment), open, "no handle is left behind");
    });
}

#[test]
fn calls_to_a_capability_of_an_answer_need_not_wait_for_it() {
    with_server(|_, _, client| async move {
        let mut request = client.later_request();
        request.get().set_nanoseconds(1000);
        let sent = request.send();
        let child = sent.pipeline.get_echo();
        let promises: Vec<_> = (0..3)
            .map(|value| {
                let mut request = child.echo_request();
                request.get().set_value(value);
                request.send().promise
            })
            .collect();
        for (value, promise) in promises.into_iter().enumerate() {
            assert_eq!(promise.await.unwrap().get().unwrap().get_value(), value as u64);
        }
        assert_eq!(brand(&child), capability::PROMISED);
        assert_eq!(call(&child, 8).await.unwrap(), 8, "afterwards it goes straight there");
        drop(sent.promise);
    });
}

#[test]
fn a_pipelined_call_keeps_the_call_before_it_alive() {
    with_server(|kernel, _, client| async move {
        let mut request = client.later_request();
        request.get().set_nanoseconds(1000);
        let child = request.send().pipeline.get_echo();
        let mut request = child.echo_request();
        request.get().set_value(5);
        let promise = request.send().promise;
        drop(child);
        assert_eq!(promise.await.unwrap().get().unwrap().get_value(), 5);
        assert_eq!(kernel.count(Syscall::Cancel), 0);
    });
}

#[test]
fn a_pipelined_call_fails_as_the_call_before_it() {
    with_server(|_, _, client| async move {
        let child = client.never_request();
        drop(child);
        // `same` without a capability answers with an error.
        let child = client.same_request().send().pipeline.get_echo();
        let error = call(&child, 1).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Failed);
        assert!(call(&child, 1).await.is_err(), "and so does each after it");
    });
}

#[test]
fn a_promised_capability_is_sent_when_it_is_known() {
    with_server(|_, _, client| async move {
        let mut request = client.later_request();
        request.get().set_nanoseconds(1000);
        let child = request.send().pipeline.get_echo();
        let mut request = client.call_back_request();
        request.get().set_echo(child);
        request.get().set_value(6);
        assert_eq!(request.send().promise.await.unwrap().get().unwrap().get_value(), 6);

        let broken = client.same_request().send().pipeline.get_echo();
        let mut request = client.call_back_request();
        request.get().set_echo(broken);
        assert!(request.send().promise.await.is_err());
    });
}

#[test]
fn local_calls_work_without_the_kernel() {
    alone(|kernel, _| async move {
        let own = Rc::new(Counts::default());
        let client = Echo::client(&own);
        let before = [Syscall::Submit, Syscall::SubmitReceive].map(|number| kernel.count(number));
        assert_eq!(call(&client, 21).await.unwrap(), 21);
        let child = client.child_request().send().pipeline.get_echo();
        assert_eq!(call(&child, 22).await.unwrap(), 22);
        let after = [Syscall::Submit, Syscall::SubmitReceive].map(|number| kernel.count(number));
        assert_eq!(after, before);
        assert_eq!(own.objects.get(), 2);
        drop(child);
        assert_eq!(own.objects.get(), 1);
        let never = client.never_request().send().promise;
        yield_now().await;
        assert_eq!(own.waiting.get(), 1);
        drop(never);
        assert_eq!(own.waiting.get(), 0, "dropping the promise ends the method");
        drop(client);
        assert_eq!(own.objects.get(), 0);
    });
}

#[test]
fn a_process_can_call_itself_through_the_kernel() {
    alone(|_, _| async {
        let own = Rc::new(Counts::default());
        let local = Echo::client(&own);
        let remote = through_the_kernel(&local).await;
        drop(local);
        assert_eq!(call(&remote, 33).await.unwrap(), 33);
        assert_eq!(own.objects.get(), 1);
        drop(remote);
        while own.objects.get() > 0 {
            sleep(Duration::from_nanos(1)).await;
        }
    });
}

#[test]
fn an_export_that_comes_later_is_waited_for() {
    let kernel = Kernel::default();
    let server = kernel.start(|environment| async move {
        sleep(Duration::from_secs(1)).await;
        environment.export("late", Echo::client(&Rc::default())).await.unwrap();
        pending().await
    });
    kernel.run(vec![server], |environment| async move {
        let client: echo::Client = environment.reacquire("late").await.unwrap();
        assert_eq!(call(&client, 1).await.unwrap(), 1);
    });
}

#[test]
fn more_than_eight_capabilities_are_refused() {
    with_server(|_, _, client| async move {
        let mut request = client.same_request();
        for _ in 0..9 {
            request.get().set_echo(client.clone());
        }
        let error = request.send().promise.await.err().unwrap();
        assert!(error.extra.contains("at most 8"), "{error}");
    });
}

#[test]
fn an_object_that_drops_its_own_client_while_it_is_dropped_is_no_trouble() {
    alone(|_, _| async {
        struct Nested {
            _inner: echo::Client,
        }
        impl echo::Server for Nested {}
        let own = Rc::new(Counts::default());
        let inner = Echo::client(&own);
        let outer: echo::Client = crate::serve(Rc::new(Nested { _inner: inner }));
        let remote = through_the_kernel(&outer).await;
        drop(outer);
        drop(remote);
        while own.objects.get() > 0 {
            sleep(Duration::from_nanos(1)).await;
        }
    });
}
