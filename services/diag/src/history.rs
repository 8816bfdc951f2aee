//! Lines that were entered before.

use alloc::{collections::VecDeque, vec::Vec};

/// Lines that are kept.
const MAXIMUM_LINES: usize = 32;

/// The newest lines, and where in them the reader is.
#[derive(Debug, Default)]
pub struct History {
    lines: VecDeque<Vec<u8>>,
    /// How many lines back; 0 is the line that is being written.
    back: usize,
    /// What was being written when the reader went back.
    draft: Vec<u8>,
}

impl History {
    /// Keeps a line, unless it is empty or the same as the last.
    pub fn add(&mut self, line: &[u8]) {
        self.back = 0;
        self.draft.clear();
        if line.is_empty() || self.lines.back().is_some_and(|last| last == line) {
            return;
        }
        if self.lines.len() == MAXIMUM_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line.to_vec());
    }

    /// The line before the one that is shown, if there is one. `shown` is kept when it is the one that is being written.
    pub fn earlier(&mut self, shown: &[u8]) -> Option<Vec<u8>> {
        let index = self.lines.len().checked_sub(self.back + 1)?;
        let line = self.lines.get(index)?.clone();
        if self.back == 0 {
            self.draft = shown.to_vec();
        }
        self.back += 1;
        Some(line)
    }

    /// The line after the one that is shown; in the end the one that was being written.
    pub fn later(&mut self) -> Option<Vec<u8>> {
        self.back = self.back.checked_sub(1)?;
        if self.back == 0 {
            return Some(core::mem::take(&mut self.draft));
        }
        self.lines.get(self.lines.len() - self.back).cloned()
    }

    /// The reader gave the line up: the next look starts at the newest.
    pub fn leave(&mut self) {
        self.back = 0;
        self.draft.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn back_and_forth() {
        let mut history = History::default();
        assert_eq!((history.earlier(b"x"), history.later()), (None, None));
        for line in [&b"one"[..], b"two", b"two", b""] {
            history.add(line);
        }
        assert_eq!(history.earlier(b"draft").as_deref(), Some(&b"two"[..]));
        assert_eq!(history.earlier(b"two").as_deref(), Some(&b"one"[..]));
        assert_eq!(history.earlier(b"one"), None);
        assert_eq!(history.later().as_deref(), Some(&b"two"[..]));
        assert_eq!(history.later().as_deref(), Some(&b"draft"[..]));
        assert_eq!(history.later(), None);
    }

    #[test]
    fn only_the_newest_are_kept() {
        let mut history = History::default();
        (0..100).for_each(|number| history.add(format!("{number}").as_bytes()));
        let mut count = 0;
        while history.earlier(b"").is_some() {
            count += 1;
        }
        assert_eq!(count, MAXIMUM_LINES);
    }
}
