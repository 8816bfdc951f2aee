//! TCP between two stacks: data, ends, refusals, limits, and clients that harm nobody but themselves.

use std::{task::Poll, time::Duration};

use ring::stream::{ReaderState, StreamError};
use smoltcp::wire::{EthernetFrame, Ipv4Packet, TcpPacket};

use super::harness::{Client, Node, Wire};
use crate::{
    limits::{HANDSHAKE_TIMEOUT, KEEP_ALIVE, Limits},
    stack::{ConnectError, ListenError},
    tcp::{ConnectFailure, buffers::Store},
    udp::Peer,
};

/// The flags of all TCP segments of a frame log, as letters.
fn flags(log: &[Vec<u8>]) -> Vec<String> {
    log.iter()
        .filter_map(|frame| {
            let frame = EthernetFrame::new_checked(&frame[..]).ok()?;
            let packet = Ipv4Packet::new_checked(frame.payload()).ok()?;
            if packet.next_header() != smoltcp::wire::IpProtocol::Tcp {
                return None;
            }
            let segment = TcpPacket::new_checked(packet.payload()).ok()?;
            let letters =
                [(segment.syn(), 'S'), (segment.fin(), 'F'), (segment.rst(), 'R'), (segment.ack(), 'A')];
            Some(letters.iter().filter(|(set, _)| *set).map(|(_, letter)| *letter).collect())
        })
        .collect()
}

/// Sends `total` bytes one way and checks each on the other side.
pub fn transfer(wire: &mut Wire, from: &mut Client, to: &mut Client, total: usize) {
    let byte = |index: usize| (index * 31 + index / 251) as u8;
    let (mut sent, mut received) = (0, 0);
    for _ in 0..200_000 {
        let chunk: Vec<u8> = (sent..(sent + 9000).min(total)).map(byte).collect();
        let written = from.write(&chunk);
        sent += written;
        wire.settle();
        for got in to.read().unwrap() {
            assert_eq!(got, byte(received), "byte {received}");
            received += 1;
        }
        if received == total {
            return;
        }
        if written == 0 {
            wire.pass(Duration::from_millis(20));
        }
    }
    panic!("{received} of {total} bytes came");
}

#[test]
fn a_new_connection_is_probed_only_when_it_was_silent_for_long() {
    let mut wire = Wire::pair();
    let listener = wire.nodes[0].stack.listen(80, 4).unwrap();
    let (mut near, mut far) = wire.connection(listener, 80);
    wire.pass(Duration::from_secs(1));
    assert_eq!(flags(&wire.log), ["S", "SA", "A"], "the handshake and nothing else");
    wire.log.clear();
    wire.pass(KEEP_ALIVE);
    assert!(!flags(&wire.log).is_empty());
    far.write(b"still here");
    wire.settle();
    assert_eq!(near.read().unwrap(), b"still here");
}

#[test]
fn bytes_go_both_ways_and_end() {
    let mut wire = Wire::pair();
    let listener = wire.nodes[0].stack.listen(80, 4).unwrap();
    let (mut near, mut far) = wire.connection(listener, 80);
    transfer(&mut wire, &mut far, &mut near, 300_000);
    transfer(&mut wire, &mut near, &mut far, 300_000);
    far.finish();
    wire.settle();
    assert_eq!(near.end.reader.state(), Ok(ReaderState::AtEnd));
    // The other direction still works.
    transfer(&mut wire, &mut near, &mut far, 1000);
    near.finish();
    wire.settle();
    assert_eq!(far.end.reader.state(), Ok(ReaderState::AtEnd));
    for (node, id) in [(0, near.id), (1, far.id)] {
        let now = wire.now;
        wire.nodes[node].stack.drop_connection(id, now);
    }
    wire.pass(Duration::from_secs(60));
    for node in &wire.nodes {
        assert_eq!(node.stack.status(wire.now).tcp_sockets, 0);
    }
    assert!(!flags(&wire.log).iter().any(|flags| flags.contains('R')), "an orderly end needs no RST");
}

