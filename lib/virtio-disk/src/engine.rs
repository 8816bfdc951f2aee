//! The engine: slots, deadlines and resets over a format.
//!
//! ```text
//!   Live ---- late command, broken queue, device asks ----> Resetting ---- reset ----> Live, all asked again
//!                                                               `-- time is up --> Failed
//! ```
//!
//! How it ends when the process is asked to end is in `stop`.

mod stop;

use crate::{
    format::{Format, Outcome, Payload, Step},
    hardware::{EXTRA_BYTES, Hardware, REQUEST_BYTES},
};
use alloc::{collections::VecDeque, format, rc::Rc, string::String, vec::Vec};
use block::{Command, Disk, Engine, Operation, Refusal, Status, Ticket, WriteMode};
use core::time::Duration;
use stop::Stop;
use virtio::{DmaMemory, Notifications};

/// How long a reset may take; [VIRTIO-1.2] sets no limit.
const RESET: Duration = Duration::from_secs(10);
/// How often one command is asked for again.
const RETRIES: u8 = 3;
/// Resets in a row without finishing anything between.
const RESETS: u32 = 4;
/// How often deadlines are looked at, and how often a device that resets is.
const WATCH: Duration = Duration::from_millis(500);
const POLL: Duration = Duration::from_millis(1);

/// A command in flight.
struct Asked {
    disk: usize,
    ticket: Ticket,
    command: Command,
    pool: Rc<DmaMemory>,
    step: Step,
    since: Duration,
    retries: u8,
}

enum State {
    Live,
    Resetting {
        until: Duration,
    },
    /// Nothing is in flight but the flush of this disk, the last thing before the end.
    Flushing {
        disk: usize,
    },
    /// The last reset.
    Ending {
        until: Duration,
    },
    Stopped,
    Failed(String),
}

/// A virtio disk driver's engine.
pub struct VirtioDisk<F> {
    hardware: Hardware,
    format: F,
    slots: Vec<Option<Asked>>,
    free: Vec<u16>,
    /// Slots that are to be given to the device once its queue has room.
    pending: VecDeque<u16>,
    finished: Vec<(Ticket, Status)>,
    state: State,
    added: bool,
    now: Duration,
    patience: Duration,
    resets: u64,
    in_a_row: u32,
    stop: Stop,
}

impl<F: Format> VirtioDisk<F> {
    /// The engine over a device that is up.
    pub fn new(hardware: Hardware, format: F, patience: Duration) -> Self {
        let slots = hardware.slots();
        Self {
            hardware,
            format,
            slots: (0..slots).map(|_| None).collect(),
            free: (0..slots).rev().collect(),
            pending: VecDeque::new(),
            finished: Vec::new(),
            state: State::Live,
            added: false,
            now: Duration::ZERO,
            patience,
            resets: 0,
            in_a_row: 0,
            stop: Stop::default(),
        }
    }

    fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Gives a slot's request to the device, or notes that it waits for room. Errors: the answer at once.
    fn give(&mut self, slot: u16) -> Result<(), Status> {
        let Some(Some(asked)) = self.slots.get(usize::from(slot)) else { return Ok(()) };
        let (mut header, mut extra) = ([0; REQUEST_BYTES as usize], [0; EXTRA_BYTES as usize]);
        let payload = self.format.encode(asked.disk, &asked.command, asked.step, &mut header, &mut extra)?;
        let block_bytes = self.format.disks().get(asked.disk).map_or(0, |disk| disk.block_bytes);
        let length = asked.command.blocks.checked_mul(block_bytes).ok_or(Status::BadLength)?;
        let head = Hardware::header_part(slot, F::REQUEST);
        let answer = Hardware::response_part(slot, F::RESPONSE);
        let data = match payload {
            Payload::Fill | Payload::Send => {
                Some(self.hardware.data_part(asked.ticket.queue, &asked.pool, asked.command.offset, length))
            }
            Payload::None | Payload::Extra(_) | Payload::Zeroes(_) => None,
        };
        let data = data.transpose().map_err(|_| Status::Device)?.unwrap_or_default();
        self.hardware.write_request(slot, &header, &extra);
        let given = match payload {
            Payload::None => self.hardware.add(&[head], &[answer], slot),
            Payload::Send => self.hardware.add(&[head, data], &[answer], slot),
            Payload::Fill if F::RESPONSE_FIRST => self.hardware.add(&[head], &[answer, data], slot),
            Payload::Fill => self.hardware.add(&[head], &[data, answer], slot),
            Payload::Extra(bytes) => {
                self.hardware.add(&[head, Hardware::extra_part(slot, bytes)], &[answer], slot)
            }
            Payload::Zeroes(bytes) => {
                self.hardware.add(&[head, Hardware::zeroes_part(bytes)], &[answer], slot)
            }
        };
        match given {
            Ok(()) => self.added = true,
            Err(virtio::AddError::Full) => self.pending.push_back(slot),
            Err(virtio::AddError::BadPart) => return Err(Status::Device),
        }
        Ok(())
    }

    /// Ends a slot with an answer.
    fn finish(&mut self, slot: u16, status: Status) {
        if let Some(asked) = self.slots.get_mut(usize::from(slot)).and_then(Option::take) {
            self.free.push(slot);
            self.finished.push((asked.ticket, status));
        }
    }

    /// Goes on with a slot that the device is done with.
    fn done(&mut self, slot: u16) {
        let outcome = self.format.decode(&self.hardware.response(slot, F::RESPONSE));
        let Some(Some(asked)) = self.slots.get_mut(usize::from(slot)) else { return };
        let disk = self.format.disks().get(asked.disk);
        let durable = asked.command.operation == Operation::Write(WriteMode::Durable)
            && disk.is_some_and(|disk| disk.write_cache && !disk.forced_unit_access);
        let status = match outcome {
            Outcome::Over(Status::Done) if durable && asked.step == Step::Whole => {
                asked.step = Step::Flush;
                self.give(slot).err()
            }
            Outcome::Over(status) => Some(status),
            Outcome::Again if asked.retries < RETRIES => {
                asked.retries += 1;
                self.give(slot).err()
            }
            Outcome::Again => Some(Status::Device),
        };
        self.in_a_row = 0;
        if let Some(status) = status {
            self.finish(slot, status);
        }
    }

    fn reset(&mut self, why: &str) {
        log::warn!("the device is reset, with {} commands in flight: {why}", self.in_flight());
        self.resets += 1;
        self.in_a_row += 1;
        if self.in_a_row > RESETS {
            self.state = State::Failed("resets do not bring the device back".into());
            return;
        }
        self.hardware.begin_reset();
        self.state = State::Resetting { until: self.now + RESET };
    }

    /// Brings a device up that was reset, and gives it all that it had.
    fn restart(&mut self) {
        if let Err(error) = self.hardware.start() {
            self.state = State::Failed(format!("{error}"));
            return;
        }
        self.state = State::Live;
        self.pending.clear();
        for slot in 0..self.slots.len() as u16 {
            let Some(Some(asked)) = self.slots.get_mut(usize::from(slot)) else { continue };
            asked.retries += 1;
            asked.since = self.now;
            let over = if asked.retries > RETRIES { Some(Status::TimedOut) } else { self.give(slot).err() };
            if let Some(status) = over {
                self.finish(slot, status);
            }
        }
        self.hardware.notify();
        self.added = false;
    }
}

impl<F: Format> Engine for VirtioDisk<F> {
    type Pool = Rc<DmaMemory>;

    fn set_time(&mut self, now: Duration) {
        self.now = now;
    }

    fn disks(&self) -> &[Disk] {
        self.format.disks()
    }

