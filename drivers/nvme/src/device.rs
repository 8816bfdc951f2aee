//! One controller: everything that the driver does without waiting.

use crate::{
    admin::Admin,
    command,
    identify::ControllerFacts,
    init::State,
    pool::{MAXIMUM_TRANSFER, Pool},
    queue::{Entry, QueuePair},
    recovery::Patience,
    regs::{Capabilities, ControllerRegisters},
    slots::{self, Slots},
    spec::{COMPLETION_BYTES, PAGE_BYTES, RANGE_BYTES, SUBMISSION_BYTES, code},
};
use ::device::{DmaRegion, Registers};
use alloc::{boxed::Box, rc::Rc, string::String, vec::Vec};
use block::{Command, Disk, Engine, Operation, Refusal, Status, Ticket};
use core::{fmt, time::Duration};

/// The most entries of an I/O queue.
const MAXIMUM_ENTRIES: u32 = 256;

/// The most pairs of I/O queues.
const MAXIMUM_PAIRS: u16 = 16;

/// While it works and has commands, how often their deadlines are looked at.
const WATCH: Duration = Duration::from_millis(500);

/// How often it is looked at where no interrupt tells, and while it is being reset.
const POLL: Duration = Duration::from_millis(1);

/// How queues and interrupts are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Pairs of I/O queues that are wanted.
    pub pairs: u16,
    /// Interrupt vectors; 0 for none at all.
    pub vectors: u16,
    /// Whether the interrupt is a line in place of vectors.
    pub line: bool,
    /// How long a command may take before it is aborted.
    pub patience: Duration,
}

impl Plan {
    /// As many pairs as there are processors, or vectors besides that of the admin queue.
    #[must_use]
    pub fn for_pairs(self, pairs: u16) -> Self {
        let vectors = self.vectors.saturating_sub(1).max(1);
        Self { pairs: pairs.clamp(1, MAXIMUM_PAIRS).min(vectors), ..self }
    }

    /// The vector of a pair, counted from 0.
    pub(crate) fn vector(&self, pair: u16) -> Option<u16> {
        match self.vectors {
            0 => None,
            1 => Some(0),
            vectors => Some(1 + pair % (vectors - 1)),
        }
    }
}

/// Memory that only driver and controller reach, cut into queues.
pub struct Memory {
    pub(crate) admin_submission: DmaRegion,
    pub(crate) admin_completion: DmaRegion,
    /// Where Identify and logs answer.
    pub(crate) page: DmaRegion,
    pairs: Vec<[DmaRegion; 3]>,
}

impl Memory {
    /// Pages for so many pairs of I/O queues.
    pub const fn pages(pairs: u16) -> u32 {
        3 + pairs as u32 * PAIR_PAGES
    }

    /// Cuts memory of [`Self::pages`] pages. `None` when it is smaller.
    pub fn new(whole: &DmaRegion, pairs: u16) -> Option<Self> {
        let page = |number| whole.part(number * PAGE_BYTES, PAGE_BYTES);
        let pair = |number: u16| {
            let first = (3 + u32::from(number) * PAIR_PAGES) * PAGE_BYTES;
            let submission = whole.part(first, SUBMISSION_PAGES * PAGE_BYTES)?;
            let completion = whole.part(first + SUBMISSION_PAGES * PAGE_BYTES, PAGE_BYTES)?;
            let ranges = whole.part(first + (SUBMISSION_PAGES + 1) * PAGE_BYTES, PAGE_BYTES)?;
            Some([submission, completion, ranges])
        };
        Some(Self {
            admin_submission: page(0)?,
            admin_completion: page(1)?,
            page: page(2)?,
            pairs: (0..pairs).map(pair).collect::<Option<_>>()?,
        })
    }
}

const SUBMISSION_PAGES: u32 = MAXIMUM_ENTRIES * SUBMISSION_BYTES / PAGE_BYTES;
const PAIR_PAGES: u32 = SUBMISSION_PAGES + 2;
const _: () = assert!(MAXIMUM_ENTRIES * COMPLETION_BYTES == PAGE_BYTES);
const _: () = assert!(MAXIMUM_ENTRIES * RANGE_BYTES == PAGE_BYTES);

/// Why the controller cannot be used any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It does not answer at all.
    Gone,
    /// It is of a kind that this driver does not know.
    Unsupported(&'static str),
    /// It did not do this in the time that it says itself.
    Timeout(&'static str),
    /// It says that it cannot go on.
    Fatal,
    /// It answered this command with this status.
    Refused(&'static str, u16),
    /// It was reset again and again.
    Resets,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => write!(f, "the controller does not answer"),
            Self::Unsupported(what) => write!(f, "the controller is not supported: {what}"),
            Self::Timeout(what) => write!(f, "the controller took too long to {what}"),
            Self::Fatal => write!(f, "the controller says that it failed"),
            Self::Refused(what, status) => {
                write!(f, "the controller refused to {what}: status {status:#x}")
            }
            Self::Resets => write!(f, "resets do not bring the controller back"),
        }
    }
}

