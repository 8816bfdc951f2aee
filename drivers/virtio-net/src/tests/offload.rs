//! Checksums and segments that are left to the device.

use super::{KINDS, Kind, Live, RX, TX, header_bytes};
use crate::{Offloads, Receiving, Sending};
use ring::frame::{Checksum, MERGED_BYTES, Offload, SegmentBytes, Transport};

#[test]
fn a_device_that_merges_and_cuts_gets_large_buffers() {
    for kind in KINDS {
        let mut live = Live::able(kind);
        let offloads = Offloads { sending: Sending::Segments, receiving: Receiving::Merged };
        assert_eq!(live.device.offloads(), offloads);
        let layout = live.layout;
        assert_eq!((layout.receive_buffers(), layout.receive_bytes()), (32, MERGED_BYTES));
        assert_eq!((layout.send_buffers(), layout.send_bytes()), (32, MERGED_BYTES));
        live.run();
        let header = header_bytes(kind);
        // As large as the buffer, then larger.
        live.receive(&[], header + MERGED_BYTES);
        live.receive(&[], header + MERGED_BYTES + 1);
        live.run();
        assert_eq!(
            live.client.receive().expect("honest").map(|frame| frame.len()),
            Some(MERGED_BYTES as usize)
        );
        assert_eq!((live.client.receive(), live.device.counters().receive_errors), (Ok(None), 1));
    }
}

#[test]
fn what_a_device_says_of_checksums_is_passed_on() {
    for (mut live, flags, expected) in [
        (Live::able(Kind::Modern), 0, Checksum::Unknown),
        (Live::able(Kind::Modern), 1, Checksum::Good),
        (Live::able(Kind::Legacy), 2, Checksum::Good),
        (Live::able(Kind::Legacy), 0xfc, Checksum::Unknown),
        // It was not asked.
        (Live::new(Kind::Modern), 3, Checksum::Unknown),
    ] {
        live.run();
        let chain = live.fake.take(RX).expect("a posted buffer");
        chain.write(&[flags]);
        live.fake.complete(RX, u32::from(chain.head), 12 + 60);
        live.run();
        let frame = live.client.receive().expect("honest").expect("a frame");
        assert_eq!(frame.checksum(), expected, "{flags:#x}");
    }
}

#[test]
fn headers_say_what_the_client_asks_for() {
    let segments = |bytes| Offload::Segments(SegmentBytes::new(bytes).expect("in range"));
    for (offload, length, header) in [
        (Offload::None, 60, [0; 12]),
        (Offload::Checksum(Transport::Tcp), 54, [1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0]),
        (Offload::Checksum(Transport::Udp), 1514, [1, 0, 0, 0, 0, 0, 34, 0, 6, 0, 0, 0]),
        (segments(1460), 16384, [1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0, 0, 0]),
        (segments(1), 55, [1, 1, 54, 0, 1, 0, 34, 0, 16, 0, 0, 0]),
    ] {
        for kind in KINDS {
            let mut live = Live::able(kind);
            let buffer = live.client.take_send_buffer().expect("honest").expect("a buffer");
            live.client.send_offloaded(buffer, length, offload).expect("honest");
            live.run();
            let bytes = header_bytes(kind) as usize;
            let sent = live.fake.take(TX).expect("a frame").read();
            assert_eq!((&sent[..bytes], sent.len()), (&header[..bytes], bytes + length), "{offload:?}");
        }
    }
}

#[test]
fn what_the_device_cannot_do_is_counted_and_given_back() {
    let segments = |bytes| Offload::Segments(SegmentBytes::new(bytes).expect("in range"));
    let cases = [
        (Offload::None, 1519),
        (Offload::Checksum(Transport::Tcp), 53),
        (Offload::Checksum(Transport::Udp), 41),
        (Offload::Checksum(Transport::Udp), 1519),
        (segments(1465), 3000),
        (segments(1460), 54),
    ];
    let mut live = Live::able(Kind::Modern);
    for (offload, length) in cases {
        let buffer = live.client.take_send_buffer().expect("honest").expect("a buffer");
        live.client.send_offloaded(buffer, length, offload).expect("honest");
    }
    live.run();
    assert_eq!((live.fake.take(TX), live.device.counters().send_errors), (None, cases.len() as u64));
    let mut live = Live::new(Kind::Modern);
    for offload in [Offload::Checksum(Transport::Tcp), segments(1000)] {
        let buffer = live.client.take_send_buffer().expect("honest").expect("a buffer");
        live.client.send_offloaded(buffer, 1500, offload).expect("honest");
    }
    live.run();
    assert_eq!((live.fake.take(TX), live.device.counters().send_errors), (None, 2));
}
