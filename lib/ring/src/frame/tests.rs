//! Sessions between two honest sides, two threads at full speed, and hostile peers.

use super::{
    Checksum, ClientSide, ClientWants, FrameLayout, NicSide, NicWants, Offload, Ring, Transport,
    descriptor::Descriptor,
};
use crate::hostile::{Random, poke};
use crate::{HeapMemory, LayoutError, PeerFault, Sleep, header::Header, memory::Region};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

const SMALL: FrameLayout = match FrameLayout::new(4, 2, 128) {
    Ok(layout) => layout,
    Err(_) => panic!("a valid layout"),
};

struct Session {
    rings: Arc<HeapMemory>,
    nic: NicSide<HeapMemory>,
    client: ClientSide<HeapMemory>,
}

fn session(layout: FrameLayout) -> Session {
    let rings = Arc::new(HeapMemory::new(layout.rings_bytes()));
    let buffers = Arc::new(HeapMemory::new(layout.buffers_bytes()));
    let nic = NicSide::new(&rings, layout).expect("rings fit");
    let client = ClientSide::new(&rings, &buffers, layout).expect("rings fit");
    Session { rings, nic, client }
}

/// Puts a raw descriptor into a ring and moves the producer's position.
fn forge(session: &Session, ring: Ring, position: u32, descriptor: u64) {
    let base = SMALL.offset(ring);
    let slot = (position % SMALL.capacity(ring)) as usize;
    poke(&session.rings, base + size_of::<Header>() + slot * 8, descriptor as u32);
    poke(&session.rings, base + size_of::<Header>() + slot * 8 + 4, (descriptor >> 32) as u32);
    poke(&session.rings, base, position.wrapping_add(1));
}

fn word(offset: u32, length: u16, flags: u16) -> u64 {
    u64::from(offset) | u64::from(length) << 32 | u64::from(flags) << 48
}

#[test]
fn layout_is_the_documented_one() {
    assert_eq!(SMALL.offset(Ring::Received), 0);
    assert_eq!(SMALL.offset(Ring::Free), 192);
    assert_eq!(SMALL.offset(Ring::Send), 384);
    assert_eq!(SMALL.offset(Ring::Sent), 576);
    assert_eq!(SMALL.rings_bytes(), 768);
    assert_eq!(SMALL.buffers_bytes(), 768);
    assert_eq!(
        Descriptor { offset: 0x0102_0304, length: 0x0506, flags: 0x0708 }.to_word(),
        0x0708_0506_0102_0304
    );
    assert_eq!(FrameLayout::new(3, 2, 128), Err(LayoutError::Count(3)));
    assert_eq!(FrameLayout::new(2, 8192, 128), Err(LayoutError::Count(8192)));
    assert_eq!(FrameLayout::new(2, 2, 100), Err(LayoutError::BufferBytes(100)));
    assert_eq!(FrameLayout::new(2, 2, 65536), Err(LayoutError::BufferBytes(65536)));
    let small = Arc::new(HeapMemory::new(4096));
    let large = FrameLayout::new(4096, 4096, 2048).expect("valid");
    assert_eq!(
        NicSide::new(&small, large).err(),
        Some(LayoutError::MemoryTooSmall { needed: large.rings_bytes(), actual: 4096 })
    );
}

#[test]
fn frames_go_both_ways_and_buffers_come_back() {
    let Session { mut nic, mut client, .. } = session(SMALL);
    for round in 0..100u8 {
        let buffer = nic.take_free().expect("honest").expect("a free buffer");
        assert!(buffer.range().start < 512);
        let checksum = if round % 2 == 0 { Checksum::Unknown } else { Checksum::Good };
        nic.deliver(buffer, 10, 60, checksum).expect("honest");
        let frame = client.receive().expect("honest").expect("a frame");
        assert_eq!((frame.len(), frame.checksum()), (60, checksum));
        client.give_back(frame).expect("honest");

        let mut buffer = client.take_send_buffer().expect("honest").expect("a send buffer");
        client.buffers().with_send(&mut buffer, 70, |bytes| bytes.fill(round)).expect("it fits");
        assert!(client.buffers().with_send(&mut buffer, 129, |_| ()).is_none());
        let offload = Offload::Checksum(Transport::Udp);
        client.send_offloaded(buffer, 70, offload).expect("honest");
        let frame = nic.take_send().expect("honest").expect("a frame to send");
        assert_eq!((frame.range().len(), frame.offload()), (70, offload));
        assert!(frame.number() < 2);
        assert!(frame.range().start >= 512);
        nic.finish_send(frame).expect("honest");
    }
    assert_eq!(client.receive(), Ok(None));
    assert_eq!(nic.take_send(), Ok(None));
}

