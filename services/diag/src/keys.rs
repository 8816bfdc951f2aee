//! From the bytes of a terminal to keys.
//!
//! The rule is plain ASCII: printable bytes are characters, some control characters and escape sequences are keys, everything else,
//! bytes of 0x80 and above included, is dropped. So no half of a character can be edited, and noise is at worst a wrong line.

/// What was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A printable ASCII character.
    Character(u8),
    /// End of the line.
    Enter,
    /// Erases to the left.
    Backspace,
    /// Erases under the cursor.
    Delete,
    /// Cursor left.
    Left,
    /// Cursor right.
    Right,
    /// Cursor to the start.
    Home,
    /// Cursor to the end.
    End,
    /// Earlier line.
    Up,
    /// Later line.
    Down,
    /// Erases to the start: ^U.
    EraseToStart,
    /// Erases to the end: ^K.
    EraseToEnd,
    /// Erases a word to the left: ^W.
    EraseWord,
    /// Clears the screen: ^L.
    Clear,
    /// Gives the line up: ^C.
    Cancel,
    /// ^D.
    EndOfInput,
}

/// Most bytes of an escape sequence; what is longer is no key of a terminal.
const MAXIMUM_SEQUENCE: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ground,
    /// Behind a carriage return, whose line feed is the same key.
    Return,
    /// Behind ESC.
    Escape,
    /// Behind ESC O.
    Single,
    /// Behind ESC [: the number so far, and the bytes so far.
    Control {
        number: u8,
        bytes: usize,
    },
}

/// Decodes one terminal's bytes.
#[derive(Debug)]
pub struct Keys {
    state: State,
}

impl Default for Keys {
    fn default() -> Self {
        Self::new()
    }
}

impl Keys {
    /// Between keys.
    pub const fn new() -> Self {
        Self { state: State::Ground }
    }

    /// Takes a byte; the key that it completes.
    pub fn decode(&mut self, byte: u8) -> Option<Key> {
        match core::mem::replace(&mut self.state, State::Ground) {
            State::Return if byte == b'\n' => None,
            State::Ground | State::Return => self.plain(byte),
            State::Escape => {
                self.state = match byte {
                    b'[' => State::Control { number: 0, bytes: 0 },
                    b'O' => State::Single,
                    0x1b => State::Escape,
                    _ => State::Ground,
                };
                None
            }
            State::Single => cursor_key(byte),
            State::Control { number, bytes } => self.control(byte, number, bytes),
        }
    }

    fn plain(&mut self, byte: u8) -> Option<Key> {
        Some(match byte {
            0x20..=0x7e => Key::Character(byte),
            b'\r' => {
                self.state = State::Return;
                Key::Enter
            }
            b'\n' => Key::Enter,
            0x1b => {
                self.state = State::Escape;
                return None;
            }
            0x08 | 0x7f => Key::Backspace,
            0x01 => Key::Home,
            0x02 => Key::Left,
            0x03 => Key::Cancel,
            0x04 => Key::EndOfInput,
            0x05 => Key::End,
            0x06 => Key::Right,
            0x0b => Key::EraseToEnd,
            0x0c => Key::Clear,
            0x0e => Key::Down,
            0x10 => Key::Up,
            0x15 => Key::EraseToStart,
            0x17 => Key::EraseWord,
            _ => return None,
        })
    }

    /// A control sequence: digits and separators, then a letter or `~`. [ECMA-48 5.4]
    fn control(&mut self, byte: u8, number: u8, bytes: usize) -> Option<Key> {
        match byte {
            0x20..=0x3f if bytes < MAXIMUM_SEQUENCE => {
                let number = match byte {
                    b'0'..=b'9' => number.saturating_mul(10).saturating_add(byte - b'0'),
                    _ => number,
                };
                self.state = State::Control { number, bytes: bytes + 1 };
                None
            }
            b'~' => match number {
                1 | 7 => Some(Key::Home),
                3 => Some(Key::Delete),
                4 | 8 => Some(Key::End),
                _ => None,
            },
            0x40..=0x7d => cursor_key(byte),
            // A control character ends the sequence and counts.
            0..=0x1f => self.plain(byte),
            _ => None,
        }
    }
}

fn cursor_key(byte: u8) -> Option<Key> {
    Some(match byte {
        b'A' => Key::Up,
        b'B' => Key::Down,
        b'C' => Key::Right,
        b'D' => Key::Left,
        b'F' => Key::End,
        b'H' => Key::Home,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn decode(bytes: &[u8]) -> Vec<Key> {
        let mut keys = Keys::new();
        bytes.iter().filter_map(|byte| keys.decode(*byte)).collect()
    }

    #[test]
    fn keys_of_terminals() {
        for (bytes, key) in [
            (&b"\x1b[A"[..], Key::Up),
            (b"\x1bOA", Key::Up),
            (b"\x1b[1;5C", Key::Right),
            (b"\x1b[3~", Key::Delete),
            (b"\x1b[1~", Key::Home),
            (b"\x1b[H", Key::Home),
            (b"\x1bOF", Key::End),
            (b"\x1b[4~", Key::End),
            (b"\x7f", Key::Backspace),
            (b"\x17", Key::EraseWord),
            (b"\n", Key::Enter),
            (b"\r\n", Key::Enter),
            (b"~", Key::Character(b'~')),
        ] {
            assert_eq!(decode(bytes), [key], "{bytes:?}");
        }
        assert_eq!(decode(b"\r\r\n\n"), [Key::Enter; 3]);
    }

    #[test]
    fn what_is_no_key_is_dropped() {
        assert_eq!(decode("aäb€".as_bytes()), [Key::Character(b'a'), Key::Character(b'b')]);
        assert_eq!(decode(b"\x00\x1b[200~x\x1b[99999999Zy\x1bqz"), b"xyz".map(Key::Character));
        assert_eq!(decode(b"\x1b[\x03"), [Key::Cancel]);
        // A sequence without end does not swallow all that follows.
        let mut endless = b"\x1b[".to_vec();
        endless.extend([b'0'; 100]);
        assert!(decode(&endless).len() > 50);
    }

    #[test]
    fn any_byte_is_taken_in_any_state() {
        for start in [&b""[..], b"\r", b"\x1b", b"\x1bO", b"\x1b[", b"\x1b[1;"] {
            for byte in 0..=255 {
                let mut bytes = start.to_vec();
                bytes.push(byte);
                bytes.extend(b"\x03\x03");
                assert_eq!(decode(&bytes).last(), Some(&Key::Cancel), "{bytes:?}");
            }
        }
    }
}