#[test]
fn a_connection_that_rests_gives_its_large_buffers_to_a_new_one() {
    let mut wire = Wire::pair();
    let listener = wire.nodes[0].stack.listen(80, 4).unwrap();
    for round in 0..2 * Store::LARGE {
        let (mut near, mut far) = wire.connection(listener, 80);
        let connection = wire.nodes[0].stack.connections.get(near.id).unwrap();
        assert!(connection.cell.is_large(), "connection {round}");
        // Machine 1 ends first, so it is the one where the connection rests.
        near.finish();
        wire.settle();
        far.finish();
        wire.settle();
        for (node, id) in [(0, near.id), (1, far.id)] {
            let now = wire.now;
            wire.nodes[node].stack.drop_connection(id, now);
        }
        wire.settle();
        assert_eq!(wire.nodes[0].stack.time_wait.len(), (round + 1).min(Store::LARGE));
    }
}

#[test]
fn lost_frames_are_sent_again() {
    let mut wire = Wire::pair();
    let listener = wire.nodes[0].stack.listen(80, 4).unwrap();
    let (mut near, mut far) = wire.connection(listener, 80);
    let mut count = 0;
    wire.filter = Box::new(move |_| {
        count += 1;
        count % 13 != 0
    });
    transfer(&mut wire, &mut near, &mut far, 100_000);
}

#[test]
fn a_peer_may_use_its_port_again_while_the_old_connection_is_still_held() {
    // A peer that reboots starts with the same ports over and over.
    let mut wire = Wire::pair();
    let listener = wire.nodes[0].stack.listen(80, 4).unwrap();
    let (near, far) = wire.connection(listener, 80);
    let now = wire.now;
    wire.nodes[1].stack.abort(far.id, now);
    wire.settle();
    assert_eq!(wire.nodes[0].state(near.id), "CLOSED");
    wire.nodes[1] = Node::with_address(2);
    let (mut near_again, mut far_again) = wire.connection(listener, 80);
    let key = |wire: &Wire, id| wire.nodes[0].stack.connection_info(id).unwrap().key;
    assert_eq!(key(&wire, near.id), key(&wire, near_again.id), "the test is about the same port");
    wire.nodes[0].stack.drop_connection(near.id, now);
    transfer(&mut wire, &mut far_again, &mut near_again, 1000);
}

#[test]
fn a_closed_port_refuses() {
    let mut wire = Wire::pair();
    let id = wire.nodes[1].connect(1, 81, wire.now);
    wire.settle();
    assert_eq!(wire.nodes[1].connected(id), Poll::Ready(Err(ConnectFailure::Refused)));
    assert_eq!(wire.nodes[1].stack.status(wire.now).tcp_sockets, 0);
}

#[test]
fn an_absent_peer_times_out() {
    let mut wire = Wire::pair();
    let id = wire.nodes[1].connect(77, 80, wire.now);
    wire.pass(HANDSHAKE_TIMEOUT - Duration::from_secs(2));
    assert_eq!(wire.nodes[1].connected(id), Poll::Pending);
    wire.pass(Duration::from_secs(4));
    assert_eq!(wire.nodes[1].connected(id), Poll::Ready(Err(ConnectFailure::TimedOut)));
    // The place is free, and works for the next.
    let listener = wire.nodes[0].stack.listen(80, 1).unwrap();
    wire.pass(Duration::from_secs(1));
    wire.connection(listener, 80);
}

#[test]
fn an_absent_peer_does_not_keep_others_from_being_found() {
    let mut wire = Wire::pair();
    wire.nodes[0].stack.listen(80, 4).unwrap();
    wire.nodes[1].connect(77, 80, wire.now);
    wire.pass(Duration::from_millis(300));
    let id = wire.nodes[1].connect(1, 80, wire.now);
    wire.pass(Duration::from_secs(6));
    assert_eq!(wire.nodes[1].connected(id), Poll::Ready(Ok(())));
}

#[test]
fn a_dropped_socket_resets_the_peer() {
    let mut wire = Wire::pair();
    let listener = wire.nodes[0].stack.listen(80, 4).unwrap();
    let (mut near, mut far) = wire.connection(listener, 80);
    near.write(b"half a sentence");
    wire.settle();
    wire.log.clear();
    let now = wire.now;
    wire.nodes[0].stack.drop_connection(near.id, now);
    wire.settle();
    assert!(flags(&wire.log).iter().any(|flags| flags.contains('R')));
    assert_eq!(far.read(), Err(StreamError::Reset));
    assert_eq!(far.end.writer.space(), Err(StreamError::Stopped));
    assert_eq!(wire.nodes[0].stack.status(now).tcp_sockets, 0);
}

