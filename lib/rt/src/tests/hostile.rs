//! Peers and messages that are wrong: each is an error where it belongs, and everything else goes on.
use std::{rc::Rc, sync::Arc, time::Duration};

use abi::Status;
use capnp::{ErrorKind, capability::FromClientHook, traits::HasTypeId};
use schema::{system_capnp::log_writer, test_capnp::echo};

use super::{
    echo::{Counts, Echo, alone, call, client, counts, with_server},
    kernel::{Answer, Object, Request, answer_in},
};
use crate::{runtime::runtime, sleep};

/// Answers of objects that do not keep to the rules.
fn wrong_answers() -> Vec<Vec<u64>> {
    const LIST: u64 = 1;
    const FAR: u64 = 2;
    const CAPABILITY: u64 = 3;
    vec![
        // A struct far behind the end, before the start, and of impossible size.
        vec![1000 << 2 | 1 << 32],
        vec![0xffff_fffc | 1 << 32, 0],
        vec![0xffff << 32 | 0xffff << 48, 0],
        // A list where a struct should be, and lists of too many elements.
        vec![LIST | 2 << 32 | 8 << 35, 0],
        vec![1 << 48, LIST | 7 << 32 | 0x1fff_ffff << 35, 0],
        vec![1 << 48, LIST | 2 << 32 | 0x1fff_ffff << 35, 0],
        // Far pointers to segments that are not there.
        vec![FAR | 7 << 32],
        vec![FAR | 4 | 1 << 32],
        // Capabilities that the message does not carry.
        vec![1 << 48, CAPABILITY | 5 << 32],
        vec![1 << 48, CAPABILITY | 0xffff_ffff << 32],
        vec![CAPABILITY],
        // Nothing but ones.
        vec![u64::MAX; 504],
    ]
}