    fn has_room(&self, _: u16) -> bool {
        matches!(self.state, State::Live)
            && !self.stop.is_asked()
            && !self.free.is_empty()
            && self.pending.is_empty()
    }

    fn submit(
        &mut self,
        disk: usize,
        ticket: Ticket,
        command: &Command,
        pool: &Rc<DmaMemory>,
    ) -> Result<(), Refusal> {
        if !self.has_room(ticket.queue) {
            return Err(Refusal::Full);
        }
        let Some(facts) = self.format.disks().get(disk) else { return Err(Refusal::Answer(Status::Device)) };
        if command.operation == Operation::Flush && !facts.write_cache {
            return Err(Refusal::Answer(Status::Done));
        }
        let Some(slot) = self.free.pop() else { return Err(Refusal::Full) };
        let (pool, step) = (Rc::clone(pool), Step::Whole);
        let asked = Asked { disk, ticket, command: *command, pool, step, since: self.now, retries: 0 };
        if let Some(place) = self.slots.get_mut(usize::from(slot)) {
            *place = Some(asked);
        }
        self.give(slot).map_err(|status| {
            if let Some(place) = self.slots.get_mut(usize::from(slot)) {
                *place = None;
            }
            self.free.push(slot);
            Refusal::Answer(status)
        })
    }

    fn publish(&mut self) {
        if self.added && matches!(self.state, State::Live) {
            self.added = false;
            self.hardware.notify();
        }
    }

    fn reap(&mut self, done: &mut Vec<(Ticket, Status)>) {
        if matches!(self.state, State::Live) {
            self.hardware.acknowledge();
            loop {
                match self.hardware.take_used() {
                    Ok(Some(used)) => self.done(used.tag),
                    Ok(None) => break,
                    Err(fault) => {
                        self.reset(&format!("{fault}"));
                        break;
                    }
                }
            }
            for _ in 0..self.pending.len() {
                let Some(slot) = self.pending.pop_front() else { break };
                if let Err(status) = self.give(slot) {
                    self.finish(slot, status);
                }
            }
        }
        done.append(&mut self.finished);
    }

    fn arm(&mut self) -> bool {
        matches!(self.state, State::Live) && self.hardware.want(Notifications::Wanted)
    }

    fn disarm(&mut self) {
        if matches!(self.state, State::Live) {
            self.hardware.want(Notifications::Unwanted);
        }
    }

    fn tick(&mut self) {
        if self.step_to_stop() {
            return;
        }
        match self.state {
            State::Live | State::Flushing { .. } => {
                let late = |asked: &Asked| self.now.saturating_sub(asked.since) > self.patience;
                if self.hardware.needs_reset() {
                    self.reset("it asks for that");
                } else if self.slots.iter().flatten().any(late) {
                    self.reset("a command takes too long");
                }
            }
            State::Resetting { .. } if self.hardware.is_reset() => self.restart(),
            State::Resetting { until } if self.now > until => {
                self.state = State::Failed("the device does not reset".into());
            }
            State::Resetting { .. } | State::Ending { .. } | State::Stopped | State::Failed(_) => {}
        }
    }

    fn next_tick(&self) -> Option<Duration> {
        match self.state {
            State::Live if self.in_flight() == 0 => None,
            State::Live => Some(WATCH),
            State::Resetting { .. } => Some(POLL),
            // Who stops the device looks at it.
            State::Flushing { .. } | State::Ending { .. } | State::Stopped | State::Failed(_) => None,
        }
    }

    fn stop(&mut self) {
        self.begin_stop();
    }

    fn stopped(&self) -> Option<Result<(), String>> {
        match &self.state {
            State::Stopped => Some(self.stop.result()),
            State::Failed(reason) => Some(Err(reason.clone())),
            _ => None,
        }
    }

    fn resets(&self) -> u64 {
        self.resets
    }

    fn failure(&self) -> Option<String> {
        match &self.state {
            State::Failed(reason) => Some(reason.clone()),
            _ => None,
        }
    }
}
