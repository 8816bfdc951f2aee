//! A person at the machine's serial port, by a real pseudo-terminal.

use std::{
    fs::File,
    os::fd::OwnedFd,
    process::Stdio,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};

use super::{screen::Screen, wire::Wire};

/// The prompt when nothing is typed.
pub const PROMPT: &str = "capos> ";

/// What stands below a screen of output when there is more.
pub const MORE: &str = "-- more --";

/// Lines of the screen that a failed wait shows.
const SHOWN: usize = 15;

/// Whether what the machine sends is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Taking {
    /// It is.
    #[default]
    Yes,
    /// It waits in the pseudo-terminal, until that is full.
    No,
}

/// What the terminal shows, filled by one thread and waited for by another.
#[derive(Default)]
pub struct Display {
    screen: Mutex<Screen>,
    changed: Condvar,
    /// Whether nothing more will come; set under the screen's lock.
    closed: AtomicBool,
    taking: Mutex<Taking>,
    resumed: Condvar,
}

impl Display {
    /// Takes what the machine sent, once that is wanted.
    pub fn add(&self, bytes: &[u8]) {
        let mut taking = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        while *taking == Taking::No {
            taking = self.resumed.wait(taking).unwrap_or_else(PoisonError::into_inner);
        }
        drop(taking);
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).add(bytes);
        self.changed.notify_all();
    }

    /// Nothing more will come.
    pub fn close(&self) {
        let _screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        self.closed.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }
}

/// The master side of a pseudo-terminal, before the machine has the other.
pub struct Pair {
    /// This side.
    pub master: File,
    pub(super) slave: OwnedFd,
}

impl Pair {
    /// Opens one.
    pub fn open() -> Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).context("no pseudo-terminal")?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let slave = open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?;
        Ok(Self { master: File::from(master), slave })
    }

    /// What the machine has for standard input and output.
    pub fn stdio(&self) -> Result<(Stdio, Stdio)> {
        Ok((self.slave.try_clone()?.into(), self.slave.try_clone()?.into()))
    }
}

/// Keys to the machine, and what its terminal shows.
pub struct Terminal {
    keyboard: Wire,
    display: Arc<Display>,
    deadline: Instant,
    /// Lines that commands have passed.
    seen: usize,
}

impl Terminal {
    /// On this side of a pseudo-terminal, of which somebody else reads into `display`.
    pub fn new(keyboard: File, display: Arc<Display>, deadline: Instant) -> Result<Self> {
        Ok(Self { keyboard: Wire::new(keyboard, "COM1", deadline)?, display, deadline, seen: 0 })
    }

    /// Types bytes as they are. Waits as long as the machine does not take them.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.keyboard.send(bytes)
    }

    /// Takes nothing more of what the machine sends.
    pub fn pause(&self) {
        self.set_taking(Taking::No);
    }

    /// Takes what the machine sends again.
    pub fn go_on(&self) {
        self.set_taking(Taking::Yes);
    }

    fn set_taking(&self, taking: Taking) {
        *self.display.taking.lock().unwrap_or_else(PoisonError::into_inner) = taking;
        self.display.resumed.notify_all();
    }

    /// Waits until `look` finds what it looks for; it is shown all lines, and the row with the cursor.
    pub fn wait<T>(&self, what: &str, look: impl FnMut(&[String], &str) -> Option<T>) -> Result<T> {
        self.wait_until(self.deadline, what, look)
    }

    /// As [`wait`](Self::wait), until an earlier time.
    pub fn wait_until<T>(
        &self,
        deadline: Instant,
        what: &str,
        mut look: impl FnMut(&[String], &str) -> Option<T>,
    ) -> Result<T> {
        let mut screen = self.display.screen.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = look(&screen.lines, &screen.row()) {
                return Ok(found);
            }
            let left = deadline.min(self.deadline).saturating_duration_since(Instant::now());
            let closed = self.display.closed.load(Ordering::Relaxed);
            if closed || left.is_zero() {
                let start = screen.lines.len().saturating_sub(SHOWN);
                let lines = screen.lines.get(start..).unwrap_or_default().join("\n    ");
                let why = if closed { ", and QEMU has ended" } else { " in time" };
                bail!("no {what}{why}; the terminal shows:\n    {lines}\n    {}", screen.row());
            }
            let waited = self.display.changed.wait_timeout(screen, left);
            screen = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for the prompt with nothing behind it.
    pub fn wait_prompt(&mut self) -> Result<()> {
        self.seen = self.wait("prompt", |lines, row| (row == PROMPT).then_some(lines.len()))?;
        Ok(())
    }

    /// Waits for a line that contains `text`, or finds it among those that are there.
    pub fn wait_line(&self, text: &str) -> Result<String> {
        self.wait(&format!("line with {text:?}"), |lines, _| {
            lines.iter().find(|line| line.contains(text)).cloned()
        })
    }

    /// Enters a line at the prompt, pages through its output, and returns that when the prompt is back. Lines of the log
    /// that came meanwhile are left out.
    pub fn command(&mut self, line: &str) -> Result<Vec<String>> {
        self.wait_prompt()?;
        self.send(format!("{line}\r").as_bytes())?;
        let echo = format!("{PROMPT}{line}");
        let start = self.seen;
        let mut pages = 0;
        loop {
            let (row, lines) = self.wait(&format!("end of {line:?}"), |lines, row| {
                let new = lines.get(start..)?;
                let first = new.iter().position(|line| *line == echo.trim_end())? + 1;
                let paged = row.starts_with(MORE) && new.len() > first + pages;
                (row == PROMPT || paged)
                    .then(|| (row.to_owned(), new.get(first..).unwrap_or_default().to_vec()))
            })?;
            if row == PROMPT {
                self.seen = start + lines.len() + 1;
                return Ok(lines.into_iter().filter(|line| !is_log(line)).collect());
            }
            // The next page has more lines than this one.
            pages = lines.len();
            self.send(b" ")?;
        }
    }
}

/// Whether a line is one of the kernel's log: `[seconds.microseconds] process: text`.
pub fn is_log(line: &str) -> bool {
    line.strip_prefix('[').and_then(|rest| rest.split_once("] ")).is_some_and(|(time, _)| {
        time.trim_start().bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && time.contains('.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_log_are_known() {
        assert!(is_log("[    0.123456] init: x"));
        assert!(!is_log("[x] y") && !is_log("capos> ") && !is_log("[ 12] a"));
    }
}
