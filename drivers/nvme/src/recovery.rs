//! Commands that take too long, and controllers that lost their way.
//!
//! ```text
//!   given ---- patience is up ----> abort asked for ---- grace is up, or the abort fails late ----> controller reset
//!     ^                                  |                                                               |
//!     |                                  v                                                               v
//!     `---------- given again <---- completed as aborted           all that was in flight is given again when it is up
//! ```
//!
//! A command keeps its place until the controller has answered it, or cannot any more: after it was stopped. So none is
//! forgotten, and none is answered twice. Giving a command again is harmless: reads and writes of the
//! same blocks with the same data, whose client has not been told that they were done.

use crate::{
    admin::Purpose,
    command,
    device::{Asked, Controller, Failure},
    init::State,
    queue::Completion,
    regs::Condition,
    slots,
    spec::code,
};
use block::Status;
use core::time::Duration;

/// How long a command that was aborted may take to say so.
const GRACE: Duration = Duration::from_secs(5);

/// How often one command is given to the controller again.
const RETRIES: u8 = 3;

/// How often the controller is reset without finishing anything between.
const RESETS: u32 = 4;

/// How long commands of a volume behind a network may take: longer than any of its outages should.
const LONG: Duration = Duration::from_secs(3600);

/// Deadlines, and counts of what was done about them.
pub(crate) struct Patience {
    limit: Duration,
    /// Commands that can be aborted at once.
    aborts: u16,
    aborting: u16,
    resets: u64,
    /// Resets since the controller was last seen to finish a command.
    in_a_row: u32,
}

impl Patience {
    pub(crate) const fn new(limit: Duration) -> Self {
        Self { limit, aborts: 1, aborting: 0, resets: 0, in_a_row: 0 }
    }

    pub(crate) fn allow_aborts(&mut self, aborts: u16) {
        // More than a few at once help nobody.
        self.aborts = aborts.clamp(1, 4);
    }

    pub(crate) fn wait_long(&mut self) {
        self.limit = self.limit.max(LONG);
    }

    /// The controller has finished a command.
    pub(crate) const fn note_progress(&mut self) {
        self.in_a_row = 0;
    }

    pub(crate) const fn resets(&self) -> u64 {
        self.resets
    }

    /// Whether a command that failed is to be given again; notes that it is.
    pub(crate) fn retries(&mut self, asked: &mut Asked, status: u16, now: Duration) -> bool {
        let worth_it = match status & code::MASK {
            code::ABORTED | code::QUEUE_DELETED => true,
            code::INTERNAL | code::NOT_READY => status & code::DO_NOT_RETRY == 0,
            _ => false,
        };
        if !worth_it || asked.retries >= RETRIES {
            return false;
        }
        asked.retries += 1;
        asked.since = now;
        // An abort that was late may still hit it: then it is given once more.
        asked.abort = None;
        true
    }
}

impl Controller {
    /// Looks after the deadlines of all commands, while the controller works.
    pub(crate) fn watch(&mut self) {
        if !matches!(self.state, State::Live) {
            return;
        }
        if self.registers.condition() != Condition::Ready || self.admin.is_late(self.now) {
            log::error!("the controller does not work any more");
            return self.reset();
        }
        let (now, limit) = (self.now, self.patience.limit);
        let (mut late, mut lost) = (None, false);
        for (index, pair) in self.pairs.iter_mut().enumerate() {
            for (identifier, asked) in pair.asked.iter_mut() {
                match asked.abort {
                    Some(since) if now.saturating_sub(since) > GRACE => lost = true,
                    None if now.saturating_sub(asked.since) > limit
                        && self.patience.aborting < self.patience.aborts =>
                    {
                        late = Some((index, identifier));
                    }
                    _ => {}
                }
            }
        }
        if lost {
            log::error!("a command cannot be aborted");
            return self.reset();
        }
        if let Some((index, identifier)) = late {
            self.abort(index, identifier);
        }
    }

    fn abort(&mut self, index: usize, identifier: u16) {
        let Some(pair) = self.pairs.get_mut(index) else { return };
        let number = pair.queue.number();
        let Some(asked) = pair.asked.get_mut(identifier) else { return };
        asked.abort = Some(self.now);
        log::warn!("command {} of queue {number} takes too long: abort", slots::index(identifier));
        self.patience.aborting += 1;
        self.ask(Purpose::Abort(number, identifier), command::abort(number, identifier));
    }

    /// An abort was answered. Whether it worked is told by the command itself; if not, its grace ends.
    pub(crate) fn abort_done(&mut self, _: &Completion) {
        self.patience.aborting = self.patience.aborting.saturating_sub(1);
    }

    /// Stops the controller and starts it again.
    pub(crate) fn reset(&mut self) {
        self.patience.resets += 1;
        self.patience.in_a_row += 1;
        self.patience.aborting = 0;
        if self.patience.in_a_row > RESETS {
            return self.fail(Failure::Resets);
        }
        log::warn!("the controller is reset, with {} commands in flight", self.in_flight);
        self.start();
    }

    /// Gives a controller that is up again all that it had, less what it had too often.
    pub(crate) fn ask_again(&mut self) {
        let (now, mut lost) = (self.now, self.in_flight);
        for pair in &mut self.pairs {
            let mut given_up = alloc::vec::Vec::new();
            for (identifier, asked) in pair.asked.iter_mut() {
                if asked.retries >= RETRIES {
                    given_up.push(identifier);
                    continue;
                }
                (asked.retries, asked.since, asked.abort) = (asked.retries + 1, now, None);
                pair.queue.push(&asked.entry);
            }
            for identifier in given_up {
                if let Some(asked) = pair.asked.take(identifier) {
                    lost -= 1;
                    self.finished.push((asked.ticket, Status::TimedOut));
                }
            }
            pair.queue.publish(&self.registers);
        }
        self.in_flight = lost;
    }
}
