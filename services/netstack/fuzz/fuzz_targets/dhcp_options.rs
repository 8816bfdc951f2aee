//! Reads any bytes as the options of a DHCP message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netstack::dhcp::Options;

fuzz_target!(|bytes: &[u8]| {
    let mut message = vec![0; 236];
    message.extend_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    message.extend_from_slice(bytes);
    let _options = Options::parse(&message);
});
