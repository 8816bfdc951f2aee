//! What the runtime asks of the kernel itself: encodings, signals, ports, mappings, the log, timers.
use std::{cell::RefCell, rc::Rc, time::Duration};

use abi::Syscall;
use capnp::{ErrorKind, capability::FromClientHook, message::Builder, traits::HasTypeId};
use schema::{
    device_capnp::io_port,
    ipc_capnp::{endpoint, notification, signaller},
    memory_capnp::{Protection, address_space},
    process_capnp::own_process,
    system_capnp::log_writer,
};

use super::{
    echo::{alone, client},
    kernel::{Answer, Object, Request},
};
use crate::{
    Doorbell, Ports, Signal,
    kernel::{self, Method},
    memory::{self, Mapping},
    now, ring_doorbell, sleep, sleep_until, spawn, timeout,
};

fn words<T: capnp::message::Allocator>(message: &Builder<T>) -> Vec<u64> {
    let segments = message.get_segments_for_output();
    assert_eq!(segments.len(), 1);
    segments[0].chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect()
}

#[test]
fn parameters_written_by_hand_are_what_the_generated_code_writes() {
    let mut message = Builder::new_default();
    message.init_root::<own_process::endpoint_params::Builder<'_>>();
    // capnp writes a pointer to an empty struct as one to before itself; both read the same.
    assert_eq!(words(&message).len(), kernel::no_fields().len());

    let mut message = Builder::new_default();
    message.init_root::<own_process::memory_params::Builder<'_>>().set_pages(0xabcd_ef01);
    assert_eq!(words(&message), kernel::memory_fields(0xabcd_ef01));

    let mut message = Builder::new_default();
    let mut fields = message.init_root::<own_process::call_params::Builder<'_>>();
    fields.set_bits(1 << 40);
    fields.set_buffer(0x2000_0000_1000);
    assert_eq!(words(&message), kernel::call_fields(1 << 40, 0x2000_0000_1000));

    let mut message = Builder::new_default();
    message.init_root::<endpoint::mint_params::Builder<'_>>().set_badge(u64::MAX - 1);
    assert_eq!(words(&message), kernel::word_field(u64::MAX - 1));

    let mut message = Builder::new_default();
    message.init_root::<notification::signaller_params::Builder<'_>>().set_bits(3);
    assert_eq!(words(&message), kernel::word_field(3));

    let mut message = Builder::new_default();
    message.init_root::<address_space::unmap_params::Builder<'_>>().set_address(0x3000);
    assert_eq!(words(&message), kernel::word_field(0x3000));

    let mut message = Builder::new_default();
    let mut fields = message.init_root::<address_space::map_params::Builder<'_>>();
    fields.set_offset(7);
    fields.set_pages(9);
    fields.set_address(0x1000_0000_0000);
    fields.set_protection(Protection::ReadExecute);
    let mut expected = words(&message);
    // The capability, which a message without a table cannot have: index 0.
    *expected.last_mut().unwrap() = 3;
    assert_eq!(expected, kernel::map_fields(7, 9, 0x1000_0000_0000, Protection::ReadExecute));

    for text in ["", "1234567", "12345678", "123456789"] {
        let mut message = Builder::new_default();
        message.init_root::<log_writer::write_params::Builder<'_>>().set_text(text);
        let expected = words(&message);
        assert_eq!(expected[..2], kernel::text_fields(text.len()));
    }
}

/// Sends each request of the generated client to an object that notes what it was asked.
#[test]
fn methods_are_those_of_the_generated_clients() {
    alone(|kernel, environment| async move {
        let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let notes = asked.clone();
        let object = Object::Scripted(std::sync::Arc::new(move |request: &Request| {
            notes.lock().unwrap().push(Method { interface: request.interface, ordinal: request.method });
            Answer::ok(Vec::new(), Vec::new())
        }));
        macro_rules! ask {
            ($interface:ident, $request:ident) => {{
                let peer: $interface::Client = client(kernel.insert(&environment, object.clone()));
                peer.$request().send().promise.await.unwrap();
            }};
        }
        ask!(own_process, endpoint_request);
        ask!(own_process, notification_request);
        ask!(own_process, call_request);
        ask!(own_process, memory_request);
        ask!(own_process, address_space_request);
        ask!(address_space, map_request);
        ask!(address_space, unmap_request);
        ask!(endpoint, mint_request);
        ask!(notification, signaller_request);
        ask!(log_writer, write_request);
        let expected = [
            kernel::OWN_ENDPOINT,
            kernel::OWN_NOTIFICATION,
            kernel::OWN_CALL,
            kernel::OWN_MEMORY,
            kernel::OWN_ADDRESS_SPACE,
            kernel::MAP,
            kernel::UNMAP,
            kernel::MINT,
            kernel::SIGNALLER,
            kernel::WRITE_LINE,
        ];
        assert_eq!(*asked.lock().unwrap(), expected);
    });
}

