//! UDP and ICMP: datagrams, limits, ping.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use ring::{
    HeapMemory, Sleep,
    datagram::{self, Datagrams, Sent},
    stream::{StreamError, StreamLayout},
};
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, Icmpv4Packet, Icmpv4Repr, IpProtocol,
    Ipv4Address, Ipv4Packet, Ipv4Repr,
};

use super::harness::{Bell, Node, TestStack, Wire, address, mac, poke, repair};
use crate::{
    arguments::Addressing,
    limits::{DATAGRAMS, Limits},
    stack::{BindError, SendError},
    table::Id,
    udp::Peer,
};

fn receive(stack: &mut TestStack, id: Id) -> Option<(Peer, Vec<u8>)> {
    let context = Context::from_waker(Waker::noop());
    match stack.poll_datagram(id, &context, |peer, data| (peer, data.to_vec())) {
        Poll::Ready(datagram) => datagram,
        Poll::Pending => None,
    }
}

fn pair() -> (Wire, Id, Id) {
    let mut wire = Wire::pair();
    let near = wire.nodes[0].stack.bind(7).unwrap();
    let far = wire.nodes[1].stack.bind(0).unwrap();
    (wire, near, far)
}

fn to(number: u8, port: u16) -> Peer {
    Peer { address: address(number), port }
}

#[test]
fn datagrams_go_there_and_back() {
    let (mut wire, near, far) = pair();
    for size in [0, 1, 64, 1472] {
        let data = vec![size as u8; size];
        wire.nodes[1].stack.send_datagram(far, to(1, 7), &data).unwrap();
        wire.settle();
        let (peer, got) = receive(&mut wire.nodes[0].stack, near).expect("a datagram came");
        assert_eq!((peer.address, got), (address(2), data.clone()));
        wire.nodes[0].stack.send_datagram(near, peer, &data).unwrap();
        wire.settle();
        assert_eq!(receive(&mut wire.nodes[1].stack, far), Some((to(1, 7), data)));
    }
}

#[test]
fn a_full_socket_drops_and_counts() {
    let (mut wire, near, far) = pair();
    for _ in 0..DATAGRAMS + 5 {
        wire.nodes[1].stack.send_datagram(far, to(1, 7), b"x").unwrap();
        wire.settle();
    }
    assert_eq!(wire.nodes[0].stack.datagram_info(near), Some((7, 5)));
    let count = std::iter::from_fn(|| receive(&mut wire.nodes[0].stack, near)).count();
    assert_eq!(count, DATAGRAMS);
    // Also when the bytes run out first.
    for _ in 0..20 {
        wire.nodes[1].stack.send_datagram(far, to(1, 7), &[0; 1400]).unwrap();
        wire.settle();
    }
    let count = std::iter::from_fn(|| receive(&mut wire.nodes[0].stack, near)).count();
    assert_eq!(wire.nodes[0].stack.datagram_info(near), Some((7, 5 + 20 - count as u64)));
    assert!((8..20).contains(&count));
}

#[test]
fn bad_sends_and_ports_are_named() {
    let (mut wire, near, _) = pair();
    let stack = &mut wire.nodes[0].stack;
    assert_eq!(stack.send_datagram(near, to(2, 0), b""), Err(SendError::BadPeer));
    let unspecified = Peer { address: Ipv4Address::UNSPECIFIED, port: 7 };
    assert_eq!(stack.send_datagram(near, unspecified, b""), Err(SendError::BadPeer));
    assert_eq!(
        stack.send_datagram(near, to(2, 7), &[0; 1473]),
        Err(SendError::TooLong { bytes: 1473, most: 1472 })
    );
    assert_eq!(stack.bind(7), Err(BindError::PortTaken(7)));
    assert_eq!(stack.bind(68), Err(BindError::PortTaken(68)));
    stack.unbind(near);
    assert_eq!(stack.send_datagram(near, to(2, 7), b""), Err(SendError::Gone));
    assert!(stack.bind(7).is_ok());
    while stack.bind(0).is_ok() {}
    assert_eq!(stack.bind(0), Err(BindError::TooMany));
}

