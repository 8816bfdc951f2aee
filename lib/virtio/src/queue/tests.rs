//! Queues against honest and hostile fake devices, in both layouts.

use super::{AddError, DeviceFault, Notifications, Part, Queue, QueueError, Used, arena_pages, queue_size};
use crate::{
    Msix, NO_VECTOR, PciTransport, TransportFault, begin_reset,
    fake::{FakeDevice, NO_PARTS, pattern},
    finish, negotiate,
};
use std::{rc::Rc, sync::Once};
use virtio_drivers::transport::DeviceType;

static ARENA: Once = Once::new();

fn part(offset: u32, length: u32) -> Part {
    Part { memory: 0, offset, length }
}

struct Setup {
    device: FakeDevice,
    transport: PciTransport,
    queue: Queue<u32>,
}

impl Drop for Setup {
    fn drop(&mut self) {
        begin_reset(&mut self.transport);
    }
}

fn setup(device: FakeDevice, mut transport: PciTransport) -> Setup {
    // Tests run at the same time and share the process's arena: enough for all of them.
    ARENA.call_once(|| FakeDevice::arena(1024));
    begin_reset(&mut transport);
    negotiate(&mut transport, |_, _| 0).expect("an honest device");
    let memory = Rc::new(FakeDevice::memory(4096));
    let queue = Queue::new(&mut transport, 1, 1, 16, vec![memory]).expect("an honest device");
    finish(&mut transport);
    Setup { device, transport, queue }
}

fn both() -> [Setup; 2] {
    let (first, second) = (FakeDevice::new(&[64, 64], &[], 0), FakeDevice::new(&[64, 64], &[], 0));
    let modern = first.modern(DeviceType::Network);
    let legacy = second.legacy(DeviceType::Network, Msix::On);
    [setup(first, modern), setup(second, legacy)]
}

#[test]
fn chains_go_there_and_back() {
    for mut setup in both() {
        for round in 0..300u32 {
            let (device, queue) = (&setup.device, &mut setup.queue);
            queue.add(&[part(0, 10)], &[part(64, 20), part(128, 30)], round).expect("room");
            let chain = device.take(1).expect("a chain");
            assert_eq!(
                chain.parts.iter().map(|part| (part.1, part.2)).collect::<Vec<_>>(),
                [(10, false), (20, true), (30, true)]
            );
            assert_eq!(chain.write(&pattern(round as u8, 40)), 40);
            device.complete(1, u32::from(chain.head), 40);
            assert!(queue.has_used());
            assert_eq!(queue.take_used(), Ok(Some(Used { tag: round, claimed: 40, room: 50 })));
            assert_eq!(queue.take_used(), Ok(None));
            assert_eq!(queue.in_flight(), 0);
        }
    }
}

#[test]
fn completions_may_come_in_any_order() {
    for mut setup in both() {
        let (device, queue) = (&setup.device, &mut setup.queue);
        for tag in 0..16 {
            queue.add(&[part(tag * 8, 8)], &NO_PARTS, tag).expect("room");
        }
        assert_eq!(
            queue.add(&[part(0, 8)], &NO_PARTS, 99),
            Err((AddError::Full, 99)),
            "as many as were planned"
        );
        let chains: Vec<_> = std::iter::from_fn(|| device.take(1)).collect();
        for chain in chains.iter().rev() {
            device.complete(1, u32::from(chain.head), 0);
        }
        for tag in (0..16).rev() {
            assert_eq!(queue.take_used(), Ok(Some(Used { tag, claimed: 0, room: 0 })));
        }
        queue.add(&[part(0, 8)], &NO_PARTS, 5).expect("room again");
    }
}

#[test]
fn bad_parts_are_refused() {
    for mut setup in both() {
        let queue = &mut setup.queue;
        let other = Part { memory: 1, offset: 0, length: 8 };
        for bad in [part(0, 0), part(4095, 2), part(u32::MAX, 1), part(0, u32::MAX), other] {
            assert_eq!(queue.add(&[bad], &NO_PARTS, 1), Err((AddError::BadPart, 1)));
            assert_eq!(queue.add(&[part(0, 8)], &[bad], 1), Err((AddError::BadPart, 1)));
        }
        assert_eq!(queue.add(&NO_PARTS, &NO_PARTS, 1), Err((AddError::BadPart, 1)));
        assert_eq!(queue.add(&[part(0, 1); 5], &NO_PARTS, 1), Err((AddError::BadPart, 1)));
        assert_eq!(queue.in_flight(), 0);
    }
}