#[test]
fn a_signal_wakes_who_waits_and_counts_once() {
    alone(|_, _| async {
        let signal = Rc::new(Signal::new().await.unwrap());
        assert!(!signal.try_take());
        ring_doorbell(&signal.signaller());
        ring_doorbell(&signal.signaller());
        signal.wait().await;
        assert!(!signal.try_take());
        let waiting = signal.clone();
        let order = Rc::new(RefCell::new(Vec::new()));
        let seen = order.clone();
        spawn(async move {
            waiting.wait().await;
            seen.borrow_mut().push("signal");
        });
        sleep(Duration::from_millis(1)).await;
        order.borrow_mut().push("ring");
        ring_doorbell(&signal.signaller());
        sleep(Duration::from_millis(1)).await;
        assert_eq!(*order.borrow(), ["ring", "signal"]);
        assert!(timeout(Duration::from_millis(1), signal.wait()).await.is_err());
    });
}

#[test]
fn a_doorbell_before_a_wait_is_one_system_call() {
    alone(|kernel, _| async move {
        let signal = Rc::new(Signal::new().await.unwrap());
        let bell = Doorbell::from(signal.signaller());
        let counts = || {
            [Syscall::Signal, Syscall::SignalReceive, Syscall::ReplyReceive]
                .map(|number| kernel.count(number))
        };
        let spent = |before: [u64; 3]| {
            let after = counts();
            [0, 1, 2].map(|index| after[index] - before[index])
        };
        // The first one shows that it is a signaller of the kernel's.
        let before = counts();
        bell.ring();
        signal.wait().await;
        assert_eq!(spent(before), [1, 0, 1]);
        let before = counts();
        bell.ring();
        signal.wait().await;
        assert_eq!(spent(before), [0, 1, 0]);
        // What other tasks do takes time.
        let before = counts();
        spawn(async {});
        bell.ring();
        signal.wait().await;
        assert_eq!(spent(before), [1, 0, 1]);
        // A second one sends the first, and so does the doorbell's end.
        let before = counts();
        bell.ring();
        bell.ring();
        drop(bell);
        assert_eq!(spent(before), [2, 0, 0]);
        signal.wait().await;
        assert!(!signal.try_take());
    });
}

#[test]
fn a_set_of_signals_is_one_wait() {
    alone(|_, _| async {
        let [first, second, other] =
            [Signal::new().await.unwrap(), Signal::new().await.unwrap(), Signal::new().await.unwrap()];
        let both = first.set().with(&second);
        ring_doorbell(&other.signaller());
        assert!(timeout(Duration::from_millis(1), both.wait()).await.is_err());
        for (rung, silent) in [(&first, &second), (&second, &first)] {
            let signaller = rung.signaller();
            spawn(async move {
                sleep(Duration::from_millis(1)).await;
                ring_doorbell(&signaller);
            });
            both.wait().await;
            // It stays ready until the signal is taken.
            both.wait().await;
            assert!(!silent.try_take() && rung.try_take());
            assert!(timeout(Duration::from_millis(1), both.wait()).await.is_err());
        }
        assert!(other.try_take());
        let numbers = |set: crate::SignalSet| set.numbers().collect::<Vec<_>>();
        assert_eq!(numbers(both), [first.number(), second.number()]);
        assert_eq!(numbers(crate::SignalSet::default()), []);
    });
}

#[test]
fn signal_bits_are_limited_and_come_back() {
    alone(|kernel, environment| async move {
        let first = Signal::new().await.unwrap();
        let open = kernel.open_handles(&environment);
        let mut taken = vec![first];
        while let Ok(signal) = Signal::new().await {
            taken.push(signal);
        }
        assert!(taken.len() >= 28, "{}", taken.len());
        assert_eq!(Signal::new().await.err().unwrap().kind, ErrorKind::Overloaded);
        taken.truncate(1);
        assert_eq!(kernel.open_handles(&environment), open);
        assert!(Signal::new().await.is_ok());
    });
}

#[test]
fn a_doorbell_that_another_process_stands_in_for_is_called() {
    alone(|kernel, environment| async move {
        let called = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let count = called.clone();
        let object = Object::Scripted(std::sync::Arc::new(move |request: &Request| {
            assert_eq!((request.interface, request.method), (signaller::Client::TYPE_ID, 0));
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Answer::ok(Vec::new(), Vec::new())
        }));
        ring_doorbell(&client(kernel.insert(&environment, object)));
        sleep(Duration::from_nanos(1)).await;
        assert_eq!(called.load(std::sync::atomic::Ordering::Relaxed), 1);
    });
}