fn scripted(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Object {
    Object::Scripted(Arc::new(answer))
}

#[test]
fn a_malformed_answer_is_an_error_to_who_reads_it() {
    alone(|kernel, environment| async move {
        for words in wrong_answers() {
            let sent = words.clone();
            let object = scripted(move |_| Answer::ok(sent.clone(), Vec::new()));
            let peer: echo::Client = client(kernel.insert(&environment, object));
            let blob = peer.blob_request().send().promise.await.unwrap();
            let read = blob.get().and_then(|results| results.get_data().map(<[u8]>::len));
            let child = peer.child_request().send().promise.await.unwrap();
            let capability = child.get().and_then(|results| results.get_echo());
            assert!(read.is_err() || capability.is_err(), "{words:x?}");
            let pipelined = peer.child_request().send().pipeline.get_echo();
            assert!(call(&pipelined, 1).await.is_err(), "{words:x?}");
        }
    });
}

#[test]
fn an_empty_answer_reads_as_defaults() {
    alone(|kernel, environment| async move {
        let object = scripted(|_| Answer::ok(Vec::new(), Vec::new()));
        let peer: echo::Client = client(kernel.insert(&environment, object));
        assert_eq!(call(&peer, 7).await.unwrap(), 0);
        assert!(peer.child_request().send().promise.await.unwrap().get().unwrap().get_echo().is_err());
    });
}

#[test]
fn capabilities_that_no_pointer_names_are_closed() {
    alone(|kernel, environment| async move {
        let object = scripted(|_| Answer::ok(Vec::new(), vec![Object::Memory, Object::Log, Object::Memory]));
        let peer: echo::Client = client(kernel.insert(&environment, object));
        call(&peer, 1).await.unwrap();
        let open = kernel.open_handles(&environment);
        call(&peer, 1).await.unwrap();
        assert_eq!(kernel.open_handles(&environment), open);
    });
}

#[test]
fn a_reason_that_is_no_text_is_still_an_error() {
    alone(|kernel, environment| async move {
        let object = scripted(|_| Answer {
            status: Status::Overloaded,
            words: vec![u64::from_le_bytes(*b"no\xfftext\0")],
            objects: Vec::new(),
        });
        let peer: echo::Client = client(kernel.insert(&environment, object));
        let error = call(&peer, 1).await.unwrap_err();
        assert_eq!((error.kind, error.extra.as_str()), (ErrorKind::Overloaded, "no\u{fffd}text"));
    });
}

#[test]
fn a_call_with_a_bad_handle_fails() {
    alone(|_, _| async {
        let peer: echo::Client = client(0);
        assert_eq!(call(&peer, 1).await.unwrap_err().kind, ErrorKind::Failed);
    });
}

#[test]
fn unknown_interfaces_and_methods_are_unimplemented() {
    with_server(|_, _, peer| async move {
        let other: log_writer::Client = peer.clone().cast_to();
        let error = other.write_request().send().promise.await.err().unwrap();
        assert_eq!(error.kind, ErrorKind::Unimplemented);
        let request: capnp::capability::Request<echo::echo_params::Owned, echo::echo_results::Owned> =
            peer.client.new_call(echo::Client::TYPE_ID, 999, None);
        assert_eq!(request.send().promise.await.err().unwrap().kind, ErrorKind::Unimplemented);
        assert_eq!(call(&peer, 1).await.unwrap(), 1);
    });
}

fn request(words: Vec<u64>, objects: Vec<Object>, method: u16) -> Request {
    Request { interface: echo::Client::TYPE_ID, method, words, objects }
}

/// Lets the events that are there be handled.
async fn settle() {
    sleep(Duration::from_nanos(1)).await;
}

#[test]
fn malformed_parameters_are_an_error_to_the_caller() {
    alone(|kernel, environment| async move {
        let own = Rc::new(Counts::default());
        let local = Echo::client(&own);
        let handle = runtime().objects.facet(local.as_client_hook().get_ptr()).unwrap();
        let badge = kernel.badge(&environment, handle).unwrap();
        for words in wrong_answers() {
            // `blob` and `callBack` read their parameters in different ways.
            for method in [1, 6] {
                let page =
                    kernel.call_with_badge(&environment, badge, request(words.clone(), Vec::new(), method));
                settle().await;
                assert!(answer_in(page).is_some(), "{words:x?}");
            }
        }
        let page =
            kernel.call_with_badge(&environment, badge, request(vec![1000 << 2 | 1 << 32], Vec::new(), 0));
        settle().await;
        assert_eq!(answer_in(page), Some(Status::Failed));
        assert_eq!(call(&local, 2).await.unwrap(), 2);
    });
}

#[test]
fn an_unknown_badge_is_disconnected_and_its_capabilities_are_closed() {
    alone(|kernel, environment| async move {
        let own = Rc::new(Counts::default());
        let local = Echo::client(&own);
        let handle = runtime().objects.facet(local.as_client_hook().get_ptr()).unwrap();
        let badge = kernel.badge(&environment, handle).unwrap();
        let open = kernel.open_handles(&environment);
        for wrong in [badge + 1, badge + (1 << 32), u64::MAX] {
            let page = kernel.call_with_badge(&environment, wrong, request(vec![0], vec![Object::Log], 0));
            settle().await;
            assert_eq!(answer_in(page), Some(Status::Disconnected));
            kernel.release_badge(&environment, wrong);
            settle().await;
        }
        assert_eq!(kernel.open_handles(&environment), open);
        assert_eq!(own.objects.get(), 1);
        // A release that the kernel cannot send while we hold a copy changes nothing either.
        kernel.release_badge(&environment, badge);
        settle().await;
        assert_eq!(own.objects.get(), 1);
    });
}

#[test]
fn a_message_that_is_read_again_and_again_reaches_its_limit() {
    // So a message whose pointers all lead to the same words costs its reader no more than so much.
    const LIMIT: usize = 1 << 20;
    const WORDS: usize = 500;
    alone(|kernel, environment| async move {
        let mut words = vec![1 << 48, 1 | 2 << 32 | (WORDS as u64 * 8) << 35];
        words.resize(WORDS + 2, 0);
        let object = scripted(move |_| Answer::ok(words.clone(), Vec::new()));
        let peer: echo::Client = client(kernel.insert(&environment, object));
        let blob = peer.blob_request().send().promise.await.unwrap();
        let results = blob.get().unwrap();
        let reads = (0..LIMIT).take_while(|_| results.get_data().is_ok()).count();
        assert_eq!(reads, LIMIT / WORDS);
        let again = peer.blob_request().send().promise.await.unwrap();
        assert!(again.get().unwrap().get_data().is_ok(), "the next message has its own limit");
    });
}

#[test]
fn a_client_that_dies_leaves_nothing_behind() {
    let kernel = super::kernel::Kernel::default();
    let server = kernel.start(|environment| async move {
        environment.export("echo", Echo::client(&Rc::default())).await.unwrap();
        std::future::pending().await
    });
    let victim = kernel.start(|environment| async move {
        let peer: echo::Client = environment.reacquire("echo").await.unwrap();
        let mut children = Vec::new();
        for _ in 0..5 {
            children.push(peer.child_request().send().promise.await.unwrap());
        }
        std::mem::forget(children);
    });
    kernel.run(vec![server, victim], |environment| async move {
        let peer: echo::Client = environment.reacquire("echo").await.unwrap();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(counts(&peer).await, (1, 0));
    });
}

/// A generator of numbers that are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 16 ^ self.0 << 24
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 8) as usize % bound
    }

    /// Words most of which look like pointers to somewhere near.
    fn message(&mut self) -> Vec<u64> {
        let length = self.below(12);
        let mut words: Vec<u64> = (0..length)
            .map(|_| {
                let (kind, offset) = (self.below(4) as u64, self.below(16) as u64);
                let offset = offset.wrapping_sub(4) & 0x3fff_ffff;
                let sizes = (self.below(4) as u64) << 32 | (self.below(4) as u64) << 48;
                match self.below(4) {
                    0 => self.next(),
                    1 => kind | offset << 2 | (self.below(8) as u64) << 32 | (self.below(40) as u64) << 35,
                    _ => kind | offset << 2 | sizes,
                }
            })
            .collect();
        if let Some(root) = words.first_mut()
            && self.below(3) > 0
        {
            *root = (self.below(3) as u64) << 32 | 1 << 48;
        }
        words
    }
}