#[test]
fn abort_resets_and_tells_both_clients() {
    let mut wire = Wire::pair();
    let listener = wire.nodes[0].stack.listen(80, 4).unwrap();
    let (mut near, mut far) = wire.connection(listener, 80);
    let now = wire.now;
    wire.nodes[0].stack.abort(near.id, now);
    wire.settle();
    assert_eq!((near.read(), far.read()), (Err(StreamError::Reset), Err(StreamError::Reset)));
    assert_eq!(wire.nodes[0].state(near.id), "CLOSED");
}

#[test]
fn what_was_finished_is_delivered_after_the_client_is_gone() {
    let mut wire = Wire::pair();
    let listener = wire.nodes[0].stack.listen(80, 4).unwrap();
    let (mut near, mut far) = wire.connection(listener, 80);
    // More than smoltcp's buffer and the peer's windows hold, so that much is still in the client's ring.
    let mut total = 0;
    while let count @ 1.. = near.write(&[7; 5000]) {
        total += count;
        wire.settle();
    }
    near.finish();
    let now = wire.now;
    wire.nodes[0].stack.drop_connection(near.id, now);
    let mut received = 0;
    for _ in 0..1000 {
        wire.pass(Duration::from_millis(20));
        received += far.read().unwrap().len();
    }
    assert_eq!(received, total);
    assert_eq!(far.end.reader.state(), Ok(ReaderState::AtEnd));
    assert!(total > 64 << 10);
}

#[test]
fn bytes_for_a_client_that_is_gone_are_answered_with_a_reset() {
    let mut wire = Wire::pair();
    let listener = wire.nodes[0].stack.listen(80, 4).unwrap();
    let (mut near, mut far) = wire.connection(listener, 80);
    near.finish();
    wire.settle();
    let now = wire.now;
    wire.nodes[0].stack.drop_connection(near.id, now);
    assert_eq!(far.end.writer.space(), Ok(64 << 10));
    far.write(b"are you there?");
    wire.log.clear();
    wire.settle();
    assert!(flags(&wire.log).iter().any(|flags| flags.contains('R')));
    // All that was sent to it had come, but it can say no more.
    assert_eq!(far.end.reader.state(), Ok(ReaderState::AtEnd));
    assert_eq!(far.end.writer.space(), Err(StreamError::Stopped));
}

#[test]
fn a_stalled_client_stops_only_itself() {
    let mut wire = Wire::pair();
    let listener = wire.nodes[0].stack.listen(80, 4).unwrap();
    let (mut stalled, mut flood) = wire.connection(listener, 80);
    let (mut near, mut far) = wire.connection(listener, 80);
    let mut sent = 0;
    for _ in 0..100 {
        sent += flood.write(&[1; 8192]);
        wire.pass(Duration::from_millis(50));
    }
    assert!(sent < 400_000, "the window is closed");
    transfer(&mut wire, &mut far, &mut near, 500_000);
    // And goes on once the client reads again.
    let mut received = 0;
    for _ in 0..200 {
        received += stalled.read().unwrap().len();
        wire.pass(Duration::from_millis(50));
    }
    assert_eq!(received, sent);
}

#[test]
fn a_client_that_breaks_its_stream_loses_only_its_connection() {
    let mut wire = Wire::pair();
    let listener = wire.nodes[0].stack.listen(80, 4).unwrap();
    let (broken, mut victim) = wire.connection(listener, 80);
    let (mut near, mut far) = wire.connection(listener, 80);
    // A second writer on the same memory moves the position backwards.
    wire.nodes[0].ring();
    let mut twin = broken;
    twin.write(b"abcdef");
    wire.settle();
    assert_eq!(victim.read().unwrap(), b"abcdef");
    twin.reset();
    wire.settle();
    assert_eq!(victim.read(), Err(StreamError::Reset));
    transfer(&mut wire, &mut near, &mut far, 10_000);
}

