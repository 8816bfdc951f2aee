//! The line that is being entered.

use crate::{history::History, keys::Key};
use alloc::{string::String, vec::Vec};

/// Longest line. A longer one is refused whole: half a command is another command.
pub const MAXIMUM_LINE: usize = 512;

/// What a key led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The line may look different.
    Edited,
    /// A line was entered.
    Line(String),
    /// A line was entered that is too long.
    TooLong,
    /// The line was given up.
    Cancelled,
    /// The screen is to be cleared.
    Clear,
}

/// A line editor with history. Lines are printable ASCII.
#[derive(Debug, Default)]
pub struct Editor {
    line: Vec<u8>,
    cursor: usize,
    /// Characters that had no room.
    overflow: usize,
    history: History,
}

impl Editor {
    /// Takes a key.
    pub fn press(&mut self, key: Key) -> Outcome {
        match key {
            Key::Character(byte) => self.insert(byte),
            Key::Enter => return self.enter(),
            Key::Cancel => {
                self.clear();
                self.history.leave();
                return Outcome::Cancelled;
            }
            Key::Clear => return Outcome::Clear,
            Key::Backspace => {
                if let Some(before) = self.cursor.checked_sub(1) {
                    self.line.remove(before);
                    self.cursor = before;
                }
            }
            Key::Delete | Key::EndOfInput => {
                if self.cursor < self.line.len() {
                    self.line.remove(self.cursor);
                }
            }
            Key::Left => self.cursor = self.cursor.saturating_sub(1),
            Key::Right => self.cursor = (self.cursor + 1).min(self.line.len()),
            Key::Home => self.cursor = 0,
            Key::End => self.cursor = self.line.len(),
            Key::EraseToStart => {
                self.line.drain(..self.cursor);
                self.cursor = 0;
            }
            Key::EraseToEnd => self.line.truncate(self.cursor),
            Key::EraseWord => self.erase_word(),
            Key::Up => {
                let earlier = self.history.earlier(&self.line);
                self.replace(earlier);
            }
            Key::Down => {
                let later = self.history.later();
                self.replace(later);
            }
        }
        Outcome::Edited
    }

    /// Throws the line away.
    pub fn clear(&mut self) {
        self.line.clear();
        self.cursor = 0;
        self.overflow = 0;
    }

    /// The line behind a prompt as it is shown on a row of so many columns, and the cursor's column. A longer line is scrolled so
    /// that the cursor is seen; `<` and `>` stand for what is not.
    pub fn view(&self, prompt: &str, columns: usize) -> (String, usize) {
        // The last column stays free: terminals differ in what they do there.
        let room = columns.saturating_sub(prompt.len() + 1).max(8);
        let start = if self.cursor < room { 0 } else { self.cursor + 1 - room };
        let end = (start + room).min(self.line.len());
        let mut shown: Vec<u8> = self.line.get(start..end).unwrap_or_default().to_vec();
        if start > 0
            && let Some(first) = shown.first_mut()
        {
            *first = b'<';
        }
        if end < self.line.len()
            && let Some(last) = shown.last_mut()
        {
            *last = b'>';
        }
        let mut text = String::from(prompt);
        text.extend(shown.into_iter().map(char::from));
        (text, prompt.len() + self.cursor - start)
    }

    fn insert(&mut self, byte: u8) {
        if self.line.len() < MAXIMUM_LINE {
            // The cursor is never behind the end.
            self.line.insert(self.cursor, byte);
            self.cursor += 1;
        } else {
            self.overflow = self.overflow.saturating_add(1);
        }
    }

    fn enter(&mut self) -> Outcome {
        let too_long = self.overflow > 0;
        let line = core::mem::take(&mut self.line);
        self.clear();
        if too_long {
            self.history.leave();
            return Outcome::TooLong;
        }
        self.history.add(&line);
        Outcome::Line(line.into_iter().map(char::from).collect())
    }

    fn erase_word(&mut self) {
        let before = self.line.get(..self.cursor).unwrap_or_default();
        let end = before.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
        let word = before.get(..end).unwrap_or_default();
        let start = word.iter().rposition(|byte| *byte == b' ').map_or(0, |space| space + 1);
        self.line.drain(start..self.cursor);
        self.cursor = start;
    }

