//! Long output, a screen at a time.

use crate::keys::Key;
use alloc::{collections::VecDeque, string::String};

/// What stands below a screen of which more follows.
pub const MORE: &str = "-- more -- (space: next screen, Enter: next line, q: stop)";

/// What a reader wants at [`MORE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The next screen.
    Screen,
    /// One more line.
    Line,
    /// No more.
    Stop,
}

impl Wish {
    /// What a key means there; `None` for nothing.
    pub fn of(key: Key) -> Option<Self> {
        match key {
            Key::Character(b' ' | b'f') => Some(Self::Screen),
            Key::Enter | Key::Down | Key::Character(b'j') => Some(Self::Line),
            Key::Character(b'q' | b'Q') | Key::Cancel | Key::EndOfInput => Some(Self::Stop),
            _ => None,
        }
    }
}

/// Lines that are still to be shown.
pub struct Pager {
    lines: VecDeque<String>,
    rows: usize,
    columns: usize,
}

impl Pager {
    /// For a terminal of so many rows and columns.
    pub fn new(lines: impl IntoIterator<Item = String>, rows: usize, columns: usize) -> Self {
        Self { lines: lines.into_iter().collect(), rows: rows.max(2), columns: columns.max(1) }
    }

    /// Whether all was shown.
    pub fn is_done(&self) -> bool {
        self.lines.is_empty()
    }

    /// Takes the lines of the next screen, less the row for [`MORE`]; at least one line.
    pub fn take(&mut self, wish: Wish) -> VecDeque<String> {
        let mut room = match wish {
            Wish::Screen => self.rows - 1,
            Wish::Line => 1,
            Wish::Stop => 0,
        };
        let mut taken = VecDeque::new();
        while room > 0
            && let Some(line) = self.lines.front()
        {
            let rows = line.chars().count().div_ceil(self.columns).max(1);
            if rows > room && !taken.is_empty() {
                break;
            }
            room = room.saturating_sub(rows);
            taken.extend(self.lines.pop_front());
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, vec};

    #[test]
    fn screens_and_lines() {
        let mut pager = Pager::new((0..50).map(|number| format!("{number}")), 24, 80);
        assert_eq!(pager.take(Wish::Screen).len(), 23);
        assert_eq!(pager.take(Wish::Line), ["23"]);
        assert_eq!(pager.take(Wish::Stop).len(), 0);
        assert_eq!(pager.take(Wish::Screen).len(), 23);
        assert!(!pager.is_done());
        assert_eq!(pager.take(Wish::Screen).len(), 3);
        assert!(pager.is_done());
    }

    #[test]
    fn a_long_line_takes_its_rows() {
        let long = "x".repeat(200);
        let mut pager = Pager::new(vec![long.clone(), long.clone(), "y".into()], 6, 80);
        assert_eq!(pager.take(Wish::Screen).len(), 1);
        assert_eq!(pager.take(Wish::Screen).len(), 2);
        let mut pager = Pager::new(vec!["x".repeat(10_000)], 0, 0);
        assert_eq!(pager.take(Wish::Screen).len(), 1);
    }

    #[test]
    fn wishes() {
        assert_eq!(Wish::of(Key::Character(b' ')), Some(Wish::Screen));
        assert_eq!(Wish::of(Key::Cancel), Some(Wish::Stop));
        assert_eq!(Wish::of(Key::Character(b'x')), None);
    }
}