impl core::error::Error for Failure {}

/// A block command in flight.
pub(crate) struct Asked {
    pub(crate) ticket: Ticket,
    pub(crate) entry: Entry,
    /// When it was given to the controller.
    pub(crate) since: Duration,
    /// How often it was given to it before.
    pub(crate) retries: u8,
    /// Whether it was asked to be aborted, and when.
    pub(crate) abort: Option<Duration>,
}

/// A pair of I/O queues and what is in flight on it.
pub(crate) struct IoPair {
    pub(crate) queue: QueuePair,
    pub(crate) asked: Slots<Asked>,
    /// One range for each slot, for discards.
    ranges: DmaRegion,
}

/// One controller.
pub struct Controller {
    pub(crate) registers: ControllerRegisters,
    pub(crate) capabilities: Capabilities,
    pub(crate) plan: Plan,
    pub(crate) page: DmaRegion,
    pub(crate) admin: Admin,
    pub(crate) pairs: Vec<IoPair>,
    /// Pairs that the controller granted.
    pub(crate) granted: u16,
    pub(crate) state: State,
    pub(crate) facts: ControllerFacts,
    pub(crate) disks: Vec<Disk>,
    /// The namespace of each disk.
    pub(crate) namespaces: Vec<u32>,
    pub(crate) now: Duration,
    pub(crate) patience: Patience,
    /// Requests that are over without the controller's word.
    pub(crate) finished: Vec<(Ticket, Status)>,
    pub(crate) in_flight: usize,
}

impl Controller {
    /// Takes a controller over and tells it to stop; what it did before is unknown.
    pub fn new(registers: Box<dyn Registers>, memory: Memory, plan: Plan, now: Duration) -> Self {
        let registers = ControllerRegisters::new(registers);
        let capabilities = registers.capabilities();
        let entries = capabilities.entries.min(MAXIMUM_ENTRIES) as u16;
        let mut pairs = Vec::new();
        for (number, [submission, completion, ranges]) in (1..).zip(memory.pairs) {
            let queue = QueuePair::new(number, submission, completion, entries);
            // One entry stays free: a full queue would look like an empty one.
            let asked = Slots::new(queue.entries() - 1);
            pairs.push(IoPair { queue, asked, ranges });
        }
        let mut controller = Self {
            registers,
            capabilities,
            plan,
            page: memory.page,
            admin: Admin::new(memory.admin_submission, memory.admin_completion),
            granted: 0,
            pairs,
            state: State::Stopped,
            facts: ControllerFacts::default(),
            disks: Vec::new(),
            namespaces: Vec::new(),
            now,
            patience: Patience::new(plan.patience),
            finished: Vec::new(),
            in_flight: 0,
        };
        controller.start();
        controller
    }

    /// What it says of itself; empty until it is up.
    pub fn facts(&self) -> &ControllerFacts {
        &self.facts
    }

    /// The namespaces of its disks.
    pub fn namespaces(&self) -> &[u32] {
        &self.namespaces
    }

    /// Pairs of I/O queues that are used.
    pub fn pairs(&self) -> u16 {
        self.granted
    }

    /// The pair that serves a queue.
    fn pair_of(&self, queue: u16) -> usize {
        usize::from(queue % self.granted.max(1))
    }

    /// The two data pointers of a command, and its range where it is a discard. `None` for what lies outside.
    fn data(&self, disk: &Disk, command: &Command, pool: &Pool) -> Option<[u64; 2]> {
        if !command.operation.has_data() {
            return Some([0, 0]);
        }
        pool.pointers(command.offset, command.blocks.checked_mul(disk.block_bytes)?)
    }

    /// Takes what the controller has completed on one pair.
    fn reap_pair(&mut self, index: usize, done: &mut Vec<(Ticket, Status)>) -> Result<(), u16> {
        let Some(pair) = self.pairs.get_mut(index) else { return Ok(()) };
        let mut result = Ok(());
        while let Some(completion) = pair.queue.next() {
            let status = completion.status;
            if status & code::MASK == code::SUCCESS {
                let Some(asked) = pair.asked.take(completion.identifier) else {
                    result = Err(completion.identifier);
                    break;
                };
                self.in_flight -= 1;
                self.patience.note_progress();
                done.push((asked.ticket, Status::Done));
                continue;
            }
            let Some(asked) = pair.asked.get_mut(completion.identifier) else {
                result = Err(completion.identifier);
                break;
            };
            if self.patience.retries(asked, status, self.now) {
                if let Some(renewed) = pair.asked.renew(completion.identifier)
                    && let Some(asked) = pair.asked.get_mut(renewed)
                {
                    asked.entry = command::with_identifier(asked.entry, renewed);
                    pair.queue.push(&asked.entry);
                }
                continue;
            }
            if let Some(asked) = pair.asked.take(completion.identifier) {
                self.in_flight -= 1;
                done.push((asked.ticket, answer(status, asked.abort.is_some())));
            }
        }
        pair.queue.acknowledge(&self.registers);
        pair.queue.publish(&self.registers);
        result
    }
}

