//! Tasks: a table of them, and the list of those that are ready.
//!
//! ```text
//!   free --spawn--> ready --run_next--> running --pending--> idle --wake--> ready
//!                                          |                   |
//!                                          +--done, cancel-----+--> free
//! ```
//!
//! A waker is the task's number and generation, without a count and without memory; waking a task that has
//! ended does nothing.
use alloc::boxed::Box;
use core::{
    cell::{Cell, OnceCell},
    future::Future,
    mem::ManuallyDrop,
    pin::Pin,
    ptr,
    task::{Context, RawWaker, RawWakerVTable, Waker},
};

use crate::runtime::runtime;

/// Tasks in one chunk of the table. Chunks are made as they are needed, and never move.
const CHUNK: usize = 64;

/// Chunks of the table.
const CHUNKS: usize = 256;

/// The end of a list of tasks.
const NONE: u32 = u32::MAX;

/// One task.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Names one task, and never another one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskId {
    index: u32,
    generation: u32,
}

impl TaskId {
    /// A waker of this task. There is nothing to drop in it.
    #[inline]
    pub(crate) fn waker(self) -> ManuallyDrop<Waker> {
        let bits = u64::from(self.index) | u64::from(self.generation) << 32;
        // A pointer has 64 bits. It is a number and never followed.
        let data = ptr::without_provenance(bits as usize);
        // SAFETY: the functions of the table need nothing of `data` but its number; a clone is a copy
        // and a drop does nothing. They reach the runtime of the thread that they are called on,
        // and a process's tasks have only one.
        ManuallyDrop::new(unsafe { Waker::new(data, &VTABLE) })
    }

    /// The task that a waker wakes, if it is one of this executor's.
    #[inline]
    pub(crate) fn of_waker(waker: &Waker) -> Option<Self> {
        ptr::eq(waker.vtable(), &VTABLE).then(|| Self::from_data(waker.data()))
    }

    #[inline]
    fn from_data(data: *const ()) -> Self {
        let bits = data.addr() as u64;
        // The two halves.
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |data| RawWaker::new(data, &VTABLE),
    |data| runtime().executor.wake(TaskId::from_data(data)),
    |data| runtime().executor.wake(TaskId::from_data(data)),
    |_| {},
);

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the free list.
    Free,
    /// Waits to be woken, or is running.
    Idle,
    /// In the list of ready tasks.
    Ready,
    /// Ended while in the list of ready tasks; free once it is taken from it.
    Ended,
}

struct Slot {
    /// `None` while it is running, and when there is none.
    task: Cell<Option<Task>>,
    generation: Cell<u32>,
    state: Cell<State>,
    /// The next one in the list that the slot is in.
    next: Cell<u32>,
}

impl Slot {
    const fn new() -> Self {
        Self {
            task: Cell::new(None),
            generation: Cell::new(0),
            state: Cell::new(State::Free),
            next: Cell::new(NONE),
        }
    }
}

/// All tasks. In this order, as [`crate::runtime::Runtime`] says.
#[repr(C)]
pub(crate) struct Executor {
    /// Slots that were ever used.
    used: Cell<u32>,
    free: Cell<u32>,
    first_ready: Cell<u32>,
    last_ready: Cell<u32>,
    /// A slot that is kept for a future that may never need one; see [`Self::spare`].
    spare: Cell<Option<TaskId>>,
    chunks: [OnceCell<Box<[Slot; CHUNK]>>; CHUNKS],
}

impl Executor {
    pub(crate) const fn new() -> Self {
        Self {
            chunks: [const { OnceCell::new() }; CHUNKS],
            used: Cell::new(0),
            free: Cell::new(NONE),
            first_ready: Cell::new(NONE),
            last_ready: Cell::new(NONE),
            spare: Cell::new(None),
        }
    }

    /// Adds a task; it runs when its turn comes. Panics when there are too many.
    pub(crate) fn spawn(&self, task: Task) -> TaskId {
        let id = self.reserve();
        self.put(id, task);
        self.wake(id);
        id
    }

    /// A task's number for a future that is polled before it is known whether it has to become a task.
    ///
    /// If it has not to, the same number serves the next such future: a waker that the first one left somewhere
    /// then wakes the second one for nothing, which every future bears.
    #[inline]
    pub(crate) fn spare(&self) -> TaskId {
        match self.spare.get() {
            Some(id) => id,
            None => self.renew_spare(),
        }
    }

