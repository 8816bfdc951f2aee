//! Reads any bytes as a partition table: a header, and entries behind it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use partitions::{entries, header};

/// Blocks of the disk.
const BLOCKS: u64 = 4096;

fuzz_target!(|bytes: &[u8]| {
    let Ok(header) = header(bytes, 1, BLOCKS, 512) else { return };
    assert!(header.entries_block + u64::from(header.entries_bytes).div_ceil(512) <= BLOCKS);
    if let Ok(partitions) = entries(bytes.get(512..).unwrap_or_default(), &header) {
        for partition in &partitions {
            assert!(partition.count > 0 && partition.first + partition.count <= BLOCKS);
        }
    }
});
