//! What goes to the terminal: output, log lines, and below them one line that is being edited.
//!
//! Pure text composition. The edited line is erased before anything else is written, and drawn again behind it, so that it
//! stays last and nothing is written into it. Only the sequences that every terminal knows are used: carriage return, "erase
//! to the end of the row", "cursor right". [ECMA-48 8.3.20, 8.3.41]

use alloc::{format, vec::Vec};

/// Longest line that can be edited.
pub const MAXIMUM_LINE: usize = 255;
/// Most bytes of output in one piece.
pub const MAXIMUM_OUTPUT: usize = 1152;
/// Most bytes that one call here makes of one piece: each byte may be a line feed, and the edited line goes and comes back.
pub const MAXIMUM_PIECE: usize = 2 * MAXIMUM_OUTPUT + MAXIMUM_LINE + 32;

const ERASE_ROW: &[u8] = b"\r\x1b[K";
const NEW_LINE: &[u8] = b"\r\n";

/// Whose output is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The kernel's log.
    Log,
    /// The session's client.
    Client,
}

/// Where the output's cursor is, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// At the start of a row.
    Start,
    /// Behind output of this source that has not ended its line.
    Inside(Source),
}

/// Where in an escape sequence the output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    None,
    Begun,
    Control,
}

/// The terminal as it was left.
#[derive(Debug)]
pub struct Terminal {
    position: Position,
    escape: Escape,
    line: Vec<u8>,
    cursor: usize,
}

impl Default for Terminal {
    fn default() -> Self {
        Self::new()
    }
}

impl Terminal {
    /// At the start of a row, without a line.
    pub const fn new() -> Self {
        Self { position: Position::Start, escape: Escape::None, line: Vec::new(), cursor: 0 }
    }

    /// Bytes that write `data`, of at most [`MAXIMUM_OUTPUT`] bytes; what is over that is cut.
    pub fn output(&mut self, source: Source, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.erase(&mut bytes);
        if self.position != Position::Start && self.position != Position::Inside(source) {
            self.new_line(&mut bytes);
        }
        for byte in data.iter().take(MAXIMUM_OUTPUT) {
            self.write(source, *byte, &mut bytes);
        }
        self.draw(&mut bytes);
        bytes
    }

    /// Bytes that show a line in place of the one before.
    pub fn set_line(&mut self, text: &[u8], cursor: usize) -> Vec<u8> {
        let shown = |byte: &u8| if (0x20..0x7f).contains(byte) { *byte } else { b'?' };
        let line: Vec<u8> = text.iter().take(MAXIMUM_LINE).map(shown).collect();
        let cursor = cursor.min(line.len());
        let mut bytes = Vec::new();
        match line.strip_prefix(self.line.as_slice()) {
            // The usual case, something typed at the end, without drawing it all again.
            Some(more) if !self.line.is_empty() && self.cursor == self.line.len() && cursor == line.len() => {
                bytes.extend_from_slice(more);
                self.line = line;
                self.cursor = cursor;
            }
            _ => {
                self.erase(&mut bytes);
                self.line = line;
                self.cursor = cursor;
                self.draw(&mut bytes);
            }
        }
        bytes
    }

    /// Bytes that leave the line as a part of the output.
    pub fn end_line(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if !self.line.is_empty() {
            if self.cursor != self.line.len() {
                self.cursor = self.line.len();
                bytes.extend_from_slice(b"\r");
                bytes.extend_from_slice(&self.line);
            }
            bytes.extend_from_slice(NEW_LINE);
            self.line.clear();
            self.cursor = 0;
        }
        bytes
    }

    fn erase(&self, bytes: &mut Vec<u8>) {
        if !self.line.is_empty() {
            bytes.extend_from_slice(ERASE_ROW);
        }
    }

    fn draw(&mut self, bytes: &mut Vec<u8>) {
        if self.line.is_empty() {
            return;
        }
        if self.position != Position::Start {
            self.new_line(bytes);
        }
        bytes.extend_from_slice(&self.line);
        if self.cursor < self.line.len() {
            bytes.extend_from_slice(b"\r");
            if self.cursor > 0 {
                bytes.extend_from_slice(format!("\x1b[{}C", self.cursor).as_bytes());
            }
        }
    }

    fn new_line(&mut self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(NEW_LINE);
        self.position = Position::Start;
        self.escape = Escape::None;
    }