#[test]
fn the_backlog_holds_back_and_a_place_frees_it() {
    let mut wire = Wire::pair();
    let listener = wire.nodes[0].stack.listen(80, 2).unwrap();
    let ids: Vec<_> = (0..3).map(|_| wire.nodes[1].connect(1, 80, wire.now)).collect();
    wire.settle();
    let up = |wire: &mut Wire| ids.iter().filter(|id| wire.nodes[1].connected(**id).is_ready()).count();
    assert_eq!(up(&mut wire), 2);
    assert!(wire.nodes[0].accept(listener).is_some());
    // The third is still trying.
    wire.pass(Duration::from_secs(5));
    assert_eq!(up(&mut wire), 3);
}

#[test]
fn silent_half_open_connections_give_way() {
    let mut wire = Wire::pair();
    let listener = wire.nodes[0].stack.listen(80, 2).unwrap();
    // SYNs arrive, but the peer never hears the answers.
    wire.filter = Box::new(|frame| flags(&[frame.to_vec()]) != ["SA"]);
    let lost: Vec<_> = (0..2).map(|_| wire.nodes[1].connect(1, 80, wire.now)).collect();
    wire.settle();
    for id in lost {
        let now = wire.now;
        wire.nodes[1].stack.drop_connection(id, now);
    }
    wire.filter = Box::new(|frame| flags(&[frame.to_vec()]) != ["RA"]);
    wire.pass(Duration::from_millis(1500));
    wire.filter = Box::new(|_| true);
    wire.connection(listener, 80);
}

#[test]
fn half_open_connections_end_by_themselves() {
    let mut wire = Wire::pair();
    wire.nodes[0].stack.listen(80, 2).unwrap();
    wire.filter = Box::new(|frame| flags(&[frame.to_vec()]) == ["S"] || flags(&[frame.to_vec()]).is_empty());
    wire.nodes[1].connect(1, 80, wire.now);
    wire.settle();
    assert_eq!(wire.nodes[0].stack.status(wire.now).tcp_sockets, 1);
    wire.pass(HANDSHAKE_TIMEOUT * 3);
    assert_eq!(wire.nodes[0].stack.status(wire.now).tcp_sockets, 0);
}

#[test]
fn a_silent_peer_is_given_up() {
    let mut wire = Wire::pair();
    let listener = wire.nodes[0].stack.listen(80, 2).unwrap();
    let (mut near, _far) = wire.connection(listener, 80);
    wire.pass(Duration::from_secs(600));
    assert_eq!(near.read(), Ok(vec![]), "a peer that answers probes stays");
    wire.filter = Box::new(|_| false);
    wire.pass(Duration::from_secs(600));
    assert_eq!(near.read(), Err(StreamError::Reset));
}

#[test]
fn closing_a_listener_resets_what_waits_and_keeps_what_was_accepted() {
    let mut wire = Wire::pair();
    let listener = wire.nodes[0].stack.listen(80, 4).unwrap();
    let (mut near, mut far) = wire.connection(listener, 80);
    let waiting = wire.nodes[1].connect(1, 80, wire.now);
    wire.settle();
    let mut waiting = wire.nodes[1].open(waiting);
    let now = wire.now;
    wire.nodes[0].stack.close_listener(listener, now);
    wire.settle();
    assert_eq!(waiting.read(), Err(StreamError::Reset));
    transfer(&mut wire, &mut far, &mut near, 1000);
    assert!(wire.nodes[0].stack.listen(80, 4).is_ok(), "the port is free again");
}

#[test]
fn a_flooded_listener_leaves_the_others_their_reserve() {
    let limits =
        Limits { tcp_sockets: 20, sockets_per_listener: 20, listener_reserve: 4, ..Limits::STANDARD };
    let mut wire = Wire::new(vec![Node::limited(1, limits), Node::with_address(2)]);
    let greedy = wire.nodes[0].stack.listen(80, 64).unwrap();
    let modest = wire.nodes[0].stack.listen(81, 4).unwrap();
    let mut held = Vec::new();
    for _ in 0..30 {
        wire.nodes[1].connect(1, 80, wire.now);
        wire.settle();
        held.extend(wire.nodes[0].accept(greedy));
    }
    assert_eq!(held.len(), 16);
    let others: Vec<_> = (0..4).map(|_| wire.connection(modest, 81)).collect();
    assert_eq!(others.len(), 4);
}

