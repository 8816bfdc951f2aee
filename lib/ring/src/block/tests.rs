//! Queues between two honest sides, two threads at full speed, and hostile peers.

use super::{
    Answer, BlockLayout, Buffers, ClientSide, DriverSide, Operation, Request, Status, Tag, WriteMode,
};
use crate::hostile::{Random, poke};
use crate::{HeapMemory, LayoutError, PeerFault, Sleep};
use std::{
    sync::{Arc, mpsc},
    thread,
};

const SMALL: BlockLayout = match BlockLayout::new(4, 512, 8192) {
    Ok(layout) => layout,
    Err(_) => panic!("a valid layout"),
};

/// Where the two rings' items start.
const REQUESTS: usize = 128;
const ANSWERS: usize = 256 + 128;

struct Queue {
    rings: Arc<HeapMemory>,
    driver: DriverSide<HeapMemory>,
    client: ClientSide<HeapMemory>,
}

fn queue(layout: BlockLayout) -> Queue {
    let rings = Arc::new(HeapMemory::new(layout.rings_bytes()));
    let driver = DriverSide::new(&rings, layout).expect("rings fit");
    let client = ClientSide::new(&rings, layout).expect("rings fit");
    Queue { rings, driver, client }
}

fn read(tag: u16) -> Request {
    Request { tag: Tag(tag), operation: Operation::Read, block: 7, blocks: 2, offset: 512 }
}

/// Puts raw words into a ring as its first item and moves the producer's position to 1.
fn forge(rings: &Arc<HeapMemory>, ring: usize, words: &[u64]) {
    for (place, word) in (ring..).step_by(8).zip(words) {
        poke(rings, place, *word as u32);
        poke(rings, place + 4, (*word >> 32) as u32);
    }
    poke(rings, ring - 128, 1);
}

#[test]
fn layout_is_the_documented_one() {
    assert_eq!(SMALL.rings_bytes(), 128 + 128 + 128 + 64);
    let request = Request {
        tag: Tag(0x0203),
        operation: Operation::Write(WriteMode::Durable),
        block: 0x1122_3344_5566_7788,
        blocks: 0x0405_0607,
        offset: 0x0a00,
    };
    assert_eq!(request.to_words(), [0x0405_0607_0203_0101, 0x1122_3344_5566_7788, 0x0a00]);
    assert_eq!(Status::TimedOut.to_word(Tag(0x0102)), 0x07_0102);
    assert_eq!(BlockLayout::new(3, 512, 512), Err(LayoutError::Count(3)));
    assert_eq!(BlockLayout::new(2048, 512, 512), Err(LayoutError::Count(2048)));
    assert_eq!(BlockLayout::new(2, 520, 512), Err(LayoutError::BlockBytes(520)));
    assert_eq!(BlockLayout::new(2, 256, 512), Err(LayoutError::BlockBytes(256)));
}

#[test]
fn requests_and_answers_go_there_and_back_in_any_order() {
    let Queue { mut driver, mut client, .. } = queue(SMALL);
    let operations = [
        Operation::Read,
        Operation::Write(WriteMode::Cached),
        Operation::Write(WriteMode::Durable),
        Operation::Discard,
        Operation::WriteZeroes,
        Operation::Flush,
    ];
    for operation in operations {
        for tag in 0..4 {
            client.submit(Request { operation, ..read(tag) }).expect("a free tag");
        }
        assert_eq!(client.submit(read(2)), Err(PeerFault::Tag(2)), "its own mistake");
        assert_eq!(client.submit(read(4)), Err(PeerFault::Tag(4)));
        for tag in 0..4 {
            assert_eq!(driver.take(), Ok(Some(Request { operation, ..read(tag) })));
        }
        assert_eq!(driver.take(), Ok(None));
        for tag in [2, 0, 3, 1] {
            driver.answer(Tag(tag), Status::Medium).expect("honest");
            driver.answer(Tag(tag), Status::Done).expect("a second answer is none");
        }
        for tag in [2, 0, 3, 1] {
            assert_eq!(client.take(), Ok(Some(Answer { tag: Tag(tag), status: Status::Medium })));
        }
        assert_eq!(client.take(), Ok(None));
    }
}

