//! Reads the input as an executable; what is accepted keeps the promises of `Image`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use process_loader::{Content, Image};

fuzz_target!(|input: &[u8]| {
    let Ok(image) = Image::parse(input) else { return };
    let mut free = 0x1000;
    for segment in &image.segments {
        assert!(segment.address >= free && segment.address % 4096 == 0 && segment.pages > 0);
        free = segment.end();
        if let Content::Fresh { file, offset } = &segment.content {
            assert!(input.get(file.clone()).is_some());
            assert!(offset + file.len() <= segment.pages as usize * 4096);
        }
    }
    assert!(free == image.end && free <= 0x7fff_ffff_e000);
});
