//! The newest lines of the log: `logs`.

use crate::table::printable;
use alloc::{
    collections::VecDeque,
    format,
    string::{String, ToString},
};

/// Longest line that is shown: the kernel's own limit, and its time and process name.
const MAXIMUM_LINE: usize = 1152;

/// Keeps the last lines of one process, or of all.
pub struct LogLines {
    count: usize,
    process: Option<String>,
    lines: VecDeque<String>,
}

impl LogLines {
    /// Keeps at most `count` lines.
    pub fn new(count: usize, process: Option<String>) -> Self {
        Self { count, process, lines: VecDeque::new() }
    }

    /// Takes whole lines of the log, older ones first.
    pub fn push(&mut self, text: &[u8]) {
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line = String::from_utf8_lossy(line);
            if self.process.as_deref().is_some_and(|process| writer(&line) != Some(process)) {
                continue;
            }
            if self.lines.len() == self.count {
                self.lines.pop_front();
            }
            if self.count > 0 {
                self.lines.push_back(printable(&line, MAXIMUM_LINE));
            }
        }
    }

    /// What is shown.
    pub fn finish(mut self) -> VecDeque<String> {
        if self.lines.is_empty() {
            self.lines.push_back(match &self.process {
                Some(process) => format!("no lines of {:?}", printable(process, 32)),
                None => "no lines".to_string(),
            });
        }
        self.lines
    }
}

/// The process that wrote a line `[time] process: text`.
fn writer(line: &str) -> Option<&str> {
    let (_, rest) = line.strip_prefix('[')?.split_once("] ")?;
    rest.split_once(": ").map(|(process, _)| process)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &[u8] =
        b"capos kernel starting\n[    0.1] init: one\n[    0.2] netstack: two: x\n[    0.3] init: three\n";

    fn show(count: usize, process: Option<&str>) -> alloc::vec::Vec<String> {
        let mut lines = LogLines::new(count, process.map(Into::into));
        lines.push(LOG);
        lines.finish().into()
    }

    #[test]
    fn the_newest_lines_come_last() {
        assert_eq!(show(2, None), ["[    0.2] netstack: two: x", "[    0.3] init: three"]);
        assert_eq!(show(9, Some("init")), ["[    0.1] init: one", "[    0.3] init: three"]);
        assert_eq!(show(1, Some("init")), ["[    0.3] init: three"]);
        assert_eq!(show(9, Some("one")), ["no lines of \"one\""]);
        assert_eq!(show(0, None), ["no lines"]);
    }
}