#[test]
fn the_send_buffer_fills_and_empties() {
    let mut wire = Wire::pair();
    let near = wire.nodes[0].stack.bind(7).unwrap();
    // Nobody has the address, so nothing leaves.
    let error = loop {
        if let Err(error) = wire.nodes[0].stack.send_datagram(near, to(77, 7), &[0; 1000]) {
            break error;
        }
    };
    assert_eq!(error, SendError::Full);
    wire.pass(Duration::from_secs(8));
    let far = wire.nodes[1].stack.bind(7).unwrap();
    wire.nodes[0].stack.send_datagram(near, to(2, 7), b"through").unwrap();
    wire.pass(Duration::from_secs(2));
    assert_eq!(receive(&mut wire.nodes[1].stack, far), Some((to(1, 7), b"through".to_vec())));
}

/// Gives a socket its rings: the client's end, and its doorbell.
fn open(node: &mut Node, id: Id) -> (Datagrams<HeapMemory>, Bell) {
    let layout = StreamLayout::new(16 << 10, 16 << 10).unwrap();
    let memory = Arc::new(HeapMemory::new(layout.bytes()));
    let (end, bell) = (datagram::create(&memory, layout).unwrap(), Bell::default());
    assert!(node.stack.open(id, end, bell.clone()));
    node.run(Duration::from_secs(1));
    (datagram::open(&memory).unwrap(), bell)
}

#[test]
fn datagrams_go_through_rings_there_and_back() {
    let (mut wire, near, far) = pair();
    let (mut rings, bell) = open(&mut wire.nodes[0], near);
    assert!(!wire.nodes[0].stack.can_open(near));
    for size in [0, 1, 64, 1472] {
        let data = vec![size as u8; size];
        let rung = bell.0.get();
        assert_eq!(rings.arm(), Sleep::Allowed);
        wire.nodes[1].stack.send_datagram(far, to(1, 7), &data).unwrap();
        wire.settle();
        assert_eq!(bell.0.get(), rung + 1, "the client sleeps");
        let mut got = [0; 2000];
        let head = rings.receive(&mut got).unwrap().expect("a datagram came");
        assert_eq!((head.address, &got[..head.length.into()]), (address(2).to_bits(), &data[..]));
        assert_eq!(rings.send(head.address, head.port, &data), Ok(Sent::Queued));
        assert!(rings.must_ring(), "the stack sleeps");
        wire.nodes[0].stack.streams_rang(0, 1);
        wire.settle();
        assert_eq!(receive(&mut wire.nodes[1].stack, far), Some((to(1, 7), data)));
    }
    assert_eq!(wire.nodes[0].stack.datagram_info(near), Some((7, 0)));
    wire.nodes[0].stack.unbind(near);
    assert_eq!(rings.peek(), Err(StreamError::Reset));
}

#[test]
fn rings_fill_and_empty_and_what_cannot_go_is_dropped() {
    let (mut wire, near, far) = pair();
    let (mut rings, _) = open(&mut wire.nodes[0], near);
    let (mut there, _) = open(&mut wire.nodes[1], far);
    let port = wire.nodes[1].stack.datagram_info(far).unwrap().0;
    // Nowhere, no port, too long.
    for (address, port, length) in [(0, 7, 1), (address(2).to_bits(), 0, 1), (address(2).to_bits(), 7, 1473)]
    {
        assert_eq!(rings.send(address, port, &vec![0; length]), Ok(Sent::Queued));
    }
    wire.nodes[0].stack.streams_rang(0, 1);
    wire.settle();
    assert_eq!(wire.nodes[0].stack.datagram_info(near), Some((7, 3)));
    // More than smoltcp takes at once, and more than fits the far ring.
    let mut sent = 0;
    for _ in 0..4 {
        while rings.send(address(2).to_bits(), port, &[7; 900]) == Ok(Sent::Queued) {
            sent += 1;
        }
        wire.nodes[0].stack.streams_rang(0, 1);
        wire.pass(Duration::from_millis(50));
    }
    let mut received = 0;
    while there.receive(&mut [0; 1000]).unwrap().is_some() {
        received += 1;
    }
    assert!(sent > 4 * 15 && received > 15, "{received} of {sent}");
    assert_eq!(wire.nodes[1].stack.datagram_info(far), Some((port, sent - received)));
}

#[test]
fn datagrams_without_an_own_address_are_dropped() {
    let mut node = Node::new(1, Addressing::Dhcp { mtu: None }, Limits::STANDARD);
    let id = node.stack.bind(7).unwrap();
    let (mut rings, _) = open(&mut node, id);
    assert_eq!(rings.send(address(2).to_bits(), 7, b"early"), Ok(Sent::Queued));
    node.stack.streams_rang(0, 1);
    node.run(Duration::from_secs(1));
    assert_eq!(node.stack.datagram_info(id), Some((7, 1)));
}

