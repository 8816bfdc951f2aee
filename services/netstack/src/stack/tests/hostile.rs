//! Frames that nobody should send: every part of the stack sees them changed at random, and none may panic.

use std::time::Duration;

use super::harness::{Client, Wire, address, mac, random, repair};
use crate::{
    frame::{Identity, Refusal, classify},
    udp::Peer,
};
use ring::frame::Checksum;
use smoltcp::wire::Ipv4Cidr;

/// Frames of every kind that two stacks exchange, in both directions.
fn corpus() -> Vec<Vec<u8>> {
    let mut wire = Wire::pair();
    let listener = wire.nodes[0].stack.listen(80, 4).unwrap();
    let near = wire.nodes[0].stack.bind(7).unwrap();
    let (mut client, mut far): (Client, Client) = wire.connection(listener, 80);
    far.write(b"GET / HTTP/1.1\r\n\r\n");
    wire.settle();
    client.read().unwrap();
    client.write(&[b'x'; 3000]);
    client.finish();
    wire.settle();
    far.read().unwrap();
    far.finish();
    let to_closed = Peer { address: address(2), port: 9 };
    wire.nodes[0].stack.send_datagram(near, to_closed, b"echo").unwrap();
    wire.nodes[1].connect(1, 81, wire.now);
    wire.pass(Duration::from_secs(1));
    assert!(wire.log.len() > 15);
    wire.log
}

fn identity() -> Identity {
    Identity { mac: mac(1), address: Some(Ipv4Cidr::new(address(1), 24)) }
}

#[test]
fn changed_frames_never_panic_and_connections_go_on() {
    let corpus = corpus();
    let mut wire = Wire::pair();
    let listener = wire.nodes[0].stack.listen(80, 8).unwrap();
    wire.nodes[0].stack.bind(7).unwrap();
    let mut random = random(42);
    let mut pick = move |bound: usize| (random() % bound.max(1) as u64) as usize;
    for round in 0..20_000 {
        let mut frame = corpus[pick(corpus.len())].clone();
        for _ in 0..pick(4) {
            let index = pick(frame.len());
            frame[index] = match pick(4) {
                0 => 0,
                1 => 0xff,
                2 => pick(256) as u8,
                _ => frame[index] ^ 1 << pick(8),
            };
        }
        match pick(8) {
            0 => frame.truncate(pick(frame.len())),
            1 => frame.resize(frame.len() + pick(400), 0),
            _ => {}
        }
        // Half of them with right checksums, so that they get further.
        if pick(2) == 0 {
            repair(&mut frame);
        }
        for node in &mut wire.nodes {
            node.nic.deliver(&frame);
            node.ring();
            node.run(wire.now);
            node.nic.take_sent();
        }
        while wire.nodes[0].accept(listener).is_some() {}
        if round % 64 == 0 {
            wire.now += Duration::from_millis(pick(3000) as u64);
        }
    }
    wire.pass(Duration::from_secs(120));
    let (mut near, mut far) = wire.connection(listener, 80);
    far.write(b"still here");
    wire.settle();
    assert_eq!(near.read().unwrap(), b"still here");
}

#[test]
fn every_cut_of_every_frame_is_refused_or_sound() {
    for frame in corpus() {
        for length in 0..frame.len() {
            let _flow = classify(&frame[..length], Checksum::Unknown, &identity());
        }
    }
}

#[test]
fn refusals_say_why() {
    let corpus = corpus();
    let to_one: Vec<_> =
        corpus.iter().filter(|frame| classify(frame, Checksum::Unknown, &identity()).is_ok()).collect();
    // A TCP segment with data, so that there is something behind the headers.
    let is_tcp = |frame: &&&Vec<u8>| frame[12..14] == [8, 0] && frame[23] == 6;
    let sound = *to_one.iter().filter(is_tcp).max_by_key(|frame| frame.len()).unwrap();
    let change = |index: usize, value: u8| {
        let mut frame = sound.clone();
        frame[index] = value;
        frame
    };
    let repaired = |index: usize, value: u8| {
        let mut frame = change(index, value);
        repair(&mut frame);
        frame
    };
    let refused = |frame: &[u8]| classify(frame, Checksum::Unknown, &identity()).unwrap_err();
    let last = sound.len() - 1;
    assert_eq!(refused(&sound[..13]), Refusal::Malformed);
    assert_eq!(refused(&change(0, 0x06)), Refusal::NotForUs);
    assert_eq!(refused(&change(6, 0x01)), Refusal::Source);
    assert_eq!(refused(&change(12, 0x86)), Refusal::NotForUs);
    assert_eq!(refused(&change(14, 0x65)), Refusal::Malformed);
    assert_eq!(refused(&change(14, 0x44)), Refusal::Malformed);
    assert_eq!(refused(&change(16, 0xff)), Refusal::Malformed);
    assert_eq!(refused(&change(24, sound[24] ^ 1)), Refusal::Checksum);
    assert_eq!(refused(&change(last, sound[last] ^ 1)), Refusal::Checksum);
    assert_eq!(refused(&repaired(20, 0x20)), Refusal::Fragment);
    assert_eq!(refused(&repaired(21, 0x01)), Refusal::Fragment);
    assert_eq!(refused(&repaired(26, 127)), Refusal::Source);
    assert_eq!(refused(&repaired(29, 1)), Refusal::Source);
    assert_eq!(refused(&repaired(33, 7)), Refusal::NotForUs);
    assert_eq!(refused(&change(46, 0x10)), Refusal::Malformed);
}

#[test]
fn refused_frames_are_counted_and_their_buffers_come_back() {
    let mut wire = Wire::pair();
    let sound =
        corpus().into_iter().find(|frame| classify(frame, Checksum::Unknown, &identity()).is_ok()).unwrap();
    for count in 1..500 {
        let mut bad = sound.clone();
        bad.truncate(20 + count % 10);
        bad[0..6].copy_from_slice(&mac(1).0);
        assert!(wire.nodes[0].nic.deliver(&bad), "frame {count}");
        wire.nodes[0].run(wire.now);
    }
    assert_eq!(wire.nodes[0].stack.status(wire.now).dropped_frames, 499);
}

#[test]
fn a_flood_of_openings_leaves_room_for_work() {
    let corpus = corpus();
    let mut wire = Wire::pair();
    let listener = wire.nodes[0].stack.listen(80, 8).unwrap();
    let opening = corpus
        .iter()
        .find(|frame| frame.len() > 47 && frame[23] == 6 && frame[47] == 0x02 && frame[36..38] == [0, 80])
        .unwrap();
    for source in 0..5000u32 {
        let mut syn = opening.clone();
        // Another forged address and port each time.
        syn[28..30].copy_from_slice(&[9, 40 + (source % 200) as u8]);
        syn[34..36].copy_from_slice(&(1024 + source as u16).to_be_bytes());
        repair(&mut syn);
        wire.nodes[0].nic.deliver(&syn);
        wire.nodes[0].run(wire.now);
        wire.nodes[0].nic.take_sent();
        wire.now += Duration::from_millis(2);
    }
    assert!(wire.nodes[0].stack.status(wire.now).tcp_sockets <= 8);
    let id = wire.nodes[1].connect(1, 80, wire.now);
    wire.pass(Duration::from_secs(4));
    assert!(wire.nodes[1].connected(id).is_ready());
    assert!(wire.nodes[0].accept(listener).is_some());
}
