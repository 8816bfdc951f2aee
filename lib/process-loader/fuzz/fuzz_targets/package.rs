//! Reads the input as a boot package; what is found in it lies inside.
#![no_main]

use libfuzzer_sys::fuzz_target;
use process_loader::package::binaries;

fuzz_target!(|input: &[u8]| {
    // Page aligned, as the kernel maps it.
    let mut room = vec![0; input.len() + 4096];
    let start = room.as_ptr().align_offset(4096);
    let Some(bytes) = room.get_mut(start..start + input.len()) else { return };
    bytes.copy_from_slice(input);
    for binary in binaries(bytes).unwrap_or_default() {
        assert!(bytes.get(binary.range).is_some_and(|content| !content.is_empty()));
    }
});
