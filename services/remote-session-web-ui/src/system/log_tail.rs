//! The newest lines of the kernel's log.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;

use super::decode::cut;
use super::limits::{MAXIMUM_LOG_LINE, MAXIMUM_LOG_LINES};

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
