//! The end in order: what is in flight is finished, each disk's write cache is written, and the device is reset.
//!
//! ```text
//!   Live, nothing is taken --nothing in flight--> Flushing, disk by disk --all asked--> Ending --reset--> Stopped
//!      `------------------------- time is up ------------'--------------------------------^
//! ```
//!
//! A reset on the way, because the device asks for it or a command is late, is as ever: the device is brought back and the
//! rest is asked for again, as long as there is time.

use super::{Format, Outcome, REQUEST_BYTES, State, Step, VirtioDisk};
use crate::{ResponseOrder, hardware::EXTRA_BYTES};
use alloc::{format, string::String};
use block::{Command, Operation, Status};
use core::time::Duration;

/// How long the end may take, until the reset. A supervisor kills who needs 3 s.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the reset may take then.
const RESET: Duration = Duration::from_millis(500);

/// The end that was asked for.
#[derive(Default)]
pub(super) struct Stop {
    /// When its time is up, once it was asked for.
    by: Option<Duration>,
    /// The first thing that could not be done.
    missing: Option<String>,
}

impl Stop {
    /// Whether it was asked for.
    pub(super) fn is_asked(&self) -> bool {
        self.by.is_some()
    }

    fn miss(&mut self, what: String) {
        log::warn!("{what}");
        self.missing.get_or_insert(what);
    }

    /// How it went, once the device is reset.
    pub(super) fn result(&self) -> Result<(), String> {
        self.missing.clone().map_or(Ok(()), Err)
    }
}

impl<F: Format> VirtioDisk<F> {
    /// Begins the end.
    pub(super) fn begin_stop(&mut self) {
        self.stop.by = Some(self.now + PATIENCE);
    }

    /// Takes the next step of an end that was asked for; whether there was one to take.
    pub(super) fn step_to_stop(&mut self) -> bool {
        let Some(by) = self.stop.by else { return false };
        let in_time = self.now <= by;
        match self.state {
            State::Stopped | State::Failed(_) => {}
            State::Ending { .. } if self.hardware.is_reset() => self.state = State::Stopped,
            State::Ending { until } if self.now > until => {
                self.state = State::Failed("the device does not reset".into());
            }
            State::Ending { .. } => {}
            State::Flushing { disk } if !in_time => {
                self.stop.miss(format!("disk {} does not flush in time", disk + 1));
                self.end();
            }
            State::Live | State::Resetting { .. } if !in_time => {
                self.stop.miss(format!("{} commands are not done in time", self.in_flight()));
                self.end();
            }
            State::Resetting { .. } => return false,
            State::Live | State::Flushing { .. } if self.hardware.needs_reset() => return false,
            State::Live if self.in_flight() > 0 => return false,
            State::Live => self.flush_from(0),
            State::Flushing { disk } => self.look_for_flush(disk),
        }
        true
    }

    /// Flushes the first disk from this one on that has a write cache. The device has nothing else to do.
    fn flush_from(&mut self, first: usize) {
        for disk in first..self.format.disks().len() {
            if !self.format.disks().get(disk).is_some_and(|facts| facts.write_cache) {
                continue;
            }
            match self.ask_for_flush(disk) {
                Ok(()) => {
                    self.state = State::Flushing { disk };
                    return;
                }
                Err(status) => self.stop.miss(format!("disk {} cannot flush: {status:?}", disk + 1)),
            }
        }
        self.end();
    }

    fn ask_for_flush(&mut self, disk: usize) -> Result<(), Status> {
        let (mut header, mut extra) = ([0; REQUEST_BYTES as usize], [0; EXTRA_BYTES as usize]);
        let flush = Command { operation: Operation::Flush, block: 0, blocks: 0, offset: 0 };
        self.format.encode(disk, &flush, Step::Whole, &mut header, &mut extra)?;
        let header = header.get(..F::REQUEST as usize).ok_or(Status::Device)?;
        self.hardware.ask(header, F::RESPONSE, 0, ResponseOrder::Last).map_err(|_| Status::Device)
    }

    fn look_for_flush(&mut self, disk: usize) {
        let outcome = match self.hardware.answer(F::RESPONSE, 0) {
            Ok(None) => return,
            Ok(Some(reply)) => self.format.decode(&reply.answer),
            Err(fault) => return self.reset(&format!("{fault}")),
        };
        match outcome {
            Outcome::Over(Status::Done) => self.flush_from(disk + 1),
            Outcome::Over(status) => {
                self.stop.miss(format!("disk {} does not flush: {status:?}", disk + 1));
                self.flush_from(disk + 1);
            }
            Outcome::Again => self.flush_from(disk),
        }
    }

    /// Resets the device for good.
    fn end(&mut self) {
        self.hardware.begin_reset();
        self.state = State::Ending { until: self.now + RESET };
    }
}
