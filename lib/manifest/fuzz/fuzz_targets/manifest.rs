//! Reads the input as a manifest, and says what is wrong with it or draws it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use manifest::{Surroundings, graph, read_message};

fuzz_target!(|input: &[u8]| {
    match read_message(input, &Surroundings { frames: 16_384, binaries: None }) {
        Ok(manifest) => assert!(graph::svg(&manifest).ends_with("</svg>\n")),
        Err(problems) => assert!(problems.iter().all(|problem| !problem.to_string().is_empty())),
    }
});
