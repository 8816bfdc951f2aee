//! The queues of all clients, between their rings and the engine.

use crate::{
    disk::{Disk, View},
    engine::{Command, Engine, Refusal, Ticket},
};
use alloc::{sync::Arc, vec::Vec};
use core::{fmt, time::Duration};
use ring::{
    LayoutError, PeerFault, SharedMemory, Sleep,
    block::{BlockLayout, DriverSide, Operation, Request, Status, Tag},
};

/// The most queues that a driver serves at once.
const MAXIMUM_QUEUES: usize = 64;

/// The most requests that one turn takes of one queue, so that none waits long for another.
const BUDGET: u32 = 64;

/// What has passed since the driver started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Reads that were done.
    pub reads: u64,
    /// Their blocks.
    pub read_blocks: u64,
    /// Writes that were done.
    pub writes: u64,
    /// Their blocks.
    pub written_blocks: u64,
    /// All else that was asked for.
    pub others: u64,
    /// Requests that were answered by an error.
    pub errors: u64,
}

/// Names a queue of this driver; its place may be another one's later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueNumber {
    place: u16,
    generation: u64,
}

impl QueueNumber {
    /// Its place, below the most queues that there can be.
    pub const fn place(self) -> usize {
        self.place as usize
    }
}

/// Whether a turn left something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// There may be more: take another turn.
    More,
    /// Nothing: both sides will signal.
    None,
}

/// What a turn asks of its caller.
#[derive(Debug, Default)]
pub struct Turn {
    /// Clients whose doorbells are to be rung.
    pub ring: Vec<QueueNumber>,
    /// Queues that their clients' faults ended.
    pub ended: Vec<(QueueNumber, PeerFault)>,
}

/// Why a queue cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// There are as many queues as there can be.
    TooMany,
    /// The memory does not fit the layout.
    Layout(LayoutError),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => write!(f, "the driver has as many queues as it can"),
            Self::Layout(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for OpenError {}

/// Whether a queue takes requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It does.
    Open,
    /// It waits for the device to finish what it has of it.
    Closing,
}

struct Queue<P, M> {
    number: QueueNumber,
    state: State,
    side: DriverSide<M>,
    view: View,
    pool: P,
    /// Commands with the device.
    in_flight: u32,
    /// A request that the engine had no room for.
    waiting: Option<(Tag, Command)>,
}

/// All queues of a driver.
pub struct Front<E: Engine, M> {
    engine: E,
    queues: Vec<Option<Queue<E::Pool, M>>>,
    /// What the engine has done, in its turn.
    done: Vec<(Ticket, Status)>,
    counters: Counters,
    generation: u64,
    /// The queue that is served first in the next turn.
    first: usize,
    /// Requests answered since they were last asked for.
    served: u32,
}

impl<E: Engine, M: SharedMemory> Front<E, M> {
    /// A driver without queues yet.
    pub fn new(engine: E) -> Self {
        Self {
            engine,
            queues: Vec::new(),
            done: Vec::new(),
            counters: Counters::default(),
            generation: 0,
            first: 0,
            served: 0,
        }
    }

    /// The driver's hardware.
    pub fn engine(&self) -> &E {
        &self.engine
    }

    /// The same, to be changed.
    pub fn engine_mut(&mut self) -> &mut E {
        &mut self.engine
    }

    /// What has passed.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Requests that the device has answered since this was last asked.
    pub fn take_served(&mut self) -> u32 {
        core::mem::take(&mut self.served)
    }

    /// Opens a queue on new, zeroed `rings`.
    pub fn open(
        &mut self,
        view: View,
        layout: BlockLayout,
        rings: &Arc<M>,
        pool: E::Pool,
    ) -> Result<QueueNumber, OpenError> {
        let side = DriverSide::new(rings, layout).map_err(OpenError::Layout)?;
        let place = match self.queues.iter().position(Option::is_none) {
            Some(place) => place,
            None if self.queues.len() < MAXIMUM_QUEUES => {
                self.queues.push(None);
                self.queues.len() - 1
            }
            None => return Err(OpenError::TooMany),
        };
        self.generation += 1;
        // Places are below MAXIMUM_QUEUES.
        let number = QueueNumber { place: place as u16, generation: self.generation };
        let queue = Queue { number, state: State::Open, side, view, pool, in_flight: 0, waiting: None };
        if let Some(free) = self.queues.get_mut(place) {
            *free = Some(queue);
        }
        Ok(number)
    }

    /// Takes no more requests of a queue. Its buffers are the device's until [`Self::is_closed`].
    pub fn close(&mut self, number: QueueNumber) {
        if let Some(queue) = self.find(number) {
            queue.state = State::Closing;
            queue.waiting = None;
        }
        self.remove_if_finished(number.place());
    }

    /// Whether the device has nothing more of a queue that was closed.
    pub fn is_closed(&self, number: QueueNumber) -> bool {
        !self.queues.iter().flatten().any(|queue| queue.number == number)
    }

    /// Moves what there is to move, within bounds, and asks for signals when there was nothing.
    pub fn turn(&mut self, now: Duration, turn: &mut Turn) -> Work {
        self.engine.set_time(now);
        self.engine.disarm();
        let answered = self.answer(turn);
        let taken = self.take(turn);
        self.engine.publish();
        for queue in self.queues.iter_mut().flatten() {
            if queue.state == State::Open && queue.side.must_ring() {
                turn.ring.push(queue.number);
            }
        }
        if answered || taken { Work::More } else { self.arm(turn) }
    }