    fn write(&mut self, source: Source, byte: u8, bytes: &mut Vec<u8>) {
        match (self.escape, byte) {
            (_, b'\n') => return self.new_line(bytes),
            (_, b'\r') => self.position = Position::Start,
            (_, 0x1b) => self.escape = Escape::Begun,
            (Escape::Begun, b'[') => self.escape = Escape::Control,
            (Escape::Begun, _) | (Escape::Control, 0x40..) => self.escape = Escape::None,
            (Escape::Control, _) => {}
            (Escape::None, _) => self.position = Position::Inside(source),
        }
        bytes.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> &str {
        core::str::from_utf8(bytes).expect("text")
    }

    #[test]
    fn a_log_line_goes_above_the_edited_line() {
        let mut terminal = Terminal::new();
        assert_eq!(text(&terminal.output(Source::Log, b"one\n")), "one\r\n");
        assert_eq!(text(&terminal.set_line(b"> ab", 4)), "> ab");
        assert_eq!(text(&terminal.output(Source::Log, b"two\n")), "\r\x1b[Ktwo\r\n> ab");
        assert_eq!(text(&terminal.set_line(b"> ab", 3)), "\r\x1b[K> ab\r\x1b[3C");
        assert_eq!(text(&terminal.output(Source::Log, b"x\n")), "\r\x1b[Kx\r\n> ab\r\x1b[3C");
        assert_eq!(text(&terminal.end_line()), "\r> ab\r\n");
        assert_eq!(text(&terminal.output(Source::Client, b"y\n")), "y\r\n");
    }

    #[test]
    fn typing_at_the_end_writes_only_what_is_new() {
        let mut terminal = Terminal::new();
        terminal.set_line(b"> ", 2);
        assert_eq!(text(&terminal.set_line(b"> a", 3)), "a");
        assert_eq!(text(&terminal.set_line(b"> abc", 5)), "bc");
        assert_eq!(text(&terminal.set_line(b"> abc", 5)), "");
        assert_eq!(text(&terminal.set_line(b"> ab", 4)), "\r\x1b[K> ab");
        assert_eq!(text(&terminal.set_line(b"", 0)), "\r\x1b[K");
        assert_eq!(text(&terminal.end_line()), "");
    }

    #[test]
    fn output_without_an_end_is_completed_before_others() {
        let mut terminal = Terminal::new();
        assert_eq!(text(&terminal.output(Source::Client, b"a")), "a");
        assert_eq!(text(&terminal.output(Source::Client, b"b")), "b");
        assert_eq!(text(&terminal.output(Source::Log, b"log\n")), "\r\nlog\r\n");
        assert_eq!(text(&terminal.output(Source::Client, b"c")), "c");
        assert_eq!(text(&terminal.set_line(b"> ", 2)), "\r\n> ");
    }

    #[test]
    fn escape_sequences_take_no_room() {
        let mut terminal = Terminal::new();
        terminal.set_line(b"> ", 2);
        assert_eq!(text(&terminal.output(Source::Client, b"\x1b[2J\x1b[H")), "\r\x1b[K\x1b[2J\x1b[H> ");
    }

    #[test]
    fn a_line_is_printable_and_short() {
        let mut terminal = Terminal::new();
        assert_eq!(text(&terminal.set_line(b"a\x1b\xc3\n", 99)), "a???");
        let long = terminal.set_line(&[b'x'; 400], 400);
        assert_eq!(long.iter().filter(|byte| **byte == b'x').count(), MAXIMUM_LINE);
    }

    #[test]
    fn pieces_are_bounded() {
        for cursor in [0, 1, MAXIMUM_LINE] {
            let mut terminal = Terminal::new();
            terminal.output(Source::Client, b"a");
            assert!(terminal.set_line(&[b'x'; 400], cursor).len() <= MAXIMUM_PIECE);
            assert!(terminal.output(Source::Log, &[b'\n'; 4000]).len() <= MAXIMUM_PIECE);
            assert!(terminal.output(Source::Log, &[b'a'; 4000]).len() <= MAXIMUM_PIECE);
            assert!(terminal.set_line(&[b'y'; 400], cursor).len() <= MAXIMUM_PIECE);
            assert!(terminal.end_line().len() <= MAXIMUM_PIECE);
        }
    }
}