#[test]
fn memories_are_changed_only_when_nothing_uses_them() {
    for mut setup in both() {
        let (device, queue) = (&setup.device, &mut setup.queue);
        let (first, second) = (Rc::new(FakeDevice::memory(4096)), Rc::new(FakeDevice::memory(4096)));
        let at = |offset| Part { memory: 3, offset, length: 8 };
        assert_eq!(queue.add(&[at(0)], &NO_PARTS, 1), Err((AddError::BadPart, 1)));
        assert_eq!(queue.set_memory(3, &first), Ok(()));
        assert!(queue.has_memory(3, &first) && !queue.has_memory(3, &second) && !queue.has_memory(2, &first));
        queue.add(&[at(0)], &NO_PARTS, 1).expect("room");
        assert_eq!(queue.set_memory(3, &second), Err(AddError::BadPart), "the device reads it");
        device.complete(1, device.take(1).expect("a chain").head.into(), 0);
        queue.take_used().expect("honest").expect("a chain");
        assert_eq!(queue.set_memory(3, &second), Ok(()));
    }
}

#[test]
fn used_ids_that_were_not_given_are_faults() {
    for id in [1, 7, 63, 64, 1000, 0x1_0001, 0xffff, u32::MAX] {
        for mut setup in both() {
            let (device, queue) = (&setup.device, &mut setup.queue);
            queue.add(&[part(0, 8)], &NO_PARTS, 1).expect("room");
            let chain = device.take(1).expect("a chain");
            assert_eq!(chain.head, 0);
            device.complete(1, id, 0);
            assert_eq!(queue.take_used(), Err(DeviceFault::Token(id as u16)), "id {id}");
        }
    }
}

#[test]
fn a_chain_cannot_be_used_twice() {
    for mut setup in both() {
        let (device, queue) = (&setup.device, &mut setup.queue);
        queue.add(&[part(0, 8)], &NO_PARTS, 1).expect("room");
        let head = device.take(1).expect("a chain").head;
        device.complete(1, u32::from(head), 0);
        device.complete(1, u32::from(head), 0);
        assert!(matches!(queue.take_used(), Ok(Some(_))));
        assert_eq!(queue.take_used(), Err(DeviceFault::Token(head)));
    }
}

#[test]
fn the_second_descriptor_of_a_chain_is_no_chain() {
    for mut setup in both() {
        let (device, queue) = (&setup.device, &mut setup.queue);
        queue.add(&[part(0, 8), part(8, 8)], &NO_PARTS, 1).expect("room");
        device.take(1).expect("a chain");
        device.complete(1, 1, 0);
        assert_eq!(queue.take_used(), Err(DeviceFault::Token(1)));
    }
}

#[test]
fn used_index_jumps_end_in_a_fault() {
    for by in [2, 64, 65, 40000] {
        for mut setup in both() {
            let (device, queue) = (&setup.device, &mut setup.queue);
            queue.add(&[part(0, 8)], &NO_PARTS, 1).expect("room");
            device.jump_used(1, by);
            // The entries read as zero: descriptor 0 is in flight once, and then not any more.
            assert!(matches!(queue.take_used(), Ok(Some(_))));
            assert_eq!(queue.take_used(), Err(DeviceFault::Token(0)));
        }
    }
}

#[test]
fn lengths_are_reported_as_claims() {
    for mut setup in both() {
        let (device, queue) = (&setup.device, &mut setup.queue);
        queue.add(&NO_PARTS, &[part(0, 12), part(64, 100)], 1).expect("room");
        let chain = device.take(1).expect("a chain");
        device.complete(1, u32::from(chain.head), u32::MAX);
        assert_eq!(queue.take_used(), Ok(Some(Used { tag: 1, claimed: u32::MAX, room: 112 })));
    }
}