#[test]
fn a_client_that_breaks_its_rings_loses_them_alone() {
    let (mut wire, near, far) = pair();
    let layout = StreamLayout::new(16 << 10, 16 << 10).unwrap();
    let memory = Arc::new(HeapMemory::new(layout.bytes()));
    let end = datagram::create(&memory, layout).unwrap();
    assert!(wire.nodes[0].stack.open(near, end, Bell::default()));
    wire.settle();
    // Four bytes, where records have at least eight.
    poke(&memory, 192, 4);
    wire.nodes[0].stack.streams_rang(0, 1);
    wire.settle();
    assert!(wire.nodes[0].stack.can_open(near));
    wire.nodes[1].stack.send_datagram(far, to(1, 7), b"hello").unwrap();
    wire.settle();
    assert!(receive(&mut wire.nodes[0].stack, near).is_some());
}

#[test]
fn a_closed_port_is_unreachable() {
    let (mut wire, _, far) = pair();
    wire.nodes[1].stack.send_datagram(far, to(1, 9), b"anybody?").unwrap();
    wire.log.clear();
    wire.settle();
    let unreachable = wire.log.iter().any(|frame| {
        Ipv4Packet::new_checked(&frame[14..])
            .is_ok_and(|packet| packet.next_header() == IpProtocol::Icmp && packet.payload()[..2] == [3, 3])
    });
    assert!(unreachable);
}

/// An echo request from machine 2 to an address.
fn ping(destination: Ipv4Address, mac_destination: EthernetAddress, data: &[u8]) -> Vec<u8> {
    let icmp = Icmpv4Repr::EchoRequest { ident: 7, seq_no: 1, data };
    let ip = Ipv4Repr {
        src_addr: address(2),
        dst_addr: destination,
        next_header: IpProtocol::Icmp,
        payload_len: icmp.buffer_len(),
        hop_limit: 64,
    };
    let mut frame = vec![0; 14 + 20 + icmp.buffer_len()];
    let ethernet =
        EthernetRepr { src_addr: mac(2), dst_addr: mac_destination, ethertype: EthernetProtocol::Ipv4 };
    ethernet.emit(&mut EthernetFrame::new_unchecked(&mut frame));
    let none = smoltcp::phy::ChecksumCapabilities::ignored();
    ip.emit(&mut Ipv4Packet::new_unchecked(&mut frame[14..]), &none);
    icmp.emit(&mut Icmpv4Packet::new_unchecked(&mut frame[34..]), &none);
    repair(&mut frame);
    frame
}

/// A stack that knows machine 2, and what it answers to a frame.
fn answer(frame: &[u8]) -> Vec<Vec<u8>> {
    let (mut wire, near, _) = pair();
    wire.nodes[0].stack.send_datagram(near, to(2, 9), b"").unwrap();
    wire.settle();
    let node: &mut Node = &mut wire.nodes[0];
    assert!(node.nic.deliver(frame));
    node.run(wire.now);
    node.nic.take_sent()
}

#[test]
fn ping_is_answered_up_to_the_mtu() {
    for size in [0, 1, 56, 1472] {
        let data: Vec<u8> = (0..size).map(|index| index as u8).collect();
        let answers = answer(&ping(address(1), mac(1), &data));
        assert_eq!(answers.len(), 1, "{size} bytes");
        let packet = Ipv4Packet::new_checked(&answers[0][14..]).unwrap();
        assert!(packet.verify_checksum());
        let icmp = Icmpv4Packet::new_checked(packet.payload()).unwrap();
        let repr = Icmpv4Repr::parse(&icmp, &smoltcp::phy::ChecksumCapabilities::default()).unwrap();
        assert_eq!(repr, Icmpv4Repr::EchoReply { ident: 7, seq_no: 1, data: &data });
    }
}

#[test]
fn broadcast_and_other_peoples_pings_are_not_answered() {
    assert_eq!(answer(&ping(Ipv4Address::BROADCAST, EthernetAddress::BROADCAST, b"")).len(), 0);
    assert_eq!(answer(&ping(address(255), EthernetAddress::BROADCAST, b"")).len(), 0);
    assert_eq!(answer(&ping(address(3), mac(1), b"")).len(), 0);
}