#[test]
fn no_message_can_do_more_than_be_refused() {
    const MESSAGES: usize = 20_000;
    alone(|kernel, environment| async move {
        let numbers = std::sync::Mutex::new(Numbers(1));
        let object = scripted(move |_| Answer::ok(numbers.lock().unwrap().message(), vec![Object::Memory]));
        let peer: echo::Client = client(kernel.insert(&environment, object));
        let own = Rc::new(Counts::default());
        let local = Echo::client(&own);
        let handle = runtime().objects.facet(local.as_client_hook().get_ptr()).unwrap();
        let badge = kernel.badge(&environment, handle).unwrap();
        let mut numbers = Numbers(2);
        let mut answered = [0, 0];
        for _ in 0..MESSAGES {
            let response = peer.blob_request().send().promise.await.unwrap();
            let good = response.get().is_ok_and(|results| {
                let copied = capnp::message::Builder::new_default().set_root_canonical(results).is_ok();
                results.get_data().is_ok() && copied
            });
            answered[usize::from(good)] += 1;
            drop(response);
            // Methods that read data, a capability, and only a number; and one that there is not.
            let method = [1, 5, 0, 77][numbers.below(4)];
            let page =
                kernel.call_with_badge(&environment, badge, request(numbers.message(), Vec::new(), method));
            settle().await;
            assert!(answer_in(page).is_some());
        }
        assert!(answered.iter().all(|count| *count > MESSAGES / 100), "both kinds were tried: {answered:?}");
        assert_eq!(call(&local, 3).await.unwrap(), 3);
        assert_eq!(own.objects.get(), 1);
    });
}

#[test]
fn memory_for_messages_is_zero_whatever_was_there_before() {
    with_server(|_, _, peer| async move {
        let mut numbers = Numbers(3);
        for _ in 0..500 {
            let bound = [4000, 100, 100][numbers.below(3)];
            let length = numbers.below(bound);
            let mut request = peer.blob_request();
            let data = request.get().init_data(length as u32);
            assert!(data.iter().all(|byte| *byte == 0));
            data.fill(0xee);
            if numbers.below(4) == 0 {
                continue;
            }
            let response = request.send().promise.await.unwrap();
            assert_eq!(response.get().unwrap().get_data().unwrap(), vec![0xee; length]);
        }
    });
}
