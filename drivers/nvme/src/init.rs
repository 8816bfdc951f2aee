//! Bringing the controller up, and down again.
//!
//! ```text
//!              start                  not ready            ready
//!   Stopped ---------> Disabling ---------------> Enabling -------> Starting(step) ---> Live
//!      ^                  ^  |                       |                 |                 |
//!      |                  |  `-- time is up ---------+-----------------+--> Failed       |
//!      | complete         `------------------- reset ------------------+-----------------+
//!   Stopping <------------------------------ shut_down ----------------------------------'
//! ```
//!
//! The steps, one admin command each: identify the controller; list its namespaces; identify each; agree on a number of
//! queues; for each pair make the completion and then the submission queue; ask for events. After a reset they are
//! taken again, and then every command that was in flight is given to the controller once more.

use crate::{
    admin::Purpose,
    command,
    device::{Controller, Failure, maximum_transfer},
    identify::{self, MAXIMUM_NAMESPACES, NamespaceFacts},
    names::is_ebs,
    queue::Completion,
    regs::Condition,
    spec::{PAGE_BYTES, code, identify as what},
};
use alloc::{vec, vec::Vec};
use block::{Access, Disk, Identity};
use core::time::Duration;

/// How long a shutdown may take where the controller does not say.
const SHUTDOWN: Duration = Duration::from_secs(10);

/// The most blocks of a write of zeroes, whose field has 16 bits.
const MAXIMUM_ZERO: u32 = 1 << 16;

/// Where the controller stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It is off, and was told nothing.
    Stopped,
    /// It was told to stop, and has until then.
    Disabling { until: Duration },
    /// It was told to start, and has until then.
    Enabling { until: Duration },
    /// It works on this step.
    Starting(Step),
    /// It takes commands.
    Live,
    /// It was told that it is not needed any more, and has until then.
    Stopping { until: Duration },
    /// It cannot be used.
    Failed(Failure),
}

/// One admin command of the bring-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Identify,
    Namespaces,
    /// Those that are still to be identified, the first one now.
    Namespace(Vec<u32>),
    QueueCount,
    CompletionQueue(u16),
    SubmissionQueue(u16),
    Events,
}

impl Step {
    const fn name(&self) -> &'static str {
        match self {
            Self::Identify => "identify itself",
            Self::Namespaces => "list its namespaces",
            Self::Namespace(_) => "identify a namespace",
            Self::QueueCount => "say how many queues there are",
            Self::CompletionQueue(_) => "make a completion queue",
            Self::SubmissionQueue(_) => "make a submission queue",
            Self::Events => "report events",
        }
    }
}

impl Controller {
    /// Tells the controller to stop, whatever it does, and brings it up from there.
    pub(crate) fn start(&mut self) {
        if self.registers.condition() == Condition::Gone {
            return self.fail(Failure::Gone);
        }
        if !self.capabilities.has_blocks {
            return self.fail(Failure::Unsupported("no NVM command set"));
        }
        if self.capabilities.page_shift != PAGE_BYTES.ilog2() {
            return self.fail(Failure::Unsupported("no pages of 4 KiB"));
        }
        self.registers.disable();
        self.state = State::Disabling { until: self.now + self.capabilities.timeout };
    }

    /// Tells a controller that works that it is not needed any more. To be followed by [`Self::advance`] until
    /// [`Self::is_stopped`].
    pub(crate) fn shut_down(&mut self) {
        if matches!(self.state, State::Live) {
            self.registers.shut_down();
            self.state = State::Stopping { until: self.now + SHUTDOWN.max(self.capabilities.timeout) };
        }
    }

    /// Whether it takes commands.
    pub fn is_live(&self) -> bool {
        self.state == State::Live
    }

