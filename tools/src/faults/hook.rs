//! The test hook's orders, as a campaign uses them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::guest::Channel;

/// Orders to the guest over COM2.
pub struct Hook {
    channel: Channel,
}

/// A process, as init sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessState {
    /// `running` and so on.
    pub state: String,
    /// How often it was started again.
    pub restarts: u32,
}

/// The load, as it sees itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Bytes or requests.
    pub moved: u64,
    /// The longest time since the last mark in which one way of the load stood still.
    pub longest: Duration,
    /// The time for which one of them stands still now.
    pub present: Duration,
    /// What was wrong.
    pub failure: String,
}

impl Hook {
    /// Waits until the hook is there.
    pub fn new(mut channel: Channel) -> Result<Self> {
        channel.wait_for("hook ready")?;
        Ok(Self { channel })
    }

    /// Everything from now on may take so long, on the host.
    pub fn give(&mut self, time: Duration) {
        self.channel.set_deadline(Instant::now() + time);
    }

    /// The answer to an order, without its `ok`.
    pub fn order(&mut self, order: &str) -> Result<String> {
        self.channel.order(order)
    }

    /// Guest time, and how a process is.
    pub fn look(&mut self, process: &str) -> Result<(Duration, ProcessState)> {
        let answer = self.order("status")?;
        let uptime = Duration::from_nanos(number(&answer, "uptime-ns")?);
        let row = word(&answer, process)?;
        let mut parts = row.split('/');
        let state = parts.next().unwrap_or_default().to_owned();
        let restarts = parts.next().with_context(|| format!("no restarts in {row}"))?.parse()?;
        Ok((uptime, ProcessState { state, restarts }))
    }

    /// How the load is.
    pub fn load(&mut self) -> Result<Load> {
        let answer = self.order("load")?;
        let (words, failure) = answer.split_once("failure=").unwrap_or((&answer, ""));
        Ok(Load {
            moved: number(words, "moved")?,
            longest: Duration::from_nanos(number(words, "longest-ns")?),
            present: Duration::from_nanos(number(words, "present-ns")?),
            failure: failure.trim().to_owned(),
        })
    }
}

/// The value behind a name in an answer.
pub fn word<'a>(words: &'a str, name: &str) -> Result<&'a str> {
    let word = words.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    word.with_context(|| format!("no {name} in {words:?}"))
}

/// The number behind a name in an answer.
pub fn number(words: &str, name: &str) -> Result<u64> {
    let word = word(words, name)?;
    word.parse().with_context(|| format!("{name}={word}"))
}