/// What a client is told of an error.
fn answer(status: u16, aborted: bool) -> Status {
    match status & code::MASK {
        code::ABORTED | code::QUEUE_DELETED if aborted => Status::TimedOut,
        code::OUT_OF_RANGE => Status::OutOfRange,
        code::INVALID_OPCODE | code::INVALID_FIELD => Status::Unsupported,
        code::WRITE_PROTECTED | code::READ_ONLY_RANGE => Status::ReadOnly,
        other if other & code::TYPE_MASK == code::MEDIUM_TYPE => Status::Medium,
        _ => Status::Device,
    }
}

impl Engine for Controller {
    type Pool = Rc<Pool>;

    fn set_time(&mut self, now: Duration) {
        self.now = now;
    }

    fn disks(&self) -> &[Disk] {
        &self.disks
    }

    fn has_room(&self, queue: u16) -> bool {
        matches!(self.state, State::Live)
            && self.pairs.get(self.pair_of(queue)).is_some_and(|pair| pair.asked.has_room())
    }

    fn submit(
        &mut self,
        disk: usize,
        ticket: Ticket,
        command: &Command,
        pool: &Rc<Pool>,
    ) -> Result<(), Refusal> {
        if !matches!(self.state, State::Live) {
            return Err(Refusal::Full);
        }
        let outside = Refusal::Answer(Status::OutOfRange);
        let (Some(namespace), Some(facts)) = (self.namespaces.get(disk).copied(), self.disks.get(disk))
        else {
            return Err(outside);
        };
        let data = self.data(facts, command, pool).ok_or(outside)?;
        let index = self.pair_of(ticket.queue);
        let Some(pair) = self.pairs.get_mut(index) else { return Err(Refusal::Full) };
        let asked = Asked {
            ticket,
            entry: command::block(namespace, command, data),
            since: self.now,
            retries: 0,
            abort: None,
        };
        let Ok(identifier) = pair.asked.insert(asked) else { return Err(Refusal::Full) };
        let Some(asked) = pair.asked.get_mut(identifier) else { return Err(Refusal::Full) };
        if command.operation == Operation::Discard {
            let place = u32::from(slots::index(identifier)) * RANGE_BYTES;
            pair.ranges.write_u32(place, 0);
            pair.ranges.write_u32(place + 4, command.blocks);
            pair.ranges.write_u64(place + 8, command.block);
            asked.entry = command::block(namespace, command, [pair.ranges.bus() + u64::from(place), 0]);
        }
        asked.entry = command::with_identifier(asked.entry, identifier);
        pair.queue.push(&asked.entry);
        self.in_flight += 1;
        Ok(())
    }

    fn publish(&mut self) {
        if matches!(self.state, State::Live) {
            for pair in &mut self.pairs {
                pair.queue.publish(&self.registers);
            }
        }
    }

    fn reap(&mut self, done: &mut Vec<(Ticket, Status)>) {
        if matches!(self.state, State::Live) {
            for index in 0..usize::from(self.granted) {
                if let Err(identifier) = self.reap_pair(index, done) {
                    log::error!("the controller completed {identifier:#x}, which it does not have");
                    self.reset();
                    break;
                }
            }
        }
        self.reap_admin();
        done.append(&mut self.finished);
    }

    fn tick(&mut self) {
        self.advance();
        self.watch();
    }

    fn next_tick(&self) -> Option<Duration> {
        match self.state {
            State::Live if self.in_flight == 0 && !self.admin.is_waiting() => None,
            State::Live if self.plan.vectors == 0 => Some(POLL),
            State::Live => Some(WATCH),
            State::Stopped | State::Failed(_) => None,
            _ => Some(POLL),
        }
    }

    /// Shuts the controller down, which writes what it has cached [NVMe-2.1 3.6.1].
    fn stop(&mut self) {
        self.shut_down();
    }

    fn stopped(&self) -> Option<Result<(), String>> {
        match &self.state {
            State::Stopped => Some(Ok(())),
            State::Failed(failure) => Some(Err(alloc::format!("{failure}"))),
            _ => None,
        }
    }

    fn resets(&self) -> u64 {
        self.patience.resets()
    }

    fn failure(&self) -> Option<String> {
        match &self.state {
            State::Failed(failure) => Some(alloc::format!("{failure}")),
            _ => None,
        }
    }
}

/// The largest transfer in bytes.
pub(crate) fn maximum_transfer(facts: &ControllerFacts) -> u32 {
    let limit = facts.maximum_transfer.unwrap_or(u64::MAX).min(MAXIMUM_TRANSFER.into());
    // It is at most the constant.
    limit as u32
}