#[test]
fn doorbells_are_rung_only_for_sleepers() {
    let Queue { mut driver, mut client, .. } = queue(SMALL);
    client.submit(read(0)).expect("room");
    assert!(!client.must_ring(), "the driver is awake");
    assert_eq!(driver.arm(), Ok(Sleep::WorkArrived), "the re-check sees the request");
    driver.take().expect("honest").expect("a request");
    assert_eq!(driver.arm(), Ok(Sleep::Allowed));
    client.submit(read(1)).expect("room");
    assert!(client.must_ring());
    assert!(!client.must_ring(), "once for each sleep");
    assert_eq!(client.arm(), Ok(Sleep::Allowed));
    driver.answer(Tag(0), Status::Done).expect("honest");
    assert!(driver.must_ring());
}

#[test]
fn bad_requests_are_faults_that_stay() {
    let blocks = |count: u64| count << 32;
    let cases = [
        ([5, 0, 0], PeerFault::Operation(5)),
        ([1 << 8, 0, 0], PeerFault::Flags(1)),
        ([2 << 8 | 1, 0, 0], PeerFault::Flags(2)),
        ([4 << 16, 0, 0], PeerFault::Tag(4)),
        ([blocks(1), 0, 256], PeerFault::Range { offset: 256, length: 512 }),
        ([blocks(17), 0, 0], PeerFault::Range { offset: 0, length: 8704 }),
        ([blocks(1), 0, 8192], PeerFault::Range { offset: 8192, length: 512 }),
        ([blocks(1), 0, 1 << 32], PeerFault::Range { offset: 0, length: 512 }),
        ([blocks(0xffff_ffff), 0, 0], PeerFault::Range { offset: 0, length: u32::MAX }),
        ([2, 0, 0xffff_fe00], PeerFault::Range { offset: 0xffff_fe00, length: 0 }),
    ];
    for (words, fault) in cases {
        let mut queue = queue(SMALL);
        forge(&queue.rings, REQUESTS, &words);
        assert_eq!(queue.driver.take(), Err(fault));
        forge(&queue.rings, REQUESTS, &read(0).to_words());
        assert_eq!(queue.driver.take(), Err(fault), "a good request mends nothing");
        assert_eq!(queue.driver.arm(), Err(fault));
        assert_eq!(queue.driver.answer(Tag(0), Status::Done), Err(fault));
    }
}

#[test]
fn a_tag_cannot_be_used_twice() {
    let mut queue = queue(SMALL);
    forge(&queue.rings, REQUESTS, &read(1).to_words());
    queue.driver.take().expect("good").expect("a request");
    for (place, word) in (REQUESTS + 24..).step_by(8).zip(read(1).to_words()) {
        poke(&queue.rings, place, word as u32);
        poke(&queue.rings, place + 4, (word >> 32) as u32);
    }
    poke(&queue.rings, 0, 2);
    assert_eq!(queue.driver.take(), Err(PeerFault::Tag(1)));
}

#[test]
fn bad_answers_are_faults_that_stay() {
    for (word, fault) in [
        (3, PeerFault::Tag(3)),
        (4, PeerFault::Tag(4)),
        (0xffff, PeerFault::Tag(0xffff)),
        (8 << 16, PeerFault::Status(8)),
        (1 << 24, PeerFault::Status(0)),
        (1 << 63, PeerFault::Status(0)),
    ] {
        let mut queue = queue(SMALL);
        queue.client.submit(read(0)).expect("room");
        forge(&queue.rings, ANSWERS, &[word]);
        assert_eq!(queue.client.take(), Err(fault));
        assert_eq!(queue.client.submit(read(1)), Err(fault));
    }
}

#[test]
fn an_answer_twice_is_a_fault() {
    let mut queue = queue(SMALL);
    queue.client.submit(read(0)).expect("room");
    forge(&queue.rings, ANSWERS, &[0, 0]);
    poke(&queue.rings, ANSWERS - 128, 2);
    assert!(matches!(queue.client.take(), Ok(Some(_))));
    assert_eq!(queue.client.take(), Err(PeerFault::Tag(0)));
}