#[test]
fn ports_are_read_and_written_by_system_calls() {
    alone(|kernel, environment| async move {
        let ports = Ports::new(client(kernel.insert(&environment, Object::Ports)));
        assert_eq!(ports.read_u8(0x17).unwrap(), 0x17);
        assert_eq!(ports.read_u16(0x1234).unwrap(), 0x1234);
        assert_eq!(ports.read_u32(0x1234).unwrap(), 0x1234);
        ports.write_u16(2, 0xbeef).unwrap();
        assert_eq!(kernel.log(), ["port 0x20002 = 0xbeef"]);
        let wrong = Ports::new(client::<io_port::Client>(kernel.insert(&environment, Object::Memory)));
        assert_eq!(wrong.read_u8(0).unwrap_err().kind, ErrorKind::Failed);
        assert!(wrong.write_u8(0, 1).is_err());
    });
}

#[test]
fn mappings_are_apart_and_removed() {
    alone(|kernel, environment| async move {
        let object = memory::allocate(4).await.unwrap();
        let first = Mapping::new(&object, 0, 4, Protection::ReadWrite).await.unwrap();
        let second = Mapping::new(&object, 1, 2, Protection::Read).await.unwrap();
        assert_eq!(first.len(), 4 * abi::PAGE_SIZE);
        let gap = second.as_ptr().addr().get() - first.as_ptr().addr().get();
        assert!(gap > first.len());
        let open = kernel.open_handles(&environment);
        let before = kernel.count(Syscall::Call);
        let address = first.as_ptr();
        drop(first);
        assert_eq!(kernel.count(Syscall::Call), before + 1);
        assert_eq!(kernel.open_handles(&environment), open);
        let third = Mapping::new(&object, 0, 4, Protection::Read).await.unwrap();
        assert_eq!(third.as_ptr(), address);
        let local = crate::serve::<schema::memory_capnp::memory_object::Client, _>(Rc::new(NoMemory));
        assert!(Mapping::new(&local, 0, 1, Protection::Read).await.is_ok(), "this kernel maps anything");
    });
}

struct NoMemory;
impl schema::memory_capnp::memory_object::Server for NoMemory {}

#[test]
fn the_environment_has_what_was_granted() {
    alone(|_, environment| async move {
        assert_eq!(environment.argument("key"), Some("value"));
        assert_eq!(environment.argument("other"), None);
        assert!(environment.grant::<log_writer::Client>("log").is_ok());
        assert!(environment.optional_grant::<log_writer::Client>("absent").is_none());
        let error = environment.grant::<log_writer::Client>("nothing").err().unwrap();
        assert!(error.extra.contains("`nothing`"), "{error}");
        let missing = environment.own_process().as_client_hook().get_ptr();
        assert_ne!(missing, 0);
    });
}

#[test]
fn lines_reach_the_log_and_long_ones_are_cut() {
    alone(|kernel, _| async move {
        crate::log::line(format_args!("hello {}", 5));
        crate::log::line(format_args!("{}", "x".repeat(3000)));
        let log = kernel.log();
        assert_eq!(log[0], "hello 5");
        assert_eq!(log[1].len(), 1024);
    });
}

#[test]
fn timers_fire_in_the_order_of_their_deadlines() {
    alone(|_, _| async {
        let order = Rc::new(RefCell::new(Vec::new()));
        for (index, milliseconds) in [(0, 3), (1, 1), (2, 2), (3, 1)] {
            let order = order.clone();
            spawn(async move {
                sleep(Duration::from_millis(milliseconds)).await;
                order.borrow_mut().push((index, now().as_millis()));
            });
        }
        sleep_until(Duration::from_millis(10)).await;
        assert_eq!(*order.borrow(), [(1, 1), (3, 1), (2, 2), (0, 3)]);
        assert_eq!(crate::runtime::runtime().timers.next(), abi::NO_DEADLINE);
    });
}

#[test]
fn a_sleep_that_is_dropped_leaves_no_deadline() {
    alone(|_, _| async {
        for _ in 0..1000 {
            timeout(Duration::from_secs(60), crate::yield_now()).await.unwrap();
        }
        assert_eq!(crate::runtime::runtime().timers.next(), abi::NO_DEADLINE);
    });
}

#[test]
fn random_numbers_differ() {
    alone(|_, _| async {
        let numbers: std::collections::BTreeSet<u64> = (0..100).map(|_| crate::random_u64()).collect();
        assert_eq!(numbers.len(), 100);
    });
}