    /// Whether it is off, or cannot be used any more.
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, State::Stopped | State::Failed(_))
    }

    /// Why it cannot be used, if so.
    pub fn failed(&self) -> Option<&Failure> {
        match &self.state {
            State::Failed(failure) => Some(failure),
            _ => None,
        }
    }

    pub(crate) fn fail(&mut self, failure: Failure) {
        log::error!("{failure}");
        self.state = State::Failed(failure);
    }

    /// Takes the next step, if it is time.
    pub fn advance(&mut self) {
        let condition = self.registers.condition();
        if condition == Condition::Gone && !self.is_stopped() {
            return self.fail(Failure::Gone);
        }
        match self.state {
            State::Disabling { until } => match condition {
                Condition::NotReady => self.enable(),
                _ if self.now > until => self.fail(Failure::Timeout("stop")),
                _ => {}
            },
            State::Enabling { until } => match condition {
                Condition::Ready => self.take(Step::Identify),
                Condition::Fatal => self.fail(Failure::Fatal),
                _ if self.now > until => self.fail(Failure::Timeout("start")),
                _ => {}
            },
            State::Starting(_) => {
                self.reap_admin();
                if let State::Starting(step) = &self.state {
                    let name = step.name();
                    if condition == Condition::Fatal {
                        self.fail(Failure::Fatal);
                    } else if self.admin.is_late(self.now) {
                        self.fail(Failure::Timeout(name));
                    }
                }
            }
            State::Stopping { until } => {
                if self.registers.is_shut_down() {
                    self.registers.disable();
                    self.state = State::Stopped;
                } else if self.now > until {
                    self.fail(Failure::Timeout("shut down"));
                }
            }
            State::Stopped | State::Live | State::Failed(_) => {}
        }
    }

    /// Starts a controller that has stopped: it knows nothing, and has nothing of ours.
    fn enable(&mut self) {
        self.admin.restart();
        for pair in &mut self.pairs {
            pair.queue.restart();
        }
        if self.plan.vectors == 0 {
            self.registers.mask_line();
        } else if self.plan.line {
            self.registers.unmask_line();
        }
        self.admin.enable(&self.registers);
        self.state = State::Enabling { until: self.now + self.capabilities.timeout };
    }

    /// Asks for a step.
    fn take(&mut self, step: Step) {
        let page = self.page.bus();
        let entry = match &step {
            Step::Identify => command::identify(what::CONTROLLER, 0, page),
            Step::Namespaces => command::identify(what::ACTIVE_NAMESPACES, 0, page),
            Step::Namespace(left) => {
                let Some(first) = left.first() else { return self.take(Step::QueueCount) };
                command::identify(what::NAMESPACE, *first, page)
            }
            Step::QueueCount => command::set_queue_count(self.plan.pairs),
            Step::CompletionQueue(index) | Step::SubmissionQueue(index) => {
                let Some(pair) = self.pairs.get(usize::from(*index)) else { return self.take(Step::Events) };
                let (number, entries) = (pair.queue.number(), pair.queue.entries());
                let (submission, completion) = pair.queue.addresses();
                if matches!(step, Step::CompletionQueue(_)) {
                    command::create_completion(number, entries, completion, self.plan.vector(*index))
                } else {
                    command::create_submission(number, entries, submission)
                }
            }
            Step::Events => command::set_events(),
        };
        self.page.clear();
        self.state = State::Starting(step);
        self.ask(Purpose::Step, entry);
    }

    /// Goes on after a step was answered.
    pub(crate) fn step_done(&mut self, completion: &Completion) {
        let State::Starting(step) = self.state.clone() else { return };
        let good = completion.status & code::MASK == code::SUCCESS;
        // Without events the controller works as well.
        if !good && step != Step::Events {
            return self.fail(Failure::Refused(step.name(), completion.status & code::MASK));
        }
        match step {
            Step::Identify => {
                self.facts = identify::controller(&self.read_page(), self.capabilities.page_shift);
                self.patience.allow_aborts(self.facts.aborts);
                if is_ebs(self.facts.vendor, &self.facts.model) {
                    self.patience.wait_long();
                }
                if self.facts.lists_namespaces {
                    self.take(Step::Namespaces);
                } else {
                    self.identify_all((1..=self.facts.namespaces).take(MAXIMUM_NAMESPACES).collect());
                }
            }
            Step::Namespaces => self.identify_all(identify::active_namespaces(&self.read_page(), 0)),
            Step::Namespace(mut left) => {
                if !left.is_empty() {
                    let number = left.remove(0);
                    self.note_namespace(number);
                }
                self.take(Step::Namespace(left));
            }
            Step::QueueCount => {
                // The numbers of submission and completion queues, stored minus one.
                let (submission, completion) = (completion.result & 0xffff, completion.result >> 16);
                let offered = u16::try_from(submission.min(completion) + 1).unwrap_or(u16::MAX);
                // There are at most 16 pairs.
                let granted = offered.min(self.plan.pairs).min(self.pairs.len() as u16);
                if granted < self.granted {
                    // Commands of a pair that is no more could never be answered.
                    return self.fail(Failure::Unsupported("fewer queues than before"));
                }
                self.granted = if self.granted == 0 { granted } else { self.granted };
                self.take(Step::CompletionQueue(0));
            }
            Step::CompletionQueue(index) => self.take(Step::SubmissionQueue(index)),
            Step::SubmissionQueue(index) if index + 1 < self.granted => {
                self.take(Step::CompletionQueue(index + 1));
            }
            Step::SubmissionQueue(_) => self.take(Step::Events),
            Step::Events => {
                self.state = State::Live;
                if good {
                    self.ask_for_events();
                }
                self.ask_again();
            }
        }
    }

    fn read_page(&self) -> Vec<u8> {
        let mut bytes = vec![0; PAGE_BYTES as usize];
        // It is a page: all of it is there.
        let _all = self.page.read(0, &mut bytes);
        bytes
    }

    /// Identifies these namespaces. After a reset the disks are what they were: clients hold views of them.
    fn identify_all(&mut self, namespaces: Vec<u32>) {
        if self.disks.is_empty() {
            self.take(Step::Namespace(namespaces));
        } else {
            self.take(Step::QueueCount);
        }
    }

    fn note_namespace(&mut self, number: u32) {
        match identify::namespace(&self.read_page(), &self.facts) {
            Ok(facts) => {
                self.disks.push(self.disk(facts));
                self.namespaces.push(number);
            }
            Err(problem) => log::warn!("namespace {number} is not used: {problem:?}"),
        }
    }

    fn disk(&self, namespace: NamespaceFacts) -> Disk {
        let facts = &self.facts;
        let blocks = maximum_transfer(facts) / namespace.block_bytes;
        let name = if namespace.name.is_empty() { facts.name.clone() } else { namespace.name };
        Disk {
            block_bytes: namespace.block_bytes,
            blocks: namespace.blocks,
            maximum_blocks: blocks.clamp(1, MAXIMUM_ZERO),
            maximum_discard: if facts.discards { u32::MAX } else { 0 },
            maximum_zero: if facts.zeroes { MAXIMUM_ZERO } else { 0 },
            access: if namespace.write_protected { Access::ReadOnly } else { Access::ReadWrite },
            write_cache: facts.write_cache,
            forced_unit_access: true,
            identity: Identity {
                model: facts.model.clone(),
                serial: facts.serial.clone(),
                firmware: facts.firmware.clone(),
                name,
                identifier: namespace.identifier,
            },
        }
    }
}