#[test]
fn send_buffers_may_be_of_another_size() {
    let layout = SMALL.with_send_bytes(256).expect("valid");
    assert_eq!(
        (layout.buffers_bytes(), SMALL.with_send_bytes(65)),
        (1024, Err(LayoutError::BufferBytes(65)))
    );
    let Session { mut nic, mut client, .. } = session(layout);
    let mut ends = Vec::new();
    for _ in 0..2 {
        let buffer = client.take_send_buffer().expect("honest").expect("a send buffer");
        client.send(buffer, 256).expect("honest");
        let range = nic.take_send().expect("honest").expect("the whole buffer").range();
        assert_eq!(range.len(), 256);
        ends.push(range.end);
    }
    ends.sort_unstable();
    assert_eq!(ends, [768, 1024]);
    let last = core::iter::from_fn(|| nic.take_free().expect("honest")).last().expect("receive buffers");
    assert_eq!(last.range(), 384..512);
}

#[test]
fn all_buffers_can_be_on_one_side() {
    let Session { mut nic, mut client, .. } = session(SMALL);
    for _ in 0..4 {
        let buffer = nic.take_free().expect("honest").expect("four fresh buffers");
        nic.deliver(buffer, 0, 1, Checksum::Unknown).expect("room");
    }
    assert_eq!(nic.take_free(), Ok(None));
    let frames: Vec<_> = std::iter::from_fn(|| client.receive().expect("honest")).collect();
    assert_eq!(frames.len(), 4);
    for frame in frames {
        client.give_back(frame).expect("room");
    }
    for _ in 0..2 {
        let buffer = client.take_send_buffer().expect("honest").expect("two send buffers");
        client.send(buffer, 128).expect("room");
    }
    assert_eq!(client.take_send_buffer(), Ok(None));
}

#[test]
fn useless_sends_keep_the_buffer() {
    let Session { mut nic, mut client, .. } = session(SMALL);
    for length in [0, 129, 70_000] {
        let buffer = client.take_send_buffer().expect("honest").expect("a send buffer");
        client.send(buffer, length).expect("no fault of the peer");
    }
    assert_eq!(nic.take_send(), Ok(None));
    assert!(client.take_send_buffer().expect("honest").is_some());
    assert!(client.take_send_buffer().expect("honest").is_some());
}

#[test]
fn doorbells_are_rung_only_for_sleepers() {
    let Session { mut nic, mut client, .. } = session(SMALL);
    let buffer = client.take_send_buffer().expect("honest").expect("a buffer");
    client.send(buffer, 1).expect("room");
    assert!(!client.must_ring(), "the driver is awake");
    assert_eq!(nic.arm(NicWants::Send), Ok(Sleep::WorkArrived), "the re-check sees the frame");
    let frame = nic.take_send().expect("honest").expect("the frame");
    assert_eq!(nic.arm(NicWants::Send), Ok(Sleep::Allowed));
    let buffer = client.take_send_buffer().expect("honest").expect("a buffer");
    client.send(buffer, 1).expect("room");
    assert!(client.must_ring());
    assert!(!client.must_ring(), "once for each sleep");
    assert_eq!(client.arm(ClientWants::Received), Ok(Sleep::Allowed));
    nic.finish_send(frame).expect("room");
    assert!(!nic.must_ring(), "the client did not ask for send buffers");
    assert_eq!(client.arm(ClientWants::ReceivedAndSent), Ok(Sleep::WorkArrived));
}

#[test]
fn bad_send_descriptors_are_faults_that_stay() {
    let cases = [
        (word(512, 129, 0), PeerFault::Range { offset: 512, length: 129 }),
        (word(512 + 100, 29, 0), PeerFault::Range { offset: 612, length: 29 }),
        (word(768, 1, 0), PeerFault::Range { offset: 768, length: 1 }),
        (word(u32::MAX, 1, 0), PeerFault::Range { offset: u32::MAX, length: 1 }),
        (word(0, 64, 0), PeerFault::Range { offset: 0, length: 64 }),
        (word(512, 0, 0), PeerFault::Range { offset: 512, length: 0 }),
        (word(512, 64, 1), PeerFault::Flags(1)),
        (word(512, 64, 0xc000), PeerFault::Flags(0xc000)),
    ];
    for (raw, fault) in cases {
        let mut session = session(SMALL);
        forge(&session, Ring::Send, 0, raw);
        assert_eq!(session.nic.take_send(), Err(fault));
        forge(&session, Ring::Send, 1, word(512, 64, 0));
        assert_eq!(session.nic.take_send(), Err(fault), "a good descriptor mends nothing");
        assert_eq!(session.nic.arm(NicWants::Send), Err(fault));
    }
}

