//! What is sent again, and what is left alone, when a driver is back that took frames with it.

use std::{task::Poll, time::Duration};

use ring::stream::ReaderState;
use smoltcp::wire::{EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet};

use super::harness::{Client, FakeNic, LAYOUT, Wire, mac};
use crate::{
    device::Abilities,
    limits::{KEEP_ALIVE, PEER_TIMEOUT},
    network::Mtu,
};

/// Far less than a retransmission timer's second, and time for some delayed acknowledgements.
const SOON: Duration = Duration::from_millis(200);

/// Ends the driver of machine 1 with all that it holds, and starts another one at the same moment.
fn replace_driver(wire: &mut Wire, abilities: Abilities) {
    let (nic, session) = FakeNic::able(LAYOUT, abilities);
    wire.nodes[0].stack.close_session();
    wire.nodes[0].nic = nic;
    let now = wire.now;
    wire.nodes[0].stack.open_session(session, mac(1), Mtu::ETHERNET, now);
}

/// A connection whose two ends have nothing left to say.
fn connection(wire: &mut Wire) -> (Client, Client) {
    let listener = wire.nodes[0].stack.listen(80, 4).unwrap();
    let (near, far) = wire.connection(listener, 80);
    wire.pass(Duration::from_secs(1));
    (near, far)
}

/// Has machine 1 send what it has into its driver's rings, where it stays.
fn send_into_the_void(wire: &mut Wire) {
    wire.nodes[0].ring();
    wire.nodes[0].run(wire.now);
}

/// Bytes of a client's connection that its machine has not sent or whose acknowledgement has not come.
fn unacknowledged(wire: &Wire, node: usize, client: &Client) -> usize {
    wire.nodes[node].stack.connections.get(client.id).unwrap().cell.socket_ref().send_queue()
}

/// Whether a client soon has so many bytes of this value.
fn gets(wire: &mut Wire, client: &mut Client, count: usize, value: u8) -> bool {
    wire.pass(SOON);
    let bytes = client.read().unwrap();
    bytes.len() == count && bytes.iter().all(|byte| *byte == value)
}

fn is_tcp(frame: &[u8]) -> bool {
    let frame = EthernetFrame::new_unchecked(frame);
    frame.ethertype() == EthernetProtocol::Ipv4
        && Ipv4Packet::new_unchecked(frame.payload()).next_header() == IpProtocol::Tcp
}

#[test]
fn data_is_sent_again_at_once() {
    let mut wire = Wire::pair();
    let (mut near, mut far) = connection(&mut wire);
    near.write(&[7; 20_000]);
    send_into_the_void(&mut wire);
    replace_driver(&mut wire, Abilities::None);
    assert!(gets(&mut wire, &mut far, 20_000, 7));
}

#[test]
fn data_whose_answer_was_lost_is_sent_again_at_once() {
    let mut wire = Wire::pair();
    let (mut near, mut far) = connection(&mut wire);
    near.write(b"heard, but not acknowledged");
    wire.filter = Box::new(|frame| frame[6..12] != mac(2).0);
    wire.pass(Duration::from_millis(100));
    assert_eq!(far.read().unwrap(), b"heard, but not acknowledged");
    wire.filter = Box::new(|_| true);
    assert_eq!(unacknowledged(&wire, 0, &near), 27);
    replace_driver(&mut wire, Abilities::None);
    wire.settle();
    assert_eq!((unacknowledged(&wire, 0, &near), far.read().unwrap().len()), (0, 0));
}

#[test]
fn openings_and_ends_are_sent_again_at_once() {
    let mut wire = Wire::pair();
    let listener = wire.nodes[1].stack.listen(80, 4).unwrap();
    // Now each knows where the other is.
    let id = wire.nodes[0].connect(2, 80, wire.now);
    wire.settle();
    let (mut near, mut far) = (wire.nodes[0].open(id), wire.nodes[1].accept(listener).unwrap());
    wire.pass(Duration::from_secs(1));
    let now = wire.now;
    let other = wire.nodes[0].connect(2, 80, now);
    near.finish();
    send_into_the_void(&mut wire);
    replace_driver(&mut wire, Abilities::None);
    wire.settle();
    assert_eq!(wire.nodes[0].connected(other), Poll::Ready(Ok(())));
    far.read().unwrap();
    assert_eq!(far.end.reader.state(), Ok(ReaderState::AtEnd));
}

