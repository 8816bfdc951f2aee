//! Streams between two honest ends, two threads at full speed, and hostile peers.

use super::{DATA_OFFSET, End, ReaderState, StreamError, StreamLayout, StreamWants, create, open};
use crate::{HeapMemory, LayoutError, PeerFault, SharedMemory, Sleep};
use std::{
    sync::{Arc, mpsc},
    thread,
};

const SMALL: StreamLayout = match StreamLayout::new(256, 512) {
    Ok(layout) => layout,
    Err(_) => panic!("a valid layout"),
};

const TO_CLIENT_PRODUCER: usize = 64;
const TO_CLIENT_CONSUMER: usize = 128;

struct Pair {
    memory: Arc<HeapMemory>,
    stack: End<HeapMemory>,
    client: End<HeapMemory>,
}

fn pair(layout: StreamLayout) -> Pair {
    let memory = Arc::new(HeapMemory::new(layout.bytes()));
    let stack = create(&memory, layout).expect("it fits");
    let client = open(&memory).expect("a stream");
    Pair { memory, stack, client }
}

fn poke(memory: &Arc<HeapMemory>, offset: usize, value: u32) {
    assert!(offset + 4 <= memory.len());
    let pointer = memory.as_ptr().as_ptr().wrapping_add(offset).cast::<u32>();
    // SAFETY: inside the allocation (checked), aligned by the callers' offsets; one thread only.
    unsafe { pointer.write_volatile(value) }
}

#[test]
fn bytes_arrive_in_order_around_the_end_of_the_ring() {
    let Pair { mut stack, mut client, .. } = pair(SMALL);
    let (mut next_in, mut next_out) = (0u8, 0u8);
    for round in 0..1000usize {
        let chunk: Vec<u8> = (0..round % 97).map(|i| next_in.wrapping_add(i as u8)).collect();
        let written = stack.writer.write(&chunk).expect("open");
        next_in = next_in.wrapping_add(written as u8);
        let mut target = vec![0; round % 53 + 40];
        let read = client.reader.read(&mut target).expect("open");
        for &byte in &target[..read] {
            assert_eq!(byte, next_out);
            next_out = next_out.wrapping_add(1);
        }
    }
    let mut rest = [0; 256];
    let read = client.reader.read(&mut rest).expect("open");
    assert_eq!(next_out.wrapping_add(read as u8), next_in);
}

#[test]
fn a_full_ring_takes_no_more_and_an_empty_one_gives_none() {
    let Pair { mut stack, mut client, .. } = pair(SMALL);
    assert_eq!(stack.writer.write(&[7; 300]), Ok(256));
    assert_eq!(stack.writer.write(&[7; 300]), Ok(0));
    assert_eq!(stack.writer.is_drained(), Ok(false));
    assert_eq!(client.reader.read(&mut [0; 300]), Ok(256));
    assert_eq!(client.reader.read(&mut [0; 300]), Ok(0));
    assert_eq!(stack.writer.is_drained(), Ok(true));
    assert_eq!(client.writer.space(), Ok(512));
}

#[test]
fn slices_are_lent_in_place_up_to_the_end_of_the_ring() {
    let Pair { mut stack, mut client, .. } = pair(SMALL);
    assert_eq!(stack.writer.write(&[1; 200]), Ok(200));
    assert_eq!(client.reader.read_with(|bytes| (150, bytes.len())), Ok(200));
    let lent = stack.writer.write_with(|bytes| {
        bytes.fill(2);
        (1000, bytes.len())
    });
    assert_eq!(lent, Ok(56), "up to the end; more than lent counts as all of it");
    assert_eq!(stack.writer.write_with(|bytes| (0, bytes.len())), Ok(150));
    assert_eq!(client.reader.available(), Ok(106));
    assert_eq!(
        client.reader.read_with(|bytes| (usize::MAX, bytes.to_vec())),
        Ok([vec![1; 50], vec![2; 56]].concat())
    );
}

