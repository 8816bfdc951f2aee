//! Classifies any bytes as a frame, and repairs its checksums.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netstack::{
    device::Abilities,
    frame::{Identity, classify, finish},
};
use ring::frame::Checksum;
use smoltcp::wire::{EthernetAddress, Ipv4Address, Ipv4Cidr};

fuzz_target!(|bytes: &[u8]| {
    let own = Ipv4Address::new(10, 0, 2, 15);
    let identity =
        Identity { mac: EthernetAddress([2, 0, 0, 0, 0, 1]), address: Some(Ipv4Cidr::new(own, 24)) };
    let _flow = classify(bytes, Checksum::Unknown, &identity);
    let mut repaired = bytes.to_vec();
    let _finished = finish(&mut repaired, Some(own), Abilities::None, None);
    let _flow = classify(&repaired, Checksum::Unknown, &identity);
});