    #[cold]
    fn renew_spare(&self) -> TaskId {
        let id = self.reserve();
        self.spare.set(Some(id));
        id
    }

    /// Makes the future that was polled under the spare number a task.
    pub(crate) fn adopt(&self, task: Task) {
        if let Some(id) = self.spare.take() {
            self.put(id, task);
        }
    }

    fn put(&self, id: TaskId, task: Task) {
        if let Some(slot) = self.slot(id.index) {
            slot.task.set(Some(task));
        }
    }

    /// Ends a task.
    pub(crate) fn cancel(&self, id: TaskId) {
        if let Some(slot) = self.slot_of(id) {
            self.release(id.index, slot);
            drop(slot.task.take());
        }
    }

    /// Whether a task waits for its turn.
    #[inline]
    pub(crate) fn has_ready(&self) -> bool {
        self.first_ready.get() != NONE
    }

    /// Runs the task whose turn it is; `false` when none is ready.
    #[inline]
    pub(crate) fn run_next(&self) -> bool {
        let index = self.first_ready.get();
        let Some(slot) = self.slot(index) else { return false };
        let next = slot.next.get();
        self.first_ready.set(next);
        if next == NONE {
            self.last_ready.set(NONE);
        }
        if slot.state.get() == State::Ended {
            self.free(index, slot);
            return true;
        }
        slot.state.set(State::Idle);
        if let Some(task) = slot.task.take() {
            self.run(index, slot, task);
        }
        true
    }

    #[inline]
    fn run(&self, index: u32, slot: &Slot, mut task: Task) {
        let generation = slot.generation.get();
        let waker = TaskId { index, generation }.waker();
        let poll = task.as_mut().poll(&mut Context::from_waker(&waker));
        if slot.generation.get() != generation {
            // It was cancelled while it ran, and dropped when this returns.
            return;
        }
        if poll.is_pending() {
            slot.task.set(Some(task));
        } else {
            self.release(index, slot);
        }
    }

    #[inline]
    fn slot(&self, index: u32) -> Option<&Slot> {
        let index = index as usize;
        self.chunks.get(index / CHUNK)?.get()?.get(index % CHUNK)
    }

    /// The slot of a task, if it has not ended.
    #[inline]
    fn slot_of(&self, id: TaskId) -> Option<&Slot> {
        self.slot(id.index).filter(|slot| slot.generation.get() == id.generation)
    }

    fn reserve(&self) -> TaskId {
        let mut index = self.free.get();
        if index == NONE {
            index = self.used.get();
            let chunk = self.chunks.get(index as usize / CHUNK);
            let Some(chunk) = chunk else { panic!("more than {} tasks", CHUNK * CHUNKS) };
            chunk.get_or_init(|| Box::new([const { Slot::new() }; CHUNK]));
            self.used.set(index + 1);
        }
        let Some(slot) = self.slot(index) else { unreachable!("its chunk was just made") };
        if index == self.free.get() {
            self.free.set(slot.next.get());
        }
        slot.state.set(State::Idle);
        TaskId { index, generation: slot.generation.get() }
    }

    /// Ends the use of a slot. Its task, if it has one, is the caller's to drop.
    fn release(&self, index: u32, slot: &Slot) {
        slot.generation.set(slot.generation.get().wrapping_add(1));
        if slot.state.get() == State::Ready {
            slot.state.set(State::Ended);
        } else {
            self.free(index, slot);
        }
    }

    fn free(&self, index: u32, slot: &Slot) {
        slot.state.set(State::Free);
        slot.next.set(self.free.replace(index));
    }

    /// Puts a task at the end of the list of ready ones, unless it is there or has ended.
    #[inline]
    pub(crate) fn wake(&self, id: TaskId) {
        let Some(slot) = self.slot_of(id) else { return };
        if slot.state.get() != State::Idle {
            return;
        }
        slot.state.set(State::Ready);
        slot.next.set(NONE);
        match self.slot(self.last_ready.replace(id.index)) {
            Some(last) => last.next.set(id.index),
            None => self.first_ready.set(id.index),
        }
    }
}