#[test]
fn many_short_connections_leave_nothing_behind() {
    let mut wire = Wire::pair();
    let listener = wire.nodes[0].stack.listen(80, 4).unwrap();
    for round in 0..300 {
        let (mut near, mut far) = wire.connection(listener, 80);
        far.write(b"request");
        wire.settle();
        assert_eq!(near.read().unwrap(), b"request", "round {round}");
        near.write(b"answer");
        near.finish();
        wire.settle();
        assert_eq!(far.read().unwrap(), b"answer");
        far.finish();
        wire.settle();
        let now = wire.now;
        wire.nodes[0].stack.drop_connection(near.id, now);
        wire.nodes[1].stack.drop_connection(far.id, now);
        wire.settle();
        assert!(wire.nodes[0].stack.status(now).tcp_sockets <= 34);
    }
    wire.pass(Duration::from_secs(30));
    assert_eq!(wire.nodes[0].stack.status(wire.now).tcp_sockets, 0);
}

#[test]
fn one_hundred_and_eighty_connections_at_once() {
    let limits = Limits { outgoing_sockets: 192, sockets_per_listener: 192, ..Limits::STANDARD };
    let mut wire = Wire::new(vec![Node::limited(1, limits), Node::limited(2, limits)]);
    let listener = wire.nodes[0].stack.listen(80, 8).unwrap();
    let mut clients: Vec<_> = (0..180).map(|_| wire.connection(listener, 80)).collect();
    for (near, far) in &mut clients {
        transfer(&mut wire, far, near, 300);
    }
}

#[test]
fn bad_requests_are_named() {
    let mut wire = Wire::pair();
    let stack = &mut wire.nodes[0].stack;
    assert_eq!(stack.listen(0, 4), Err(ListenError::NoPort));
    assert_eq!(stack.listen(80, 0), Err(ListenError::Backlog(0)));
    assert_eq!(stack.listen(80, 65), Err(ListenError::Backlog(65)));
    assert!(stack.listen(80, 64).is_ok());
    assert_eq!(stack.listen(80, 4), Err(ListenError::PortTaken(80)));
    for port in 100..115 {
        assert!(stack.listen(port, 1).is_ok());
    }
    assert_eq!(stack.listen(99, 4), Err(ListenError::TooMany));
    let peer = |octets: [u8; 4], port| Peer { address: octets.into(), port };
    for bad in [
        peer([10, 0, 2, 2], 0),
        peer([0; 4], 80),
        peer([10, 0, 2, 1], 80),
        peer([224, 0, 0, 1], 80),
        peer([255; 4], 80),
    ] {
        assert_eq!(stack.connect(bad, wire.now), Err(ConnectError::BadPeer), "{bad:?}");
    }
}

#[test]
fn connections_without_an_address_or_route_fail_at_once() {
    use crate::{arguments::Addressing, network::NetworkConfiguration};
    use smoltcp::wire::Ipv4Cidr;
    let peer = Peer { address: [1, 1, 1, 1].into(), port: 80 };
    let mut node = Node::new(1, Addressing::Dhcp { mtu: None }, Limits::STANDARD);
    assert_eq!(node.stack.connect(peer, Duration::ZERO), Err(ConnectError::NoAddress));
    let lonely = NetworkConfiguration::new(Ipv4Cidr::new(super::harness::address(1), 24));
    let mut node = Node::new(1, Addressing::Static(lonely), Limits::STANDARD);
    assert_eq!(node.stack.connect(peer, Duration::ZERO), Err(ConnectError::NoRoute(peer.address)));
}

#[test]
fn the_client_is_woken_only_when_it_sleeps() {
    let mut wire = Wire::pair();
    let listener = wire.nodes[0].stack.listen(80, 4).unwrap();
    let (mut near, mut far) = wire.connection(listener, 80);
    let rung = near.bell.0.get();
    far.write(b"awake");
    wire.settle();
    assert_eq!(near.bell.0.get(), rung);
    near.read().unwrap();
    assert_eq!(near.end.arm(ring::stream::StreamWants::Bytes), ring::Sleep::Allowed);
    far.write(b"asleep");
    wire.settle();
    assert_eq!(near.bell.0.get(), rung + 1);
    assert_eq!(near.read().unwrap(), b"asleep");
}