#[test]
fn the_end_comes_after_all_bytes() {
    let Pair { mut stack, mut client, .. } = pair(SMALL);
    client.writer.write(b"last").expect("open");
    client.writer.finish();
    assert_eq!(client.writer.write(b"more"), Err(StreamError::Finished));
    assert_eq!(stack.reader.state(), Ok(ReaderState::Open));
    assert_eq!(stack.reader.read(&mut [0; 3]), Ok(3));
    assert_eq!(stack.reader.state(), Ok(ReaderState::Open));
    assert_eq!(stack.reader.read(&mut [0; 3]), Ok(1));
    assert_eq!(stack.reader.state(), Ok(ReaderState::AtEnd));
    assert_eq!(client.writer.is_drained(), Ok(true));
    assert_eq!(stack.writer.write(b"the other way is open"), Ok(21));
}

#[test]
fn reset_and_stop_reach_the_peer() {
    let Pair { mut stack, mut client, .. } = pair(SMALL);
    stack.writer.write(b"lost").expect("open");
    stack.reset();
    assert_eq!(client.reader.read(&mut [0; 4]), Err(StreamError::Reset));
    assert_eq!(client.writer.write(b"x"), Err(StreamError::Stopped));
    assert_eq!(stack.writer.write(b"x"), Err(StreamError::Reset));
    assert_eq!(stack.reader.read(&mut [0; 4]), Err(StreamError::Stopped));
    stack.writer.finish();
    assert_eq!(client.reader.available(), Err(StreamError::Reset), "a finish does not undo a reset");
}

#[test]
fn every_change_wakes_a_sleeper_once() {
    let changes: [fn(&mut End<HeapMemory>); 5] = [
        |stack| assert_eq!(stack.writer.write(b"x"), Ok(1)),
        |stack| assert_eq!(stack.reader.read(&mut [0; 1]), Ok(1)),
        |stack| stack.writer.finish(),
        |stack| stack.writer.reset(),
        |stack| stack.reader.stop(),
    ];
    for change in changes {
        let Pair { mut stack, mut client, .. } = pair(SMALL);
        assert_eq!(client.writer.write(&[0; 512]), Ok(512), "full, so that space is news");
        assert!(!client.must_ring());
        assert_eq!(client.arm(StreamWants::BytesOrSpace), Sleep::Allowed);
        change(&mut stack);
        assert!(stack.must_ring());
        assert!(!stack.must_ring());
        assert_eq!(client.arm(StreamWants::BytesOrSpace), Sleep::WorkArrived);
        assert!(!stack.must_ring(), "the flags went down again");
    }
}

#[test]
fn bad_positions_and_states_are_faults_that_stay() {
    for (offset, value) in [(TO_CLIENT_PRODUCER, 257), (TO_CLIENT_PRODUCER, u32::MAX)] {
        let Pair { memory, mut client, .. } = pair(SMALL);
        poke(&memory, offset, value);
        let fault = Err(StreamError::Peer(PeerFault::Position { claimed: value, own: 0 }));
        assert_eq!(client.reader.available(), fault);
        poke(&memory, offset, 0);
        assert_eq!(client.reader.available(), fault);
        assert_eq!(client.arm(StreamWants::Bytes), Sleep::WorkArrived, "an error is news");
    }
    let Pair { memory, mut stack, mut client } = pair(SMALL);
    stack.writer.write(&[0; 10]).expect("open");
    poke(&memory, TO_CLIENT_CONSUMER, 11);
    assert_eq!(stack.writer.space(), Err(StreamError::Peer(PeerFault::Position { claimed: 11, own: 10 })));
    poke(&memory, TO_CLIENT_PRODUCER + 8, 3);
    assert_eq!(client.reader.available(), Err(StreamError::Peer(PeerFault::State(3))));

    let Pair { memory, mut stack, mut client } = pair(SMALL);
    stack.writer.finish();
    assert_eq!(client.reader.state(), Ok(ReaderState::AtEnd));
    poke(&memory, TO_CLIENT_PRODUCER + 8, 0);
    assert_eq!(client.reader.available(), Err(StreamError::Peer(PeerFault::State(0))));
}

