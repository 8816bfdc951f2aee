//! Opens any memory as rings of datagrams, and lets a peer write any words to it between steps.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ring::{
    HeapMemory, SharedMemory,
    datagram::{create, open},
    stream::StreamLayout,
};
use std::sync::Arc;

/// Words of the preamble, both headers, and the start of the first ring.
const WORDS: usize = 100;

fuzz_target!(|bytes: &[u8]| {
    let layout = StreamLayout::new(256, 512).expect("a valid layout");
    let memory = Arc::new(HeapMemory::new(layout.bytes()));
    let mut stack = create(&memory, layout).expect("it fits");
    let mut client = open(&memory).expect("rings");
    for step in bytes.chunks_exact(6) {
        let [step, place, value @ ..] = step else { return };
        let value = u32::from_le_bytes(value.try_into().expect("four bytes"));
        // SAFETY: inside the memory of at least 1088 bytes, and aligned; no other thread.
        unsafe { memory.as_ptr().cast::<u32>().add(usize::from(*place) % WORDS).write_volatile(value) };
        let end = if step & 1 == 0 { &mut stack } else { &mut client };
        let data = vec![0; value as usize % 600];
        match (step >> 1) % 4 {
            0 => drop(end.send(value, value as u16, &data)),
            1 => {
                let (next, mut target) = (end.peek(), data);
                if let Ok(received) = end.receive(&mut target) {
                    assert_eq!(next, Ok(received));
                }
            }
            2 => drop((end.must_ring(), end.arm())),
            _ => drop(open(&memory)),
        }
    }
});
