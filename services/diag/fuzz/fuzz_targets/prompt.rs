//! A terminal that sends anything: keys, the line, the command, and what the screen would show.
#![no_main]

use diag::{
    command::parse,
    editor::{Editor, MAXIMUM_LINE, Outcome},
    keys::Keys,
    pager::Wish,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let [columns, bytes @ ..] = bytes else { return };
    let columns = usize::from(*columns);
    let (mut keys, mut editor) = (Keys::new(), Editor::default());
    for byte in bytes {
        let Some(key) = keys.decode(*byte) else { continue };
        let _ = Wish::of(key);
        match editor.press(key) {
            Outcome::Line(line) => {
                assert!(line.len() <= MAXIMUM_LINE && line.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
                if let Err(problem) = parse(&line) {
                    assert!(problem.len() < 120);
                }
            }
            Outcome::Edited | Outcome::TooLong | Outcome::Cancelled | Outcome::Clear => {}
        }
        let (text, cursor) = editor.view("capos> ", columns);
        assert!(cursor <= text.len() && text.len() < columns.max(16));
    }
});
