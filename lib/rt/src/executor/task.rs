//! Tasks: a slab of them, and the list of those that are ready.
//!
//! ```text
//!   free --spawn--> ready --run_next--> running --pending--> idle --wake--> ready
//!                                          |                   |
//!                                          +--done, cancel-----+--> free
//! ```
//!
//! A waker is the task's number and generation, without a count and without memory; waking a task that has
//! ended does nothing.
use alloc::{boxed::Box, vec::Vec};
use core::{
    cell::{Cell, RefCell},
    future::Future,
    mem::ManuallyDrop,
    pin::Pin,
    ptr,
    task::{Context, RawWaker, RawWakerVTable, Waker},
};

use crate::runtime::runtime;

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

    fn from_waker(data: *const ()) -> Self {
        let bits = data.addr() as u64;
        // The two halves.
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |data| RawWaker::new(data, &VTABLE),
    |data| runtime().executor.wake(TaskId::from_waker(data)),
    |data| runtime().executor.wake(TaskId::from_waker(data)),
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
    task: Option<Task>,
    generation: u32,
    state: State,
    /// The next one in the list that the slot is in.
    next: u32,
}

/// All tasks.
pub(crate) struct Executor {
    slots: RefCell<Vec<Slot>>,
    free: Cell<u32>,
    first_ready: Cell<u32>,
    last_ready: Cell<u32>,
    /// A slot that is kept for a future that may never need one; see [`Self::spare`].
    spare: Cell<Option<TaskId>>,
}

impl Executor {
    pub(crate) const fn new() -> Self {
        Self {
            slots: RefCell::new(Vec::new()),
            free: Cell::new(NONE),
            first_ready: Cell::new(NONE),
            last_ready: Cell::new(NONE),
            spare: Cell::new(None),
        }
    }

    /// Adds a task; it runs when its turn comes.
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
            None => {
                let id = self.reserve();
                self.spare.set(Some(id));
                id
            }
        }
    }

    /// Makes the future that was polled under the spare number a task.
    pub(crate) fn adopt(&self, task: Task) {
        if let Some(id) = self.spare.take() {
            self.put(id, task);
        }
    }

    fn put(&self, id: TaskId, task: Task) {
        if let Some(slot) = self.slots.borrow_mut().get_mut(id.index as usize) {
            slot.task = Some(task);
        }
    }

    /// Ends a task.
    pub(crate) fn cancel(&self, id: TaskId) {
        let ended = self.release(id);
        drop(ended);
    }

    /// Whether a task waits for its turn.
    pub(crate) fn has_ready(&self) -> bool {
        self.first_ready.get() != NONE
    }

    /// Runs the task whose turn it is; `false` when none is ready.
    #[inline]
    pub(crate) fn run_next(&self) -> bool {
        let index = self.first_ready.get();
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get_mut(index as usize) else { return false };
        self.first_ready.set(slot.next);
        if slot.next == NONE {
            self.last_ready.set(NONE);
        }
        if slot.state == State::Ended {
            slot.state = State::Free;
            slot.next = self.free.replace(index);
            return true;
        }
        slot.state = State::Idle;
        let id = TaskId { index, generation: slot.generation };
        let task = slot.task.take();
        drop(slots);
        if let Some(task) = task {
            self.run(id, task);
        }
        true
    }

    #[inline]
    fn run(&self, id: TaskId, mut task: Task) {
        let waker = id.waker();
        if task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            self.release(id);
            drop(task);
            return;
        }
        let mut slots = self.slots.borrow_mut();
        match slots.get_mut(id.index as usize) {
            Some(slot) if slot.generation == id.generation => slot.task = Some(task),
            // It was cancelled while it ran.
            _ => {
                drop(slots);
                drop(task);
            }
        }
    }

    fn reserve(&self) -> TaskId {
        let mut slots = self.slots.borrow_mut();
        let index = self.free.get();
        if let Some(slot) = slots.get_mut(index as usize) {
            self.free.set(slot.next);
            slot.state = State::Idle;
            return TaskId { index, generation: slot.generation };
        }
        // Memory ends long before 2^32 tasks.
        let index = slots.len() as u32;
        slots.push(Slot { task: None, generation: 0, state: State::Idle, next: NONE });
        TaskId { index, generation: 0 }
    }

    /// Frees a task's slot. What is returned is to be dropped when nothing is borrowed.
    fn release(&self, id: TaskId) -> Option<Task> {
        let mut slots = self.slots.borrow_mut();
        let slot = slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation)?;
        slot.generation = slot.generation.wrapping_add(1);
        if slot.state == State::Ready {
            slot.state = State::Ended;
        } else {
            slot.state = State::Free;
            slot.next = self.free.replace(id.index);
        }
        slot.task.take()
    }

    #[inline]
    fn wake(&self, id: TaskId) {
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get_mut(id.index as usize) else { return };
        if slot.generation != id.generation || slot.state != State::Idle {
            return;
        }
        slot.state = State::Ready;
        slot.next = NONE;
        let last = self.last_ready.replace(id.index);
        match slots.get_mut(last as usize) {
            Some(last) => last.next = id.index,
            None => self.first_ready.set(id.index),
        }
    }
}
