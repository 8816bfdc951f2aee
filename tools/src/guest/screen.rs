//! What a terminal shows of the bytes that it is sent: as much of one as the system's prompt uses.

/// The lines that scrolled up, and the row with the cursor.
#[derive(Debug, Default)]
pub struct Screen {
    /// Rows that are finished.
    pub lines: Vec<String>,
    /// The row with the cursor.
    row: Vec<char>,
    column: usize,
    /// Bytes of a character or an escape sequence that is not complete.
    rest: Vec<u8>,
}

impl Screen {
    /// Takes bytes as they come.
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.rest.push(*byte);
            if self.is_sequence() {
                continue;
            }
            match std::str::from_utf8(&self.rest) {
                Ok(text) => {
                    let text = text.to_owned();
                    self.rest.clear();
                    text.chars().for_each(|character| self.put(character));
                }
                Err(error) if error.error_len().is_none() => {}
                Err(_) => {
                    self.rest.clear();
                    self.put(char::REPLACEMENT_CHARACTER);
                }
            }
        }
    }

    /// The row with the cursor, as it stands.
    pub fn row(&self) -> String {
        self.row.iter().collect()
    }

    /// The cursor's column, from 0.
    #[cfg(test)]
    pub fn column(&self) -> usize {
        self.column
    }

    /// Whether what is kept is an escape sequence; a complete one is obeyed.
    fn is_sequence(&mut self) -> bool {
        match self.rest.as_slice() {
            [0x1b] | [0x1b, b'['] => true,
            [0x1b, b'[', number @ .., last] => {
                if (0x40..0x7f).contains(last) {
                    let number = std::str::from_utf8(number).ok().and_then(|number| number.parse().ok());
                    self.control(*last, number.unwrap_or(0));
                    self.rest.clear();
                }
                true
            }
            _ => false,
        }
    }

    fn control(&mut self, order: u8, number: usize) {
        match order {
            b'K' => self.row.truncate(self.column),
            b'C' => self.column += number.max(1),
            // Cleared, and the cursor at its start: as a new row.
            b'J' => {
                self.lines.push("(cleared)".into());
                self.row.clear();
                self.column = 0;
            }
            _ => {}
        }
    }

    fn put(&mut self, character: char) {
        match character {
            '\r' => self.column = 0,
            '\n' => {
                self.lines.push(self.row().trim_end().to_owned());
                self.row.clear();
                self.column = 0;
            }
            _ => {
                if self.row.len() <= self.column {
                    self.row.resize(self.column + 1, ' ');
                }
                if let Some(cell) = self.row.get_mut(self.column) {
                    *cell = character;
                }
                self.column += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_drawn_and_erased() {
        let mut screen = Screen::default();
        screen.add(b"> abc\r\x1b[2C");
        assert_eq!((screen.row().as_str(), screen.column()), ("> abc", 2));
        screen.add(b"X\r\x1b[Klog\r\n> ");
        assert_eq!((screen.lines.as_slice(), screen.row().as_str()), (&["log".to_owned()][..], "> "));
        for byte in "ä\x1b[2J\x1b[H> ".bytes() {
            screen.add(&[byte]);
        }
        assert_eq!(screen.lines, ["log", "(cleared)"]);
        assert_eq!(screen.row(), "> ");
        screen.add(b"\xff!");
        assert_eq!(screen.row(), "> \u{fffd}!");
    }
}
