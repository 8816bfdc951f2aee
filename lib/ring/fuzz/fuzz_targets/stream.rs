//! Opens any memory as a stream, and lets a peer write any words to it between steps.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ring::{
    HeapMemory, SharedMemory,
    stream::{StreamLayout, StreamWants, create, open},
};
use std::sync::Arc;

/// Words of the preamble and both headers.
const WORDS: usize = 80;

fuzz_target!(|bytes: &[u8]| {
    let layout = StreamLayout::new(256, 512).expect("a valid layout");
    let memory = Arc::new(HeapMemory::new(layout.bytes()));
    let mut stack = create(&memory, layout).expect("it fits");
    let mut client = open(&memory).expect("a stream");
    for step in bytes.chunks_exact(6) {
        let [step, place, value @ ..] = step else { return };
        let value = u32::from_le_bytes(value.try_into().expect("four bytes"));
        // SAFETY: inside the memory of at least 1088 bytes, and aligned; no other thread.
        unsafe { memory.as_ptr().cast::<u32>().add(usize::from(*place) % WORDS).write_volatile(value) };
        let end = if step & 1 == 0 { &mut stack } else { &mut client };
        let length = value as usize % 600;
        match (step >> 1) % 8 {
            0 => assert!(end.reader.read(&mut vec![0; length]).unwrap_or(0) <= length),
            1 => assert!(end.writer.write(&vec![0; length]).unwrap_or(0) <= length),
            2 => drop(end.reader.read_with(|bytes| (length, bytes.len()))),
            3 => drop(end.writer.write_with(|bytes| (length, bytes.len()))),
            4 => drop((end.must_ring(), end.arm(StreamWants::BytesOrSpace))),
            5 => end.writer.finish(),
            6 => drop((end.reader.state(), end.writer.is_drained())),
            _ => drop(open(&memory)),
        }
    }
});
