//! Lets a peer write any words to the rings between steps of both sides of a session.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ring::{
    HeapMemory, SharedMemory,
    frame::{Checksum, ClientSide, ClientWants, FrameLayout, NicSide, NicWants},
};
use std::sync::Arc;

fuzz_target!(|bytes: &[u8]| {
    let layout = FrameLayout::new(4, 2, 128).expect("a valid layout");
    let rings = Arc::new(HeapMemory::new(layout.rings_bytes()));
    let buffers = Arc::new(HeapMemory::new(layout.buffers_bytes()));
    let mut nic = NicSide::new(&rings, layout).expect("it fits");
    let mut client = ClientSide::new(&rings, &buffers, layout).expect("it fits");
    let mut frames = Vec::new();
    for step in bytes.chunks_exact(6) {
        let [step, place, value @ ..] = step else { return };
        let word = usize::from(*place) % (layout.rings_bytes() / 4);
        let value = u32::from_le_bytes(value.try_into().expect("four bytes"));
        // SAFETY: inside the memory (`word` is below its words) and aligned; no other thread.
        unsafe { rings.as_ptr().cast::<u32>().add(word).write_volatile(value) };
        match step % 8 {
            0 => frames.extend(nic.take_send().ok().flatten().inspect(|frame| {
                assert!(frame.range().start >= 512 && frame.range().end <= 768 && !frame.range().is_empty());
            })),
            1 => {
                let _ = frames.pop().map(|frame| nic.finish_send(frame));
            }
            2 => {
                if let Ok(Some(buffer)) = nic.take_free() {
                    assert!(buffer.range().end <= 512);
                    let _ = nic.deliver(buffer, value % 200, value % 200, Checksum::Good);
                }
            }
            3 => {
                if let Ok(Some(frame)) = client.receive() {
                    let length = client.buffers().with_received(&frame, <[u8]>::len);
                    assert_eq!(length, Some(frame.len()));
                    let _ = client.give_back(frame);
                }
            }
            4 => {
                if let Ok(Some(mut buffer)) = client.take_send_buffer() {
                    let _ = client.buffers().copy_to_send(&mut buffer, &[1; 60]);
                    let _ = client.send(buffer, value as usize % 200);
                }
            }
            5 => drop((nic.must_ring(), client.must_ring())),
            6 => drop(nic.arm(NicWants::SendAndFree)),
            _ => drop(client.arm(ClientWants::ReceivedAndSent)),
        }
        assert!(frames.len() <= 2, "more frames than buffers");
    }
});
