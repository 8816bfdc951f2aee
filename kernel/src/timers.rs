//! Deadlines: each processor looks after those that were armed on it.

use crate::arch::{cpu, processors};
use crate::error::Error;
use crate::object::pci_function::PciFunctionState;
use crate::object::thread::Thread;
use crate::object::timer::Timer;
use crate::{iommu, scheduler, time};
use alloc::sync::Arc;
use collections::{TimerHeap, TimerKey};
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// The deadlines of one processor.
pub type TimerQueue = TimerHeap<Deadline>;

/// What happens at a deadline.
pub enum Deadline {
    /// The thread's wait is over, or was over before.
    Thread(Arc<Thread>),
    /// The timer signals.
    Timer(Arc<Timer>),
    /// The function has had time to reset.
    Reset(Arc<PciFunctionState>),
    /// Faults of the IOMMU may be told again.
    IommuFaults,
}

/// Where a deadline is, if it is armed. The position is only valid under the lock of that processor's queue.
pub struct TimerSlot {
    processor: AtomicU32,
    position: AtomicUsize,
}

const NOT_ARMED: usize = usize::MAX;

impl TimerSlot {
    /// Not armed.
    pub const fn new() -> Self {
        Self { processor: AtomicU32::new(0), position: AtomicUsize::new(NOT_ARMED) }
    }

    /// Whether it is in a queue.
    #[inline]
    pub fn is_armed(&self) -> bool {
        self.position.load(Ordering::Relaxed) != NOT_ARMED
    }

    /// Takes the deadline out of its queue, if it is in one.
    #[inline]
    pub fn cancel(&self) {
        if self.is_armed() {
            self.remove();
        }
    }

    fn remove(&self) {
        let Some(cpu) = cpu::get(self.processor.load(Ordering::Relaxed)) else { return };
        let mut queue = cpu.timers.lock();
        let removed = match self.position.load(Ordering::Relaxed) {
            NOT_ARMED => None,
            position => queue.remove(position),
        };
        drop(queue);
        drop(removed);
    }
}

impl Deadline {
    fn slot(&self) -> &TimerSlot {
        match self {
            Self::Thread(thread) => &thread.timer,
            Self::Timer(timer) => &timer.slot,
            Self::Reset(function) => function.slot(),
            Self::IommuFaults => iommu::slot(),
        }
    }
}

impl TimerKey for Deadline {
    fn set_position(&self, position: Option<usize>) {
        self.slot().position.store(position.unwrap_or(NOT_ARMED), Ordering::Relaxed);
    }

    fn position(&self) -> Option<usize> {
        match self.slot().position.load(Ordering::Relaxed) {
            NOT_ARMED => None,
            position => Some(position),
        }
    }
}

/// Arms a deadline on this processor. The slot must not be armed.
pub fn arm(slot: &TimerSlot, deadline: u64, what: Deadline) -> Result<(), Error> {
    let cpu = cpu::current();
    slot.processor.store(cpu.index, Ordering::Relaxed);
    let mut queue = cpu.timers.lock();
    let result = match queue.insert(deadline, what) {
        Ok(()) => Ok(()),
        Err(what) => {
            let room = queue.reserve_more();
            if room { queue.insert(deadline, what).map_err(drop) } else { Err(()) }
        }
    };
    let first = queue.next_deadline();
    drop(queue);
    if first == Some(deadline) {
        program_sooner(cpu);
    }
    result.map_err(|()| Error::overloaded("no memory for another deadline"))
}

/// Sets this processor's timer to the next deadline or end of slice.
pub fn program(cpu: &cpu::Cpu) {
    let next = cpu.timers.lock().next_deadline().unwrap_or(u64::MAX).min(cpu.slice_end.get());
    if next != cpu.programmed.get() {
        cpu.programmed.set(next);
        processors::set_timer(next);
    }
}

/// As [`program`], but leaves a timer that fires earlier than it must: what fires for nothing costs less than setting it
/// each time that a deadline comes and goes.
#[inline]
pub fn program_sooner(cpu: &cpu::Cpu) {
    let next = cpu.timers.lock().next_deadline().unwrap_or(u64::MAX).min(cpu.slice_end.get());
    if next < cpu.programmed.get() {
        cpu.programmed.set(next);
        processors::set_timer(next);
    }
}

/// The timer has fired: handles all that is due.
pub fn expire(cpu: &cpu::Cpu) {
    let now = time::now();
    cpu.programmed.set(u64::MAX);
    loop {
        let due = cpu.timers.lock().pop_due(now);
        match due {
            Some(Deadline::Thread(thread)) => {
                if thread.wake_for_deadline(now) {
                    scheduler::make_ready(thread);
                }
            }
            Some(Deadline::Timer(timer)) => timer.expired(now),
            Some(Deadline::Reset(function)) => function.reset_finished(),
            Some(Deadline::IommuFaults) => iommu::hold_is_over(),
            None => break,
        }
    }
    if cpu.slice_end.get() <= now {
        scheduler::end_of_slice(cpu);
    }
    program(cpu);
}