    fn replace(&mut self, line: Option<Vec<u8>>) {
        if let Some(line) = line {
            self.cursor = line.len();
            self.line = line;
            self.overflow = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;

    /// Types bytes and answers what the last key led to.
    fn press(editor: &mut Editor, bytes: &[u8]) -> Option<Outcome> {
        let mut keys = Keys::new();
        bytes.iter().filter_map(|byte| keys.decode(*byte)).map(|key| editor.press(key)).last()
    }

    fn line(bytes: &[u8]) -> String {
        let mut editor = Editor::default();
        match press(&mut editor, bytes) {
            Some(Outcome::Line(line)) => line,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_are_edited() {
        assert_eq!(line(b"abc\r"), "abc");
        assert_eq!(line(b"abc\x7f\x7fd\r"), "ad");
        assert_eq!(line(b"bc\x1b[D\x1b[D\x1b[Da\r"), "abc");
        assert_eq!(line(b"abc\x01\x1b[3~\r"), "bc");
        assert_eq!(line(b"abc\x01\x04\x04\x05d\r"), "cd");
        assert_eq!(line(b"abc def  \x17x\r"), "abc x");
        assert_eq!(line(b"abc def\x01\x1b[C\x0b\r"), "a");
        assert_eq!(line(b"abc def\x1b[D\x15\r"), "f");
        assert_eq!(line(b"\x7f\x17\x15\x0b\x04\x1b[D\x1b[C\x1b[3~\r"), "");
    }

    #[test]
    fn earlier_lines_come_back() {
        let mut editor = Editor::default();
        press(&mut editor, b"one\rtwo\r");
        assert_eq!(press(&mut editor, b"dra\x1b[A\x1b[A!\r"), Some(Outcome::Line("one!".into())));
        assert_eq!(
            press(&mut editor, b"dra\x1b[A\x1b[A\x1b[B\x1b[Bft\r"),
            Some(Outcome::Line("draft".into()))
        );
    }

    #[test]
    fn a_line_can_be_given_up() {
        let mut editor = Editor::default();
        assert_eq!(press(&mut editor, b"abc\x03"), Some(Outcome::Cancelled));
        assert_eq!(press(&mut editor, b"d\r"), Some(Outcome::Line("d".into())));
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_whole() {
        let mut editor = Editor::default();
        let mut long = [b'x'; 10_000].to_vec();
        long.push(b'\r');
        assert_eq!(press(&mut editor, &long), Some(Outcome::TooLong));
        let fits = [b'x'; MAXIMUM_LINE];
        press(&mut editor, &fits);
        assert!(matches!(press(&mut editor, b"\r"), Some(Outcome::Line(line)) if line.len() == MAXIMUM_LINE));
        // What had no room cannot come back by erasing.
        press(&mut editor, &long[..MAXIMUM_LINE + 1]);
        assert_eq!(press(&mut editor, b"\x7f\x7f\r"), Some(Outcome::TooLong));
    }

    #[test]
    fn the_view_follows_the_cursor() {
        let mut editor = Editor::default();
        press(&mut editor, b"abc");
        assert_eq!(editor.view("> ", 80), ("> abc".into(), 5));
        press(&mut editor, b"defghijklmnop");
        assert_eq!(editor.view("> ", 13), ("> <ijklmnop".into(), 11));
        press(&mut editor, b"\x01");
        assert_eq!(editor.view("> ", 13), ("> abcdefghi>".into(), 2));
        for columns in 0..40 {
            for _ in 0..16 {
                let (text, cursor) = editor.view("> ", columns);
                assert!(cursor <= text.len() && text.len() < columns.max(11));
                press(&mut editor, b"\x1b[C");
            }
            press(&mut editor, b"\x01");
        }
    }

    #[test]
    fn noise_does_no_harm() {
        let mut editor = Editor::default();
        let mut keys = Keys::new();
        let mut state = 1_u32;
        for _ in 0..200_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if let Some(key) = keys.decode((state >> 24) as u8) {
                editor.press(key);
                let (text, cursor) = editor.view("capos> ", 80);
                assert!(cursor <= text.len() && text.len() < 80);
            }
        }
    }
}
