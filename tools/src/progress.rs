//! Tells how far a long step is, once it has taken a second.

use std::{
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

/// What is quicker than this says nothing.
const QUIET: Duration = Duration::from_secs(1);

/// Between two lines of progress, on a terminal and in a log.
const TERMINAL_STEP: Duration = Duration::from_millis(200);
const LOG_STEP: Duration = Duration::from_secs(5);

/// A step that tells how far it is, on standard error.
pub struct Progress {
    what: String,
    /// All there is to do, in any unit.
    total: u64,
    started: Instant,
    /// When the next line is due.
    due: Instant,
    step: Duration,
    shown: bool,
}

impl Progress {
    /// A step that starts now.
    pub fn new(what: impl Into<String>, total: u64) -> Self {
        let started = Instant::now();
        let step = if std::io::stderr().is_terminal() { TERMINAL_STEP } else { LOG_STEP };
        Self { what: what.into(), total, started, due: started + QUIET, step, shown: false }
    }

    /// So much of the total is done.
    pub fn at(&mut self, done: u64) {
        let now = Instant::now();
        if now < self.due {
            return;
        }
        self.due = now + self.step;
        self.shown = true;
        let line = line(&self.what, done, self.total, now - self.started);
        // Progress that cannot be shown must not stop the work.
        let _ = if self.step == TERMINAL_STEP {
            write!(std::io::stderr(), "\r{line}\x1b[K")
        } else {
            writeln!(std::io::stderr(), "{line}")
        };
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown && self.step == TERMINAL_STEP {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(what: &str, done: u64, total: u64, time: Duration) -> String {
    let percent = done.saturating_mul(100).checked_div(total).unwrap_or(0).min(100);
    format!("  {what}: {percent} % after {} s", time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_and_how_far() {
        assert_eq!(line("disk.raw", 256, 1024, Duration::from_secs(3)), "  disk.raw: 25 % after 3 s");
        assert_eq!(line("nothing", 0, 0, Duration::ZERO), "  nothing: 0 % after 0 s");
        assert_eq!(line("more", 9, 3, Duration::ZERO), "  more: 100 % after 0 s");
    }

    #[test]
    fn what_is_quick_says_nothing() {
        let mut progress = Progress::new("quick", 1);
        progress.at(1);
        assert!(!progress.shown);
    }
}
