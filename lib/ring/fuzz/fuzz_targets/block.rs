//! Lets a peer write any words to the rings between steps of both sides of a disk's queue.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ring::{
    HeapMemory, SharedMemory,
    block::{BlockLayout, ClientSide, DriverSide, Operation, Request, Status, Tag},
};
use std::sync::Arc;

fuzz_target!(|bytes: &[u8]| {
    let layout = BlockLayout::new(4, 512, 8192).expect("a valid layout");
    let rings = Arc::new(HeapMemory::new(layout.rings_bytes()));
    let mut driver = DriverSide::new(&rings, layout).expect("it fits");
    let mut client = ClientSide::new(&rings, layout).expect("it fits");
    let mut taken = Vec::new();
    for step in bytes.chunks_exact(6) {
        let [step, place, value @ ..] = step else { return };
        let word = usize::from(*place) % (layout.rings_bytes() / 4);
        let value = u32::from_le_bytes(value.try_into().expect("four bytes"));
        // SAFETY: inside the memory (`word` is below its words) and aligned; no other thread.
        unsafe { rings.as_ptr().cast::<u32>().add(word).write_volatile(value) };
        let tag = Tag(value as u16 % 5);
        match step % 6 {
            0 => {
                if let Ok(Some(request)) = driver.take() {
                    let bytes =
                        if request.operation.has_data() { u64::from(request.blocks) * 512 } else { 0 };
                    assert!(u64::from(request.offset) + bytes <= 8192);
                    assert!(!taken.contains(&request.tag));
                    taken.push(request.tag);
                }
            }
            1 => drop(taken.pop().map(|tag| driver.answer(tag, Status::Done))),
            2 => drop(client.submit(Request {
                tag,
                operation: Operation::Read,
                block: value.into(),
                blocks: 1,
                offset: 0,
            })),
            3 => drop(client.take()),
            4 => drop((driver.must_ring(), client.must_ring())),
            _ => drop((driver.arm(), client.arm())),
        }
        assert!(taken.len() <= 4, "more requests than tags");
    }
});