#[test]
fn a_cable_that_is_back_counts_as_well() {
    let mut wire = Wire::pair();
    let (mut near, mut far) = connection(&mut wire);
    near.write(b"cut off");
    wire.filter = Box::new(|_| false);
    // Its timer has run out some times, and runs for long now.
    wire.pass(Duration::from_secs(20));
    wire.filter = Box::new(|_| true);
    let now = wire.now;
    wire.nodes[0].stack.link_came_up(now);
    wire.settle();
    assert_eq!(far.read().unwrap(), b"cut off");
}

#[test]
fn the_next_card_may_be_able_to_do_less() {
    for abilities in [Abilities::Segments, Abilities::Checksums, Abilities::None] {
        let mut wire = Wire::pair();
        let (mut near, mut far) = connection(&mut wire);
        replace_driver(&mut wire, Abilities::Segments);
        wire.settle();
        near.write(&[9; 20_000]);
        send_into_the_void(&mut wire);
        replace_driver(&mut wire, abilities);
        assert!(gets(&mut wire, &mut far, 20_000, 9), "{abilities:?}");
    }
}

#[test]
fn the_neighbour_is_known_before_a_peer_sends_again() {
    let mut wire = Wire::pair();
    let (mut near, mut far) = connection(&mut wire);
    far.write(&[5; 1000]);
    // Heard, and the acknowledgement is lost.
    wire.filter = Box::new(|frame| frame[6..12] != mac(1).0);
    assert!(gets(&mut wire, &mut near, 1000, 5));
    wire.filter = Box::new(|_| true);
    replace_driver(&mut wire, Abilities::None);
    // The peer's first retransmission. smoltcp answers to it at once or not at all, and the next comes two seconds later.
    wire.pass(Duration::from_millis(1000));
    assert_eq!(unacknowledged(&wire, 1, &far), 0);
}

#[test]
fn who_has_nothing_to_send_again_stays_silent() {
    let mut wire = Wire::pair();
    let (_near, _far) = connection(&mut wire);
    let quiet_since = wire.now;
    wire.pass(Duration::from_secs(20));
    replace_driver(&mut wire, Abilities::None);
    wire.log.clear();
    wire.pass(KEEP_ALIVE - Duration::from_secs(2) - (wire.now - quiet_since));
    assert!(!wire.log.iter().any(|frame| is_tcp(frame)));
    // Keep-alives come when they would have come.
    wire.pass(Duration::from_secs(4));
    assert!(wire.log.iter().any(|frame| is_tcp(frame)));
}

#[test]
fn a_connection_that_is_over_rests_as_long_as_it_would() {
    let mut wire = Wire::pair();
    let (mut near, mut far) = connection(&mut wire);
    near.finish();
    wire.settle();
    far.finish();
    wire.settle();
    assert_eq!(wire.nodes[0].state(near.id), "TIME-WAIT");
    replace_driver(&mut wire, Abilities::None);
    wire.pass(Duration::from_secs(5));
    assert_eq!(wire.nodes[0].state(near.id), "TIME-WAIT");
}

#[test]
fn a_driver_that_only_swallows_gets_one_segment_in_each_life() {
    let mut wire = Wire::pair();
    let (mut near, mut far) = connection(&mut wire);
    near.write(&[3; 30_000]);
    send_into_the_void(&mut wire);
    // Neighbours are found, and nothing else gets through.
    wire.filter = Box::new(|frame| !is_tcp(frame));
    for life in 0..100 {
        wire.log.clear();
        replace_driver(&mut wire, Abilities::None);
        wire.settle();
        let sent = wire.log.iter().filter(|frame| is_tcp(frame)).count();
        assert!(sent <= 1, "{sent} segments in life {life}");
    }
    wire.filter = Box::new(|_| true);
    replace_driver(&mut wire, Abilities::None);
    assert!(gets(&mut wire, &mut far, 30_000, 3));
}

#[test]
fn drivers_that_come_and_go_do_not_change_the_patience_with_a_peer() {
    let mut wire = Wire::pair();
    let (mut near, _far) = connection(&mut wire);
    let last_heard = wire.now;
    near.write(b"is anybody there?");
    wire.filter = Box::new(|frame| !is_tcp(frame));
    let patience = PEER_TIMEOUT + Duration::from_secs(10);
    while wire.now < last_heard + patience {
        let is_open = wire.nodes[0].state(near.id) == "ESTABLISHED";
        assert!(is_open || wire.now > last_heard + PEER_TIMEOUT - Duration::from_secs(2));
        replace_driver(&mut wire, Abilities::None);
        wire.pass(Duration::from_secs(3));
    }
    assert_eq!(wire.nodes[0].state(near.id), "CLOSED");
}
