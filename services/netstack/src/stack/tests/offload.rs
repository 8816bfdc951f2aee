//! A card that fills checksums in and cuts TCP packets, and one that merges segments.

use std::time::Duration;

use ring::frame::{Checksum, Offload};
use smoltcp::wire::{EthernetFrame, IpProtocol, Ipv4Packet, TcpPacket};

use super::{
    harness::{FakeNic, LAYOUT, Node, Wire, mac, repair},
    tcp::transfer,
};
use crate::{checksum::Sum, device::Abilities, network::Mtu};

/// Bytes of Ethernet, IPv4 and TCP headers without options.
const HEADERS: usize = 54;

/// Does to a sent frame what the card was asked for: the frames that leave.
pub fn apply(frame: Vec<u8>, offload: Offload) -> Vec<Vec<u8>> {
    match offload {
        Offload::None => vec![frame],
        Offload::Checksum(_) => vec![filled_in(frame)],
        Offload::Segments(size) => {
            let size = usize::from(size.get());
            assert!(frame.len() > HEADERS + size, "one segment is no reason to cut");
            let whole = filled_in(frame);
            let (headers, data) = whole.split_at(HEADERS);
            let count = data.len().div_ceil(size);
            let cut = data.chunks(size).enumerate();
            cut.map(|(number, data)| segment(headers, data, number * size, number + 1 == count)).collect()
        }
    }
}

/// Fills the transport checksum in as a card does: over all from the transport header on, with what stands in the field.
fn filled_in(mut frame: Vec<u8>) -> Vec<u8> {
    let place = if frame[23] == u8::from(IpProtocol::Tcp) { 50 } else { 40 };
    let checksum = Sum::default().with(&frame[34..]).checksum();
    frame[place..place + 2].copy_from_slice(&checksum);
    let mut expected = frame.clone();
    repair(&mut expected);
    assert_eq!(frame, expected, "the field held the sum of the pseudo-header");
    frame
}

fn segment(headers: &[u8], data: &[u8], offset: usize, last: bool) -> Vec<u8> {
    let mut frame = [headers, data].concat();
    let mut packet = Ipv4Packet::new_unchecked(&mut frame[14..]);
    packet.set_total_len((HEADERS - 14 + data.len()) as u16);
    let mut segment = TcpPacket::new_unchecked(packet.payload_mut());
    segment.set_seq_number(segment.seq_number() + offset);
    if !last {
        segment.set_psh(false);
        segment.set_fin(false);
    }
    repair(&mut frame);
    frame
}

/// Machine 1 with a card that can do all, machine 2 with one that can do nothing.
fn pair() -> Wire {
    let mut wire = Wire::pair();
    let layout = LAYOUT.with_send_bytes(16 << 10).unwrap();
    let (nic, session) = FakeNic::able(layout, Abilities::Segments);
    wire.nodes[0].nic = nic;
    wire.nodes[0].stack.open_session(session, mac(1), Mtu::ETHERNET, Duration::ZERO);
    wire
}

#[test]
fn large_packets_are_cut_and_arrive() {
    let mut wire = pair();
    let listener = wire.nodes[0].stack.listen(80, 4).unwrap();
    let (mut near, mut far) = wire.connection(listener, 80);
    transfer(&mut wire, &mut near, &mut far, 300_000);
    transfer(&mut wire, &mut far, &mut near, 300_000);
    let (packets, cut) = (wire.nodes[0].nic.asked, wire.nodes[0].nic.cut);
    assert!(cut > 0 && packets > cut, "{cut} of {packets}");
    assert!(wire.log.iter().all(|frame| frame.len() <= 1514));
    assert_eq!(wire.nodes[1].stack.status(wire.now).dropped_frames, 0);
}

#[test]
fn segments_that_are_lost_are_sent_again() {
    let mut wire = pair();
    let listener = wire.nodes[0].stack.listen(80, 4).unwrap();
    let (mut near, mut far) = wire.connection(listener, 80);
    let mut count = 0;
    wire.filter = Box::new(move |_| {
        count += 1;
        count % 29 != 0
    });
    transfer(&mut wire, &mut near, &mut far, 200_000);
}

#[test]
fn a_card_that_can_do_less_takes_over() {
    let mut wire = pair();
    let listener = wire.nodes[0].stack.listen(80, 4).unwrap();
    let (mut near, mut far) = wire.connection(listener, 80);
    transfer(&mut wire, &mut near, &mut far, 50_000);
    for abilities in [Abilities::Checksums, Abilities::None, Abilities::Segments] {
        let (nic, session) = FakeNic::able(LAYOUT, abilities);
        wire.nodes[0].nic = nic;
        let now = wire.now;
        wire.nodes[0].stack.open_session(session, mac(1), Mtu::ETHERNET, now);
        transfer(&mut wire, &mut near, &mut far, 50_000);
        let nic = &wire.nodes[0].nic;
        assert_eq!(
            (nic.asked > 0, nic.cut > 0),
            (abilities != Abilities::None, abilities == Abilities::Segments)
        );
    }
}

#[test]
fn a_checksum_counts_unless_the_card_has_checked_it() {
    let mut node = Node::with_address(1);
    node.stack.listen(80, 4).unwrap();
    let mut wire = Wire::pair();
    let id = wire.nodes[1].connect(1, 80, wire.now);
    wire.settle();
    let is_syn = |frame: &&Vec<u8>| {
        let frame = EthernetFrame::new_unchecked(&frame[..]);
        frame.ethertype() == smoltcp::wire::EthernetProtocol::Ipv4
    };
    let mut syn = wire.log.iter().find(is_syn).unwrap().clone();
    wire.nodes[1].stack.abort(id, wire.now);
    syn[50] ^= 1;
    assert!(node.nic.deliver_checked(&syn, Checksum::Unknown));
    node.run(wire.now);
    assert_eq!((node.stack.status(wire.now).tcp_sockets, node.stack.status(wire.now).dropped_frames), (0, 1));
    assert!(node.nic.deliver_checked(&syn, Checksum::Good));
    node.run(wire.now);
    assert_eq!((node.stack.status(wire.now).tcp_sockets, node.stack.status(wire.now).dropped_frames), (1, 1));
}
