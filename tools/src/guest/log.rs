//! The lines that a machine's serial port printed.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// Lines, filled by one thread and waited for by another.
#[derive(Default)]
pub struct Log {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    /// Bytes behind the last line's end.
    rest: Vec<u8>,
    closed: bool,
}

/// What a wait for a line found.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// The line, without its end.
    Line(String),
    /// No such line will come.
    Closed,
    /// The deadline came first.
    Late,
}

impl Log {
    /// Takes bytes as they come; a line ends with a line feed, and carriage returns before it are dropped.
    pub fn add(&self, bytes: &[u8]) {
        let mut state = self.lock();
        state.rest.extend_from_slice(bytes);
        while let Some(end) = state.rest.iter().position(|byte| *byte == b'\n') {
            let rest = state.rest.split_off(end + 1);
            let line = std::mem::replace(&mut state.rest, rest);
            state.lines.push(text(&line));
        }
        self.changed.notify_all();
    }

    /// Nothing more will come; what has no line end becomes a line.
    pub fn close(&self) {
        let mut state = self.lock();
        let rest = std::mem::take(&mut state.rest);
        if !rest.is_empty() {
            state.lines.push(text(&rest));
        }
        state.closed = true;
        self.changed.notify_all();
    }

    /// Waits for the line with this number, from 0.
    pub fn line(&self, number: usize, deadline: Instant) -> Next {
        let state = self.wait(deadline, |state| state.lines.len() > number || state.closed);
        match state.lines.get(number) {
            Some(line) => Next::Line(line.clone()),
            None if state.closed => Next::Closed,
            None => Next::Late,
        }
    }

    /// Waits for the end; returns whether it came in time.
    pub fn wait_closed(&self, deadline: Instant) -> bool {
        self.wait(deadline, |state| state.closed).closed
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// The last lines as one text, indented.
    pub fn tail(&self, count: usize) -> String {
        let state = self.lock();
        let start = state.lines.len().saturating_sub(count);
        let mut lines: Vec<String> =
            state.lines.iter().skip(start).map(|line| format!("    {line}")).collect();
        if !state.rest.is_empty() {
            lines.push(format!("    {} (no line end)", text(&state.rest)));
        }
        lines.join("\n")
    }

    fn wait(&self, deadline: Instant, mut done: impl FnMut(&State) -> bool) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if done(&state) || left.is_zero() {
                return state;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The lines are whole even if a thread panicked while it held the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line as a terminal shows it in the end: what was erased, as the prompt is before each line above it, is not there.
fn text(line: &[u8]) -> String {
    const ERASE_ROW: &str = "\r\x1b[K";
    let line = String::from_utf8_lossy(line);
    let shown = line.rsplit(ERASE_ROW).next().unwrap_or_default();
    shown.trim_end_matches(['\r', '\n']).to_owned()
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread, time::Duration};

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn an_erased_prompt_is_not_seen() {
        let log = Log::default();
        log.add(b"> \r\x1b[Kone\r\n> two\r\n> \r\x1b[K> x\r\x1b[Kthree\r\n");
        assert_eq!(log.lines(), ["one", "> two", "three"]);
    }

    #[test]
    fn lines_may_come_in_pieces() {
        let log = Log::default();
        log.add(b"one\r\ntw");
        log.add(b"o\nthree");
        assert_eq!(log.line(1, soon()), Next::Line("two".into()));
        assert_eq!(log.line(2, Instant::now()), Next::Late);
        log.close();
        assert_eq!(log.line(2, soon()), Next::Line("three".into()));
        assert_eq!(log.line(3, soon()), Next::Closed);
    }

    #[test]
    fn a_wait_ends_when_the_line_comes() {
        let log = Arc::new(Log::default());
        let writer = Arc::clone(&log);
        let thread = thread::spawn(move || writer.add(b"hello\n"));
        assert_eq!(log.line(0, soon()), Next::Line("hello".into()));
        thread.join().expect("the writer ends");
    }
}