#[test]
fn a_buffer_cannot_be_handed_over_twice() {
    let mut sender = session(SMALL);
    forge(&sender, Ring::Send, 0, word(512, 64, 0));
    forge(&sender, Ring::Send, 1, word(512 + 8, 64, 0));
    let _first = sender.nic.take_send().expect("good").expect("a frame");
    assert_eq!(sender.nic.take_send(), Err(PeerFault::NotOwned { offset: 520 }));

    let mut freer = session(SMALL);
    while freer.nic.take_free().expect("fresh ones").is_some() {}
    forge(&freer, Ring::Free, 0, word(0, 0, 0));
    assert_eq!(freer.nic.take_free(), Err(PeerFault::NotOwned { offset: 0 }));

    let mut receiver = session(SMALL);
    forge(&receiver, Ring::Received, 0, word(128, 64, 0));
    forge(&receiver, Ring::Received, 1, word(128, 64, 0));
    assert!(receiver.client.receive().expect("good").is_some());
    assert_eq!(receiver.client.receive(), Err(PeerFault::NotOwned { offset: 128 }));
}

#[test]
fn bad_positions_are_faults() {
    for claimed in [3u32, 5, u32::MAX, 1 << 31] {
        let mut session = session(SMALL);
        poke(&session.rings, SMALL.offset(Ring::Send), claimed);
        assert_eq!(session.nic.take_send(), Err(PeerFault::Position { claimed, own: 0 }));
    }
    // A consumer that claims to have taken what was never put in.
    let mut session = session(SMALL);
    for _ in 0..4 {
        let buffer = session.nic.take_free().expect("fresh").expect("fresh");
        session.nic.deliver(buffer, 0, 1, Checksum::Unknown).expect("room");
    }
    poke(&session.rings, SMALL.offset(Ring::Received) + 64, 5);
    forge(&session, Ring::Free, 0, word(0, 0, 0));
    let buffer = session.nic.take_free().expect("good").expect("a buffer");
    assert_eq!(
        session.nic.deliver(buffer, 0, 1, Checksum::Unknown),
        Err(PeerFault::Position { claimed: 5, own: 4 })
    );
}

#[test]
fn a_ring_that_stays_full_is_a_fault() {
    let mut session = session(SMALL);
    for _ in 0..4 {
        let buffer = session.nic.take_free().expect("fresh").expect("fresh");
        session.nic.deliver(buffer, 0, 1, Checksum::Unknown).expect("room");
    }
    // The client returns a buffer that it never took out of the ring.
    forge(&session, Ring::Free, 0, word(0, 0, 0));
    let buffer = session.nic.take_free().expect("good").expect("a buffer");
    assert_eq!(session.nic.deliver(buffer, 0, 1, Checksum::Unknown), Err(PeerFault::Full));
}

#[test]
fn nothing_that_a_peer_writes_makes_a_side_panic_or_leave_the_buffers() {
    for seed in 1..400u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let Session { rings, mut nic, mut client } = session(SMALL);
        let mut sends = Vec::new();
        for _ in 0..200 {
            // Mostly small values: those get past more checks than wild ones.
            let offset = (random.next() as usize % (SMALL.rings_bytes() / 4)) * 4;
            let value = match random.next() % 4 {
                0 => random.next() as u32,
                1 => (random.next() % 768) as u32,
                _ => (random.next() % 6) as u32,
            };
            poke(&rings, offset, value);
            if let Ok(Some(frame)) = nic.take_send() {
                assert!(frame.range().start >= 512 && frame.range().end <= 768 && !frame.range().is_empty());
                sends.push(frame);
            }
            assert!(sends.len() <= 2, "more frames than buffers");
            if random.next().is_multiple_of(2)
                && let Some(frame) = sends.pop()
            {
                let _ = nic.finish_send(frame);
            }
            if let Ok(Some(buffer)) = nic.take_free() {
                assert!(buffer.range().end <= 512);
                let _ = nic.deliver(buffer, random.next() as u32, random.next() as u32, Checksum::Unknown);
            }
            if let Ok(Some(frame)) = client.receive() {
                assert!(client.buffers().with_received(&frame, |bytes| bytes.len() <= 128).expect("inside"));
                let _ = client.give_back(frame);
            }
            if let Ok(Some(buffer)) = client.take_send_buffer() {
                let _ = client.send(buffer, 64);
            }
            let _ = (nic.must_ring(), client.must_ring(), nic.arm(NicWants::SendAndFree));
            let _ = client.arm(ClientWants::ReceivedAndSent);
        }
    }
}

