//! Pausing: no thread of a process goes on until it is resumed, whatever it was doing.
//!
//! ```text
//!   Running --interrupt to its processor--.
//!   Ready ----its turn comes--------------+--> Parked --resume--> Ready
//!   waits ----woken, its turn comes-------'       \--kill-------> Dead
//! ```
//!
//! A thread that waits stays where it waits. What it waits for reaches it as ever (a call is delivered, a deadline
//! passes), it only does not run. So the path of a call needs no look of its own: it looks whether the process is
//! dying anyway, and both are bits of one word.
//!
//! Invariants: a thread becomes Parked only while `PAUSED` is set, which is looked at under the thread's state lock; who clears
//! `PAUSED` looks at each thread's state afterwards. So no thread stays Parked in a process that runs.

use super::{PAUSED, Process};
use crate::arch::{cpu, processors, traps};
use crate::object::thread::{State, Thread};
use crate::scheduler;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

/// What the threads of a process do at this moment.
#[derive(Clone, Copy, Debug)]
pub struct Activity {
    /// Whether it is paused.
    pub paused: bool,
    /// Threads that are on a processor. Of a paused process: those that have not stopped yet.
    pub running: u16,
    /// Threads that would run if it were their turn, parked ones included.
    pub ready: u16,
}

impl Process {
    /// Stops all threads, each at the instruction where it is, until [`Self::resume`]. Those on other processors stop as
    /// soon as the interrupt reaches them, a calling thread of its own when it leaves the kernel.
    pub fn pause(&self) {
        self.halted.fetch_or(PAUSED, Ordering::SeqCst);
        self.for_each_thread(|thread| {
            let State::Running(processor) = *thread.state.lock() else { return };
            let here = cpu::current();
            if processor == here.index {
                here.reschedule.store(true, Ordering::Relaxed);
            } else if let Some(cpu) = cpu::get(processor) {
                processors::send(cpu, traps::RESCHEDULE_VECTOR);
            }
        });
    }

    /// Lets the threads go on.
    pub fn resume(&self) {
        self.halted.fetch_and(!PAUSED, Ordering::SeqCst);
        self.for_each_thread(|thread| {
            let claimed = {
                let mut state = thread.state.lock();
                let parked = matches!(*state, State::Parked);
                if parked {
                    *state = State::Ready;
                }
                parked
            };
            if claimed {
                scheduler::make_ready(thread);
            }
        });
    }

    /// Takes a thread that nobody runs, and that the caller owns, out of the running if the process is paused. `false`
    /// when it may go on, or must end.
    pub fn park(&self, thread: &Thread) -> bool {
        let mut state = thread.state.lock();
        let park = self.halted.load(Ordering::SeqCst) == PAUSED;
        if park {
            *state = State::Parked;
        }
        park
    }

    /// Ends a thread that is parked.
    pub(super) fn end_parked(&self, thread: &Thread) {
        let ended = {
            let mut state = thread.state.lock();
            let parked = matches!(*state, State::Parked);
            if parked {
                *state = State::Dead;
            }
            parked
        };
        if ended {
            self.thread_ended(thread);
        }
    }

    /// What its threads do now.
    pub fn activity(&self) -> Activity {
        let paused = self.halted.load(Ordering::SeqCst) & PAUSED != 0;
        let (mut running, mut ready) = (0_u16, 0_u16);
        self.for_each_thread(|thread| match *thread.state.lock() {
            State::Running(_) => running = running.saturating_add(1),
            State::Ready | State::Parked => ready = ready.saturating_add(1),
            State::New | State::Receiving(_) | State::Calling | State::Dead => {}
        });
        Activity { paused, running, ready }
    }

    /// Visits all threads, each at least once, without a lock: one that leaves the list meanwhile makes place for the last
    /// one, so going from the end to the front passes none over. One that is added meanwhile may be left out.
    pub(super) fn for_each_thread(&self, mut visit: impl FnMut(Arc<Thread>)) {
        let mut index = self.lists.lock().threads.len();
        while let Some(next) = index.checked_sub(1) {
            index = next;
            let thread = self.lists.lock().threads.get(index).cloned();
            if let Some(thread) = thread {
                visit(thread);
            }
        }
    }
}