    /// Looks after the device, at the time that it asked for.
    pub fn tick(&mut self, now: Duration) {
        self.engine.set_time(now);
        self.engine.tick();
    }

    /// Hands the engine's answers to the clients.
    fn answer(&mut self, turn: &mut Turn) -> bool {
        self.engine.reap(&mut self.done);
        let any = !self.done.is_empty();
        // At most as many as were in flight.
        self.served = self.served.saturating_add(self.done.len() as u32);
        let mut done = core::mem::take(&mut self.done);
        for (ticket, status) in done.drain(..) {
            let place = usize::from(ticket.queue);
            let Some(Some(queue)) = self.queues.get_mut(place) else { continue };
            queue.in_flight = queue.in_flight.saturating_sub(1);
            if status != Status::Done {
                self.counters.errors += 1;
            }
            match queue.state {
                State::Open => {
                    if let Err(fault) = queue.side.answer(ticket.tag, status) {
                        self.end(place, fault, turn);
                    }
                }
                State::Closing => self.remove_if_finished(place),
            }
        }
        self.done = done;
        any
    }

    /// Hands the clients' requests to the engine.
    fn take(&mut self, turn: &mut Turn) -> bool {
        let count = self.queues.len();
        let mut any = false;
        for index in 0..count {
            let place = (self.first + index) % count;
            let Some(Some(queue)) = self.queues.get_mut(place) else { continue };
            if queue.state != State::Open {
                continue;
            }
            match serve(queue, &mut self.engine, &mut self.counters) {
                Ok(taken) => any |= taken,
                Err(fault) => self.end(place, fault, turn),
            }
        }
        if count != 0 {
            self.first = (self.first + 1) % count;
        }
        any
    }

    /// Asks both sides for signals, then looks again.
    fn arm(&mut self, turn: &mut Turn) -> Work {
        let mut work = if self.engine.arm() { Work::More } else { Work::None };
        for place in 0..self.queues.len() {
            let Some(Some(queue)) = self.queues.get_mut(place) else { continue };
            // While the engine has no room, only its answers matter.
            let full = queue.waiting.is_some() || !self.engine.has_room(queue.number.place);
            if queue.state != State::Open || full {
                continue;
            }
            match queue.side.arm() {
                Ok(Sleep::Allowed) => {}
                Ok(Sleep::WorkArrived) => work = Work::More,
                Err(fault) => self.end(place, fault, turn),
            }
        }
        work
    }

    fn end(&mut self, place: usize, fault: PeerFault, turn: &mut Turn) {
        if let Some(Some(queue)) = self.queues.get_mut(place) {
            queue.state = State::Closing;
            queue.waiting = None;
            turn.ended.push((queue.number, fault));
        }
        self.remove_if_finished(place);
    }

    fn remove_if_finished(&mut self, place: usize) {
        if let Some(slot) = self.queues.get_mut(place)
            && slot.as_ref().is_some_and(|queue| queue.state == State::Closing && queue.in_flight == 0)
        {
            *slot = None;
        }
    }

    fn find(&mut self, number: QueueNumber) -> Option<&mut Queue<E::Pool, M>> {
        self.queues.iter_mut().flatten().find(|queue| queue.number == number)
    }
}

/// Takes requests of one queue until there are none, the engine is full, or its time is up; whether there were any.
fn serve<E: Engine, M: SharedMemory>(
    queue: &mut Queue<E::Pool, M>,
    engine: &mut E,
    counters: &mut Counters,
) -> Result<bool, PeerFault> {
    queue.side.disarm();
    let place = queue.number.place;
    for taken in 0..BUDGET {
        if !engine.has_room(place) {
            return Ok(taken > 0);
        }
        let (tag, command) = match queue.waiting.take() {
            Some(waiting) => waiting,
            None => {
                let Some(request) = queue.side.take()? else { return Ok(taken > 0) };
                match check(engine.disks(), &queue.view, &request) {
                    Ok(command) => (request.tag, command),
                    Err(status) => {
                        counters.errors += 1;
                        queue.side.answer(request.tag, status)?;
                        continue;
                    }
                }
            }
        };
        let ticket = Ticket { queue: place, tag };
        match engine.submit(queue.view.disk, ticket, &command, &queue.pool) {
            Ok(()) => {
                queue.in_flight += 1;
                count(counters, &command);
            }
            Err(Refusal::Full) => {
                queue.waiting = Some((tag, command));
                return Ok(taken > 0);
            }
            Err(Refusal::Answer(status)) => {
                if status != Status::Done {
                    counters.errors += 1;
                }
                queue.side.answer(tag, status)?;
            }
        }
    }
    Ok(true)
}

fn check(disks: &[Disk], view: &View, request: &Request) -> Result<Command, Status> {
    view.locate(request, disks.get(view.disk).ok_or(Status::Device)?)
}

fn count(counters: &mut Counters, command: &Command) {
    match command.operation {
        Operation::Read => {
            counters.reads += 1;
            counters.read_blocks += u64::from(command.blocks);
        }
        Operation::Write(_) => {
            counters.writes += 1;
            counters.written_blocks += u64::from(command.blocks);
        }
        Operation::Flush | Operation::Discard | Operation::WriteZeroes => counters.others += 1,
    }
}