#[test]
fn bad_positions_are_faults() {
    for claimed in [5u32, u32::MAX, 1 << 31] {
        let mut queue = queue(SMALL);
        poke(&queue.rings, 0, claimed);
        assert_eq!(queue.driver.take(), Err(PeerFault::Position { claimed, own: 0 }));
    }
}

#[test]
fn buffers_are_bounded() {
    let memory = Arc::new(HeapMemory::new(8192));
    assert!(Buffers::new(&memory, 8193).is_err());
    let mut buffers = Buffers::new(&memory, 8192).expect("they fit");
    buffers.write(8190, &[1, 2]).expect("inside");
    assert_eq!(buffers.write(8190, &[1, 2, 3]), None);
    let mut bytes = [0; 2];
    buffers.read(8190, &mut bytes).expect("inside");
    assert_eq!(bytes, [1, 2]);
    assert_eq!(buffers.with(usize::MAX, 2, |_| ()), None);
    assert_eq!(buffers.with_mut(0, 3, |bytes| bytes.len()), Some(3));
}

#[test]
fn nothing_that_a_peer_writes_makes_a_side_panic_or_leave_the_buffers() {
    for seed in 1..400u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let Queue { rings, mut driver, mut client } = queue(SMALL);
        let mut taken = Vec::new();
        for _ in 0..200 {
            // Mostly small values: those get past more checks than wild ones.
            let offset = (random.next() as usize % (SMALL.rings_bytes() / 4)) * 4;
            let value = match random.next() % 4 {
                0 => random.next() as u32,
                1 => (random.next() % 8192) as u32,
                _ => (random.next() % 6) as u32,
            };
            poke(&rings, offset, value);
            if let Ok(Some(request)) = driver.take() {
                let bytes = if request.operation.has_data() { u64::from(request.blocks) * 512 } else { 0 };
                assert!(u64::from(request.offset) + bytes <= 8192 && request.offset % 512 == 0);
                assert!(!taken.contains(&request.tag), "a tag twice");
                taken.push(request.tag);
            }
            assert!(taken.len() <= 4, "more requests than tags");
            if random.next().is_multiple_of(2)
                && let Some(tag) = taken.pop()
            {
                let _ = driver.answer(tag, Status::Done);
            }
            let _ = client.submit(read((random.next() % 5) as u16));
            let _ = client.take();
            let _ = (driver.must_ring(), client.must_ring());
            let _ = (driver.arm(), client.arm());
        }
    }
}

#[test]
fn two_threads_lose_nothing_and_never_sleep_for_ever() {
    let layout = BlockLayout::new(8, 512, 4096).expect("valid");
    let Queue { mut driver, mut client, .. } = queue(layout);
    let (ring_driver, driver_bell) = mpsc::channel();
    let (ring_client, client_bell) = mpsc::channel();
    const ROUNDS: u64 = 20_000;
    let server = thread::spawn(move || {
        let mut expected = 0;
        while expected < ROUNDS {
            while let Some(request) = driver.take().expect("an honest client") {
                assert_eq!(request.block, expected);
                expected += 1;
                driver.answer(request.tag, Status::Done).expect("an honest client");
            }
            if driver.must_ring() {
                ring_client.send(()).expect("the client lives");
            }
            if expected < ROUNDS && driver.arm() == Ok(Sleep::Allowed) {
                driver_bell.recv().expect("a doorbell");
                driver.disarm();
            }
        }
    });
    let (mut sent, mut answered) = (0, 0);
    let mut free: Vec<u16> = (0..8).collect();
    while answered < ROUNDS {
        while sent < ROUNDS
            && let Some(tag) = free.pop()
        {
            client.submit(Request { block: sent, ..read(tag) }).expect("an honest driver");
            sent += 1;
        }
        if client.must_ring() {
            let _ended = ring_driver.send(());
        }
        while let Some(answer) = client.take().expect("an honest driver") {
            free.push(answer.tag.0);
            answered += 1;
        }
        if answered < ROUNDS && (free.is_empty() || sent == ROUNDS) && client.arm() == Ok(Sleep::Allowed) {
            client_bell.recv().expect("a doorbell");
            client.disarm();
        }
    }
    server.join().expect("no panic");
}