#[test]
fn open_checks_what_the_memory_says() {
    let blank = Arc::new(HeapMemory::new(4096));
    assert_eq!(open(&blank).err(), Some(LayoutError::NotAStream));
    let Pair { memory, .. } = pair(SMALL);
    for (offset, value) in [(4, 0), (4, 300), (8, 128), (8, 32 << 20)] {
        let old = if offset == 4 { 256 } else { 512 };
        poke(&memory, offset, value);
        assert_eq!(open(&memory).err(), Some(LayoutError::Capacity(value)));
        poke(&memory, offset, old);
    }
    poke(&memory, 4, 16 << 20);
    assert_eq!(
        open(&memory).err(),
        Some(LayoutError::MemoryTooSmall { needed: DATA_OFFSET + (16 << 20) + 512, actual: 4096 })
    );
    assert_eq!(StreamLayout::new(100, 256), Err(LayoutError::Capacity(100)));
    assert_eq!(create(&blank, StreamLayout::default()).err().map(|_| ()), Some(()));
}

#[test]
fn nothing_that_a_peer_writes_makes_an_end_panic() {
    let mut state = 0x1234_5678_9abc_def1u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..300 {
        let Pair { memory, mut stack, mut client } = pair(SMALL);
        for _ in 0..200 {
            let offset = 64 + (random() as usize % 64) * 4;
            poke(
                &memory,
                offset,
                if random().is_multiple_of(3) { random() as u32 } else { random() as u32 % 600 },
            );
            for end in [&mut stack, &mut client] {
                let mut target = [0; 64];
                if let Ok(read) = end.reader.read(&mut target) {
                    assert!(read <= 64);
                }
                if let Ok(written) = end.writer.write(&target) {
                    assert!(written <= 64);
                }
                let _ = end.reader.read_with(|bytes| (random() as usize, bytes.len()));
                let _ = end.writer.write_with(|bytes| (random() as usize, bytes.len()));
                let _ = (end.reader.state(), end.writer.is_drained(), end.must_ring());
                let _ = end.arm(StreamWants::BytesOrSpace);
            }
        }
    }
}

/// Two threads send each other a megabyte at once; each sleeps on its doorbell when it can do nothing. A lost
/// wake-up would hang the test, a reordering would show in the bytes.
#[test]
fn two_threads_lose_nothing_and_sleep_safely() {
    let Pair { stack, client, .. } = pair(SMALL);
    let (ring_stack, stack_bell) = mpsc::channel();
    let (ring_client, client_bell) = mpsc::channel();
    let other = thread::spawn(move || exchange(stack, &ring_client, &stack_bell, 61));
    exchange(client, &ring_stack, &client_bell, 97);
    other.join().expect("no panic");
}

fn exchange(mut end: End<HeapMemory>, ring: &mpsc::Sender<()>, bell: &mpsc::Receiver<()>, chunk: usize) {
    const TOTAL: usize = 1 << 20;
    let (mut written, mut read) = (0usize, 0usize);
    let mut finished = false;
    while !finished || read < TOTAL || end.reader.state() != Ok(ReaderState::AtEnd) {
        if !finished {
            let bytes: Vec<u8> = (written..TOTAL.min(written + chunk)).map(|i| (i % 251) as u8).collect();
            written += end.writer.write(&bytes).expect("open");
            if written == TOTAL {
                end.writer.finish();
                finished = true;
            }
        }
        let mut target = [0; 80];
        let count = end.reader.read(&mut target).expect("open");
        for &byte in &target[..count] {
            assert_eq!(byte, (read % 251) as u8, "byte {read}");
            read += 1;
        }
        if end.must_ring() {
            // The peer may be done and gone.
            let _ = ring.send(());
        }
        let at_end = end.reader.state() == Ok(ReaderState::AtEnd);
        let wants = match (finished, at_end) {
            (true, true) => break,
            (true, false) => StreamWants::Bytes,
            (false, true) => StreamWants::Space,
            (false, false) => StreamWants::BytesOrSpace,
        };
        if end.arm(wants) == Sleep::Allowed {
            bell.recv().expect("the peer lives while something is missing");
        }
    }
    assert_eq!((written, read), (TOTAL, TOTAL));
}