#[test]
fn random_used_rings_never_panic() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..200 {
        for mut setup in both() {
            let (device, queue) = (&setup.device, &mut setup.queue);
            for tag in 0..50 {
                let _ = queue.add(&[part(0, 8)], &[part(8, 8)], tag);
                match random() % 3 {
                    0 => {
                        if let Some(chain) = device.take(1) {
                            device.complete(1, u32::from(chain.head), random() as u32);
                        }
                    }
                    1 => device.complete(1, (random() % 70) as u32, random() as u32),
                    _ => device.jump_used(1, (random() % 4) as u16),
                }
                if queue.take_used().is_err() {
                    break;
                }
            }
        }
    }
}

#[test]
fn notifications_are_suppressed_both_ways() {
    for mut setup in both() {
        let (device, queue) = (&setup.device, &mut setup.queue);
        assert!(queue.must_notify());
        device.suppress_notifications(1, 1);
        assert!(!queue.must_notify());
        assert!(device.wants_interrupts(1));
        queue.set_notifications(Notifications::Unwanted);
        assert!(!device.wants_interrupts(1));
        queue.set_notifications(Notifications::Wanted);
        assert!(device.wants_interrupts(1));
    }
}

#[test]
fn notifying_reaches_the_queue() {
    use crate::Transport;
    for mut setup in both() {
        setup.transport.notify(1);
        assert_eq!(setup.device.with(|state| (state.queues[0].notified, state.queues[1].notified)), (0, 1));
        assert_eq!(setup.device.with(|state| state.queues[1].vector), 1);
    }
}

#[test]
fn sizes_are_negotiated_or_refused() {
    let device = FakeDevice::new(&[], &[], 0);
    let modern = device.modern(DeviceType::Network);
    let legacy = device.legacy(DeviceType::Network, Msix::Off);
    assert_eq!(queue_size(&modern, 32768, 16), Ok(64));
    assert_eq!(queue_size(&modern, 128, 60), Ok(128));
    assert_eq!(queue_size(&modern, 32768, 60000), Ok(1024));
    assert_eq!(queue_size(&legacy, 4096, 16), Ok(4096), "a legacy size is the device's");
    for bad in [0, 1, 32, 100, 0xffff] {
        assert_eq!(queue_size(&modern, bad, 16), Err(QueueError::Size(bad)));
        assert_eq!(queue_size(&legacy, bad, 16), Err(QueueError::Size(bad)));
    }
}

#[test]
fn large_legacy_queues_work() {
    let device = FakeDevice::new(&[64, 4096], &[], 0);
    let transport = device.legacy(DeviceType::Network, Msix::On);
    let mut setup = setup(device, transport);
    assert_eq!(setup.queue.size(), 4096);
    for round in 0..5000 {
        setup.queue.add(&[part(0, 8)], &NO_PARTS, round).expect("room");
        let chain = setup.device.take(1).expect("a chain");
        setup.device.complete(1, u32::from(chain.head), 0);
        assert_eq!(setup.queue.take_used().map(|used| used.map(|used| used.tag)), Ok(Some(round)));
    }
    // What QEMU and Google Compute Engine have.
    assert_eq!((arena_pages(256), arena_pages(4096)), (3, 28));
}

#[test]
fn queues_that_are_not_there_are_refused() {
    let device = FakeDevice::new(&[64], &[], 0);
    let mut transport = device.modern(DeviceType::Network);
    let none = Queue::<()>::new(&mut transport, 1, NO_VECTOR, 4, vec![]).map(|_| ());
    assert_eq!(none, Err(QueueError::Transport(TransportFault::NoSuchQueue(1))));
    let none = Queue::<()>::new(&mut transport, 0, 2, 4, vec![]).map(|_| ());
    assert_eq!(
        none,
        Err(QueueError::Transport(TransportFault::Vector(2))),
        "the device maps vectors 0 and 1"
    );
    device.with(|state| state.queues[0].notify_off = 16);
    let none = Queue::<()>::new(&mut transport, 0, NO_VECTOR, 4, vec![]).map(|_| ());
    assert_eq!(none, Err(QueueError::Transport(TransportFault::NotifyOffset(64))));
}
