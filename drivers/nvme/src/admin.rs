//! The admin queue: the one command of the bring-up, and those that watch a controller that is up.

use crate::{
    command,
    device::Controller,
    init::State,
    queue::{Completion, Entry, QueuePair},
    regs::ControllerRegisters,
    slots::Slots,
    spec::code,
};
use ::device::DmaRegion;
use core::time::Duration;

/// Entries of the admin queues.
const ENTRIES: u16 = 32;

/// How long an admin command may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most event requests that are kept with the controller.
const EVENTS: u16 = 4;

/// Kinds of events [NVMe-2.1 5.1.2].
const EVENT_KINDS: [&str; 8] =
    ["error", "health", "notice", "immediate", "one-shot", "reserved", "command set", "vendor"];

/// What an admin command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The step of the bring-up.
    Step,
    /// Gives a block command up: its pair and identifier.
    Abort(u16, u16),
    /// Waits for an event.
    Event,
    /// Reads the log of an event, of which the controller has said so much.
    Log(u32),
}

/// An admin command in flight.
struct Asked {
    purpose: Purpose,
    since: Duration,
}

/// The admin queue.
pub(crate) struct Admin {
    queue: QueuePair,
    asked: Slots<Asked>,
    /// Commands in flight that are due to be answered: events may take for ever.
    due: usize,
}

impl Admin {
    pub(crate) fn new(submission: DmaRegion, completion: DmaRegion) -> Self {
        let queue = QueuePair::new(0, submission, completion, ENTRIES);
        let asked = Slots::new(queue.entries() - 1);
        Self { queue, asked, due: 0 }
    }

    /// Starts anew with a controller that was stopped.
    pub(crate) fn restart(&mut self) {
        self.queue.restart();
        self.asked = Slots::new(self.queue.entries() - 1);
        self.due = 0;
    }

    /// Tells a stopped controller to start.
    pub(crate) fn enable(&self, registers: &ControllerRegisters) {
        let (submission, completion) = self.queue.addresses();
        registers.enable(submission, completion, self.queue.entries());
    }

    /// Gives the controller a command. One that has no room is not given: there are never so many.
    pub(crate) fn ask(
        &mut self,
        purpose: Purpose,
        entry: Entry,
        now: Duration,
        registers: &ControllerRegisters,
    ) {
        if let Ok(identifier) = self.asked.insert(Asked { purpose, since: now }) {
            self.queue.push(&command::with_identifier(entry, identifier));
            self.queue.publish(registers);
            self.due += usize::from(purpose != Purpose::Event);
        }
    }

    /// Whether a command is due to be answered.
    pub(crate) fn is_waiting(&self) -> bool {
        self.due > 0
    }

    /// Whether a command has taken too long.
    pub(crate) fn is_late(&mut self, now: Duration) -> bool {
        let late =
            |asked: &Asked| asked.purpose != Purpose::Event && now.saturating_sub(asked.since) > PATIENCE;
        self.asked.iter_mut().any(|(_, asked)| late(asked))
    }

    /// Whether the log of an event is being read.
    fn is_reading_log(&mut self) -> bool {
        self.asked.iter_mut().any(|(_, asked)| matches!(asked.purpose, Purpose::Log(_)))
    }

    /// The next completion and what it is for. Errors: an identifier that no command has.
    fn next(&mut self, registers: &ControllerRegisters) -> Option<Result<(Purpose, Completion), u16>> {
        let completion = self.queue.next()?;
        self.queue.acknowledge(registers);
        let asked = self.asked.take(completion.identifier);
        if asked.as_ref().is_some_and(|asked| asked.purpose != Purpose::Event) {
            self.due -= 1;
        }
        Some(asked.map(|asked| (asked.purpose, completion)).ok_or(completion.identifier))
    }
}

impl Controller {
    /// Takes what the controller has completed on the admin queue.
    pub(crate) fn reap_admin(&mut self) {
        if matches!(self.state, State::Stopped | State::Disabling { .. } | State::Failed(_)) {
            return;
        }
        while let Some(next) = self.admin.next(&self.registers) {
            let (purpose, completion) = match next {
                Ok(next) => next,
                Err(identifier) => {
                    log::error!("the controller completed {identifier:#x}, which it does not have");
                    self.reset();
                    return;
                }
            };
            match purpose {
                Purpose::Step => self.step_done(&completion),
                Purpose::Abort(..) => self.abort_done(&completion),
                Purpose::Event => self.event(&completion),
                Purpose::Log(event) => {
                    // Now the next event of this kind can come.
                    report(event);
                    self.ask(Purpose::Event, command::event());
                }
            }
        }
    }

    /// Gives the controller an admin command.
    pub(crate) fn ask(&mut self, purpose: Purpose, entry: Entry) {
        self.admin.ask(purpose, entry, self.now, &self.registers);
    }

    /// Asks to be told of events, as many at once as the controller takes.
    pub(crate) fn ask_for_events(&mut self) {
        for _ in 0..self.facts.events.min(EVENTS) {
            self.ask(Purpose::Event, command::event());
        }
    }

    /// Reads the log of an event, without which no other of its kind comes, and then reports it.
    fn event(&mut self, completion: &Completion) {
        if completion.status & code::MASK != code::SUCCESS {
            // Too many were asked for, or the controller is being stopped: this one is not asked for again.
            return;
        }
        if self.admin.is_reading_log() {
            report(completion.result);
            self.ask(Purpose::Event, command::event());
        } else {
            let [_, _, log, _] = completion.result.to_le_bytes();
            self.ask(Purpose::Log(completion.result), command::read_log(log, self.page.bus()));
        }
    }
}

/// Logs an event [NVMe-2.1 5.1.2]: type in bits 0 to 2, information in bits 8 to 15, log page in bits 16 to 23.
fn report(event: u32) {
    let [kind, information, log, _] = event.to_le_bytes();
    let name = EVENT_KINDS.get(usize::from(kind & 7)).copied().unwrap_or_default();
    log::warn!("the controller reports: {name} event {information:#x}, log {log:#x}");
}
