//! NIC sessions: a driver that dies, comes back, is slow, or breaks the rules.

use std::{sync::Arc, time::Duration};

use ring::{HeapMemory, Sleep, frame::FrameLayout};

use super::harness::{FakeNic, LAYOUT, Wire, mac, poke};
use crate::{
    device::{Abilities, Session},
    network::Mtu,
    stack::Turn,
};

#[test]
fn connections_survive_a_new_driver() {
    let mut wire = Wire::pair();
    let listener = wire.nodes[0].stack.listen(80, 4).unwrap();
    let (mut near, mut far) = wire.connection(listener, 80);
    near.write(b"before ");
    wire.settle();
    let before = wire.nodes[0].stack.status(wire.now);
    let sent: Vec<_> = wire.log.iter().filter(|frame| frame[6..12] == mac(1).0).map(Vec::len).collect();
    assert_eq!(
        (before.sent.frames, before.sent.bytes),
        (sent.len() as u64, sent.iter().sum::<usize>() as u64)
    );
    wire.nodes[0].stack.close_session();
    assert!(!wire.nodes[0].stack.status(wire.now).nic_connected);
    near.write(b"while it was away ");
    far.write(b"into the void");
    wire.pass(Duration::from_secs(2));
    let (nic, session) = FakeNic::new(LAYOUT);
    wire.nodes[0].nic = nic;
    let now = wire.now;
    wire.nodes[0].stack.open_session(session, mac(1), Mtu::ETHERNET, now);
    near.write(b"after");
    wire.pass(Duration::from_secs(10));
    assert_eq!(far.read().unwrap(), b"before while it was away after");
    assert_eq!(near.read().unwrap(), b"into the void");
    let after = wire.nodes[0].stack.status(wire.now);
    assert!(after.sent.frames > before.sent.frames && after.received.bytes > before.received.bytes);
}

#[test]
fn a_stack_without_a_driver_sleeps() {
    let mut wire = Wire::pair();
    let listener = wire.nodes[0].stack.listen(80, 4).unwrap();
    let (mut near, _far) = wire.connection(listener, 80);
    wire.nodes[0].stack.close_session();
    near.write(b"something to send");
    wire.nodes[0].ring();
    // `run` panics if it never comes to rest.
    let deadline = wire.nodes[0].run(wire.now);
    assert!(deadline.is_none_or(|deadline| deadline > wire.now));
    assert_eq!(wire.nodes[0].stack.arm(), Ok(Sleep::Allowed));
}

#[test]
fn a_slow_driver_is_waited_for() {
    let mut wire = Wire::pair();
    let listener = wire.nodes[0].stack.listen(80, 4).unwrap();
    let (mut near, mut far) = wire.connection(listener, 80);
    let layout = FrameLayout::new(2, 2, 2048).unwrap();
    let (nic, session) = FakeNic::new(layout);
    wire.nodes[0].nic = nic;
    let now = wire.now;
    wire.nodes[0].stack.open_session(session, mac(1), Mtu::ETHERNET, now);
    wire.settle();
    wire.pass(Duration::from_secs(2));
    near.write(&[5; 16_000]);
    wire.nodes[0].ring();
    wire.nodes[0].run(wire.now);
    // Both buffers are with the driver; the stack neither spins nor sleeps through their return.
    assert_eq!(wire.nodes[0].stack.arm(), Ok(Sleep::Allowed));
    let mut received = 0;
    for _ in 0..500 {
        wire.pass(Duration::from_millis(20));
        received += far.read().unwrap().len();
    }
    assert_eq!(received, 16_000);
}

#[test]
fn sent_buffers_that_come_back_are_work_for_a_stack_that_waits() {
    let mut wire = Wire::pair();
    let listener = wire.nodes[0].stack.listen(80, 4).unwrap();
    let (mut near, _far) = wire.connection(listener, 80);
    let (nic, session) = FakeNic::new(FrameLayout::new(2, 2, 2048).unwrap());
    wire.nodes[0].nic = nic;
    let now = wire.now;
    wire.nodes[0].stack.open_session(session, mac(1), Mtu::ETHERNET, now);
    near.write(&[5; 16_000]);
    wire.nodes[0].ring();
    wire.nodes[0].run(now);
    // ARP took one buffer. Its answer never comes; keep-alives and retries take the other.
    for seconds in 1..60 {
        wire.nodes[0].run(now + Duration::from_secs(seconds));
    }
    assert_eq!(wire.nodes[0].stack.arm(), Ok(Sleep::Allowed));
    assert!(!wire.nodes[0].nic.take_sent().is_empty());
    assert_eq!(wire.nodes[0].stack.arm(), Ok(Sleep::WorkArrived));
}

#[test]
fn a_driver_that_breaks_the_rules_loses_its_session() {
    let mut wire = Wire::pair();
    let memory = |bytes| Arc::new(HeapMemory::new(bytes));
    let (rings, buffers) = (memory(LAYOUT.rings_bytes()), memory(LAYOUT.buffers_bytes()));
    let session = Session::new(&rings, &buffers, LAYOUT, Abilities::None, Default::default()).unwrap();
    let now = wire.now;
    wire.nodes[0].stack.open_session(session, mac(1), Mtu::ETHERNET, now);
    wire.nodes[0].run(now);
    // The driver's position in its first ring, "received", jumps further than the ring is large.
    poke(&rings, 0, 5000);
    assert!(wire.nodes[0].stack.run(now).is_err());
    assert!(!wire.nodes[0].stack.status(now).nic_connected);
    assert!(matches!(wire.nodes[0].stack.run(now), Ok(Turn::Sleep(_))));
}

#[test]
fn another_nic_brings_its_own_mtu() {
    let mut wire = Wire::pair();
    let (_nic, session) = FakeNic::new(FrameLayout::new(64, 64, 1024).unwrap());
    let now = wire.now;
    wire.nodes[0].stack.open_session(session, mac(9), Mtu::ETHERNET, now);
    let status = wire.nodes[0].stack.status(now);
    assert_eq!((status.mac, status.mtu), (mac(9), Mtu::new(1010).unwrap()));
}
