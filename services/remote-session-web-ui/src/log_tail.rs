//! The newest lines of the kernel's log.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use inspect::decode::cut;
use serde::Serialize;

/// Log lines that are kept.
pub const MAXIMUM_LOG_LINES: usize = 160;

/// Longest log line, in bytes: the kernel's own limit, and its time and process name.
pub const MAXIMUM_LOG_LINE: usize = 1152;

/// Keeps the last [`MAXIMUM_LOG_LINES`] lines, and numbers them so that a reader can ask for what is new.
pub struct LogTail {
    /// Tells this numbering from that of an earlier run of this program.
    epoch: u64,
    lines: VecDeque<String>,
    /// Number of the line after the last.
    next: u64,
    cursor: u64,
}

/// Lines from some number on; the JSON at `/api/log`.
#[derive(Debug, PartialEq, Serialize)]
pub struct LogPart<'a> {
    epoch: u64,
    /// Number of the first of `lines`.
    first: u64,
    /// What to ask for next.
    next: u64,
    lines: Vec<&'a str>,
}

impl LogTail {
    /// An empty tail, at the oldest line that the kernel keeps.
    pub fn new(epoch: u64) -> Self {
        Self { epoch, lines: VecDeque::new(), next: 0, cursor: 0 }
    }

    /// Where to read on in the kernel's log.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Takes what the kernel's log gave at [`cursor`](Self::cursor): whole lines, where it goes on, and how many
    /// bytes were overwritten before them.
    pub fn push(&mut self, text: &[u8], cursor: u64, lost: u64) {
        if lost > 0 && self.next > 0 {
            self.push_line(alloc::format!(
                "({lost} bytes of the log were overwritten before they were read)"
            ));
        }
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.push_line(cut(line, MAXIMUM_LOG_LINE));
        }
        self.cursor = cursor;
    }

    /// The lines from number `from` on; all that are kept when that number was never reached.
    pub fn since(&self, from: u64) -> LogPart<'_> {
        let oldest = self.next.saturating_sub(self.lines.len() as u64);
        let first = if from > self.next { oldest } else { from.max(oldest) };
        // At most the number of lines that are kept.
        let skipped = (first - oldest) as usize;
        LogPart {
            epoch: self.epoch,
            first,
            next: self.next,
            lines: self.lines.iter().skip(skipped).map(String::as_str).collect(),
        }
    }

    fn push_line(&mut self, line: String) {
        if self.lines.len() == MAXIMUM_LOG_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
        self.next += 1;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_log_keeps_its_newest_lines() {
        let mut log = LogTail::new(5);
        log.push(b"zero\none\n\n", 9, 0);
        assert_eq!(log.cursor(), 9);
        for number in 2..MAXIMUM_LOG_LINES + 10 {
            log.push(format!("line {number}\n").as_bytes(), 100 + number as u64, 0);
        }
        let all: Value = serde_json::to_value(log.since(0)).expect("JSON");
        assert_eq!(all["first"], 10);
        assert_eq!(all["next"], MAXIMUM_LOG_LINES + 10);
        assert_eq!(all["lines"].as_array().expect("a list").len(), MAXIMUM_LOG_LINES);
        assert_eq!(all["lines"][0], "line 10");
    }

    #[test]
    fn lost_log_bytes_are_told() {
        let mut log = LogTail::new(5);
        // What was lost before this program started is not news.
        log.push(b"a\n", 70_000, 5_000);
        log.push(b"\xffb\n", 140_000, 1_234);
        let part = serde_json::to_value(log.since(0)).expect("JSON");
        assert_eq!(
            part["lines"],
            json!(["a", "(1234 bytes of the log were overwritten before they were read)", "\u{fffd}b"])
        );
    }
}