/// Two threads exchange numbered frames; each sleeps on its doorbell when it has nothing to do. A lost
/// wake-up would hang the test, a reordering would show in the numbers.
#[test]
fn two_threads_lose_nothing_and_sleep_safely() {
    const FRAMES: u32 = 100_000;
    let layout = FrameLayout::new(8, 4, 64).expect("valid");
    let Session { mut nic, mut client, .. } = session(layout);
    let (ring_nic, nic_bell) = mpsc::channel::<()>();
    let (ring_client, client_bell) = mpsc::channel::<()>();
    let done = Arc::new(AtomicBool::new(false));
    let driver_done = Arc::clone(&done);

    // The driver echoes the length of each sent frame as a received frame of that length.
    let driver = thread::spawn(move || {
        let mut bells = 0u32;
        let mut pending = None;
        while !driver_done.load(Ordering::Acquire) {
            let mut worked = false;
            loop {
                if pending.is_none() {
                    pending = nic.take_send().expect("honest client");
                }
                let Some(frame) = pending.take() else { break };
                let Some(buffer) = nic.take_free().expect("honest client") else {
                    pending = Some(frame);
                    break;
                };
                nic.deliver(buffer, 0, frame.range().len() as u32, Checksum::Unknown).expect("room");
                nic.finish_send(frame).expect("room");
                worked = true;
            }
            if worked && nic.must_ring() {
                bells += 1;
                ring_client.send(()).expect("client lives");
            }
            let wants = if pending.is_some() { NicWants::SendAndFree } else { NicWants::Send };
            if nic.arm(wants).expect("honest client") == Sleep::Allowed && nic_bell.recv().is_err() {
                break;
            }
        }
        bells
    });

    let (mut sent, mut received) = (0u32, 0u32);
    while received < FRAMES {
        let mut out_of_buffers = false;
        while sent < FRAMES {
            let Some(buffer) = client.take_send_buffer().expect("honest driver") else {
                out_of_buffers = true;
                break;
            };
            client.send(buffer, (sent % 64 + 1) as usize).expect("room");
            sent += 1;
        }
        while let Some(frame) = client.receive().expect("honest driver") {
            assert_eq!(frame.len(), (received % 64 + 1) as usize, "frame {received}");
            received += 1;
            client.give_back(frame).expect("room");
        }
        if client.must_ring() {
            ring_nic.send(()).expect("driver lives");
        }
        let wants = if out_of_buffers { ClientWants::ReceivedAndSent } else { ClientWants::Received };
        if received < FRAMES && client.arm(wants).expect("honest driver") == Sleep::Allowed {
            client_bell.recv().expect("driver lives");
        }
    }
    done.store(true, Ordering::Release);
    drop(ring_nic);
    let bells = driver.join().expect("no panic");
    assert!(bells <= FRAMES);
}

#[test]
fn regions_refuse_what_is_not_inside() {
    let memory = Arc::new(HeapMemory::new(4096));
    assert!(Region::new(&memory, 4096, 0).is_some());
    assert!(Region::new(&memory, 4096, 1).is_none());
    assert!(Region::new(&memory, 32, 64).is_none(), "unaligned");
    assert!(Region::new(&memory, 64, usize::MAX).is_none());
    let region = Region::new(&memory, 64, 64).expect("inside");
    assert!(region.word(7).is_some() && region.word(8).is_none() && region.word(usize::MAX).is_none());
    assert!(region.copy_in(60, &[0; 4]).is_some() && region.copy_in(61, &[0; 4]).is_none());
    assert!(region.copy_out(usize::MAX, &mut [0; 4]).is_none());
    assert!(region.lend(64, 0, |_| ()).is_some() && region.lend(64, 1, |_| ()).is_none());
}
