//! Gives a stack with a listener and a UDP socket a sequence of frames. The input is frames, each behind its length (two
//! bytes, little-endian, of which the highest bit asks for right checksums) and milliseconds that pass before it (one byte).
#![no_main]

use std::{sync::Arc, time::Duration};

use libfuzzer_sys::fuzz_target;
use netstack::{
    arguments::Addressing,
    device::{Abilities, Session},
    doorbell::Doorbell,
    frame::finish,
    limits::Limits,
    network::{Mtu, NetworkConfiguration},
    stack::{Stack, Turn},
};
use ring::{
    HeapMemory, SharedMemory,
    frame::{Checksum, FrameLayout, NicSide},
};
use smoltcp::wire::{EthernetAddress, Ipv4Address, Ipv4Cidr};

struct Silent;

impl Doorbell for Silent {
    fn ring(&self) {}
}

fuzz_target!(|input: &[u8]| {
    let layout = FrameLayout::new(8, 8, 2048).unwrap();
    let rings = Arc::new(HeapMemory::new(layout.rings_bytes()));
    let buffers = Arc::new(HeapMemory::new(layout.buffers_bytes()));
    let mut nic = NicSide::new(&rings, layout).unwrap();
    let mac = EthernetAddress([2, 0, 0, 0, 0, 1]);
    let own = Ipv4Cidr::new(Ipv4Address::new(10, 0, 2, 1), 24);
    let addressing = Addressing::Static(NetworkConfiguration::new(own));
    let mut seed = 1u64;
    let random = Box::new(move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        seed
    });
    let mut now = Duration::from_secs(1);
    let mut stack = Stack::new(mac, Mtu::ETHERNET, addressing, Limits::STANDARD, random, now);
    stack.open_session(Session::new(&rings, &buffers, layout, Abilities::Segments, Silent).unwrap(), mac, Mtu::ETHERNET, now);
    stack.listen(80, 8).unwrap();
    stack.bind(7).unwrap();
    let mut rest = input;
    while let Some((&[low, high, passed], behind)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_le_bytes([low, high & 0x07])).min(behind.len());
        let (frame, behind) = behind.split_at(length);
        rest = behind;
        let mut frame = frame.to_vec();
        if high & 0x80 != 0 {
            let _finished = finish(&mut frame, None, Abilities::None, None);
        }
        now += Duration::from_millis(passed.into());
        let buffer = nic.take_free().unwrap().expect("the stack gives every buffer back");
        let start = buffer.range().start as usize;
        // SAFETY: the buffer lies in the memory and holds 2048 bytes, and a frame has at most 2047.
        unsafe {
            buffers.as_ptr().as_ptr().byte_add(start).copy_from_nonoverlapping(frame.as_ptr(), frame.len())
        };
        nic.deliver(buffer, 0, frame.len() as u32, Checksum::Unknown).unwrap();
        while stack.run(now).unwrap() == Turn::Again {}
        while let Some(sent) = nic.take_send().unwrap() {
            nic.finish_send(sent).unwrap();
        }
    }
});
