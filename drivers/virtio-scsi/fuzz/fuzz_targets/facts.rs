//! Reads any bytes as what units say of themselves, and as answers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use virtio_scsi::{Answer, capacity, inquiry, limits, mode, provisioning, serial, units};

fuzz_target!(|bytes: &[u8]| {
    let _answer = Answer::new(bytes).verdict();
    let _facts = (inquiry(bytes), limits(bytes), mode(bytes), provisioning(bytes), serial(bytes));
    assert!(units(7, bytes).len() <= 32);
    if let Some(capacity) = capacity(bytes) {
        assert!(capacity.blocks.checked_mul(capacity.block_bytes.into()).is_some());
    }
});
