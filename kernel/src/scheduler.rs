//! Which thread runs where: fixed priorities, round robin inside one, one run queue a processor.
//!
//! Tickless: the timer is set for the end of a slice only while another thread of the same priority is ready on the
//! same processor. A thread that becomes ready goes to the processor it ran on, if that is idle, else to any idle one,
//! else it queues where it ran; an idle processor takes work from the others' queues.

use crate::arch::context::Context;
use crate::arch::cpu::{self, Cpu};
use crate::arch::{processors, traps};
use crate::list::List;
use crate::memory::kernel_space;
use crate::object::thread::{State, Thread};
use crate::{reaper, time, timers};
use abi::MAXIMUM_PRIORITY;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

/// How long a thread runs while others of its priority wait: 10 ms.
const SLICE: u64 = 10_000_000;

const PRIORITIES: usize = MAXIMUM_PRIORITY as usize + 1;

/// One bit for each processor that is idle.
static IDLE: AtomicU64 = AtomicU64::new(0);

/// Threads that are ready, by priority.
pub struct RunQueue {
    lists: [List<Thread>; PRIORITIES],
    occupied: u32,
}

impl RunQueue {
    /// An empty queue.
    pub const fn new() -> Self {
        Self { lists: [const { List::new() }; PRIORITIES], occupied: 0 }
    }

    fn push(&mut self, thread: Arc<Thread>, end: End) {
        let priority = thread.priority.load(Ordering::Relaxed).min(MAXIMUM_PRIORITY);
        if let Some(list) = self.lists.get_mut(usize::from(priority)) {
            // A thread that was claimed is in no list, so it is not given back.
            let _ = match end {
                End::Back => list.push_back(thread),
                End::Front => list.push_front(thread),
            };
            self.occupied |= 1 << priority;
        }
    }

    fn pop(&mut self) -> Option<Arc<Thread>> {
        let priority = self.occupied.checked_ilog2()?;
        let list = self.lists.get_mut(priority as usize)?;
        let thread = list.pop_front();
        if list.is_empty() {
            self.occupied &= !(1 << priority);
        }
        thread
    }

    fn remove(&mut self, thread: &Thread) -> Option<Arc<Thread>> {
        // Its priority may have changed since it was put here.
        for (priority, list) in self.lists.iter_mut().enumerate() {
            if list.iter().any(|entry| core::ptr::eq(entry, thread)) {
                let entry = list.remove(thread);
                if list.is_empty() {
                    self.occupied &= !(1 << priority);
                }
                return entry;
            }
        }
        None
    }

    /// One more than the highest priority in the queue; 0 when it is empty.
    fn top(&self) -> u8 {
        self.occupied.checked_ilog2().map_or(0, |priority| priority as u8 + 1)
    }
}

#[derive(Clone, Copy)]
enum End {
    Front,
    Back,
}

fn push(cpu: &Cpu, thread: Arc<Thread>, end: End) {
    let mut queue = cpu.run_queue.lock();
    queue.push(thread, end);
    cpu.ready_top.store(queue.top(), Ordering::SeqCst);
}

fn pop(cpu: &Cpu) -> Option<Arc<Thread>> {
    if cpu.ready_top.load(Ordering::SeqCst) == 0 {
        return None;
    }
    let mut queue = cpu.run_queue.lock();
    let thread = queue.pop();
    cpu.ready_top.store(queue.top(), Ordering::SeqCst);
    thread
}

/// Takes a ready thread out of its queue, if it is still in it.
pub fn remove_ready(thread: &Thread) -> Option<Arc<Thread>> {
    let cpu = cpu::get(thread.processor.load(Ordering::Relaxed))?;
    let mut queue = cpu.run_queue.lock();
    let entry = queue.remove(thread);
    cpu.ready_top.store(queue.top(), Ordering::SeqCst);
    entry
}

/// Lets a claimed or new thread run when its turn comes.
pub fn make_ready(thread: Arc<Thread>) {
    let here = cpu::current();
    let other = thread.clone();
    let mut state = other.state.lock();
    if thread.process.is_dying() {
        *state = State::Dead;
        drop(state);
        thread.process.thread_ended(&thread);
        return;
    }
    *state = State::Ready;
    let target = place_for(&thread, here);
    thread.processor.store(target.index, Ordering::Relaxed);
    let priority = thread.priority.load(Ordering::Relaxed);
    push(target, thread, End::Back);
    drop(state);
    poke(here, target, priority);
}

/// A thread of a dying process that was claimed: ends it outside of the locks that the caller holds.
pub fn bury(thread: Arc<Thread>) {
    // It is Ready and in no queue; the scheduler ends threads of dying processes when it picks them.
    let here = cpu::current();
    thread.processor.store(here.index, Ordering::Relaxed);
    push(here, thread, End::Back);
    here.reschedule.store(true, Ordering::Relaxed);
}

fn place_for(thread: &Thread, here: &'static Cpu) -> &'static Cpu {
    let idle = IDLE.load(Ordering::SeqCst);
    let last = thread.processor.load(Ordering::Relaxed);
    let index = if idle == 0 || idle & (1 << last) != 0 { last } else { idle.trailing_zeros() };
    cpu::get(index).unwrap_or(here)
}

/// Makes a processor look at its queue, if what became ready there may have to run now.
fn poke(here: &Cpu, target: &Cpu, priority: u8) {
    if target.index == here.index {
        if priority >= here.priority.load(Ordering::Relaxed) {
            here.reschedule.store(true, Ordering::Relaxed);
        }
    } else if target.idle.load(Ordering::SeqCst) || priority >= target.priority.load(Ordering::Relaxed) {
        processors::send(target, traps::RESCHEDULE_VECTOR);
    }
}

/// Saves what the entry code did not, before others may run the current thread.
#[inline(always)]
pub fn save(cpu: &Cpu, thread: &Thread) {
    // SAFETY: the thread runs here and is in the kernel.
    unsafe { thread.context_mut().fpu.save() };
    let now = time::ticks();
    let ran = now.wrapping_sub(cpu.switched_at.replace(now));
    // Only the processor that runs the thread writes this.
    thread.time.store(thread.time.load(Ordering::Relaxed).wrapping_add(ran), Ordering::Relaxed);
}

/// Saves the current thread and gives it a state in which it waits; `false` when its process is dying: then it
/// has ended, and this processor has no thread.
#[inline(always)]
pub fn block(cpu: &Cpu, thread: &Thread, waiting: State) -> bool {
    save(cpu, thread);
    let mut state = thread.state.lock();
    if thread.process.is_dying() {
        drop(state);
        end_current(cpu);
        return false;
    }
    *state = waiting;
    true
}

/// Ends the current thread. The processor has none afterwards.
pub fn end_current(cpu: &Cpu) {
    // Off the process's page tables before they may be freed.
    if let Some(root) = kernel_space::root() {
        cpu.load_root(root);
    }
    if let Some(thread) = cpu.take_thread() {
        *thread.state.lock() = State::Dead;
        thread.process.thread_ended(&thread);
    }
}

/// Runs a claimed thread now. The processor has no thread.
#[inline(always)]
pub fn switch_to(cpu: &Cpu, thread: Arc<Thread>) -> *mut Context {
    cpu.load_root(thread.process.space.root);
    // SAFETY: the thread is claimed.
    unsafe { thread.context_mut().fpu.restore() };
    cpu.priority.store(thread.priority.load(Ordering::Relaxed), Ordering::Relaxed);
    thread.processor.store(cpu.index, Ordering::Relaxed);
    cpu.set_thread(thread);
    if cpu.reschedule.load(Ordering::Relaxed) {
        return leave(cpu);
    }
    cpu.context()
}

/// Runs a claimed thread now if nothing more important is ready here. The processor has no thread.
#[inline(always)]
pub fn hand_over(cpu: &Cpu, thread: Arc<Thread>) -> *mut Context {
    // Priorities end at 31, so adding one does not wrap.
    if thread.priority.load(Ordering::Relaxed).wrapping_add(1) >= cpu.ready_top.load(Ordering::Relaxed) {
        switch_to(cpu, thread)
    } else {
        make_ready(thread);
        run_next(cpu)
    }
}

/// On the way back to the current thread: lets a more important one go first.
#[inline]
pub fn leave(cpu: &Cpu) -> *mut Context {
    if cpu.reschedule.load(Ordering::Relaxed) { reschedule(cpu) } else { cpu.context() }
}

#[cold]
fn reschedule(cpu: &Cpu) -> *mut Context {
    cpu.reschedule.store(false, Ordering::Relaxed);
    let Some(thread) = cpu.thread() else { return run_next(cpu) };
    if thread.process.is_dying() {
        end_current(cpu);
        return run_next(cpu);
    }
    let own = thread.priority.load(Ordering::Relaxed) + 1;
    let top = cpu.ready_top.load(Ordering::SeqCst);
    if top > own {
        requeue(cpu, End::Front);
        return run_next(cpu);
    }
    arm_slice(cpu);
    cpu.context()
}

/// Puts the current thread back into the queue.
fn requeue(cpu: &Cpu, end: End) {
    if let Some(thread) = cpu.thread() {
        save(cpu, thread);
    }
    let Some(thread) = cpu.take_thread() else { return };
    let other = thread.clone();
    let mut state = other.state.lock();
    *state = State::Ready;
    thread.processor.store(cpu.index, Ordering::Relaxed);
    push(cpu, thread, end);
}

/// Limits the current thread's time while others of its priority are ready.
fn arm_slice(cpu: &Cpu) {
    let own = cpu.thread().map_or(0, |thread| thread.priority.load(Ordering::Relaxed) + 1);
    let contended = cpu.ready_top.load(Ordering::Relaxed) >= own && own > 0;
    if contended != (cpu.slice_end.get() != u64::MAX) {
        cpu.slice_end.set(if contended { time::now().saturating_add(SLICE) } else { u64::MAX });
        timers::program(cpu);
    }
}

/// The current thread has used its slice.
pub fn end_of_slice(cpu: &Cpu) {
    cpu.slice_end.set(u64::MAX);
    let own = cpu.thread().map_or(0, |thread| thread.priority.load(Ordering::Relaxed) + 1);
    if own > 0 && cpu.ready_top.load(Ordering::Relaxed) >= own {
        requeue(cpu, End::Back);
    }
}

/// System call `yield`.
pub fn yield_now(cpu: &Cpu) -> *mut Context {
    let own = cpu.thread().map_or(0, |thread| thread.priority.load(Ordering::Relaxed) + 1);
    if cpu.ready_top.load(Ordering::Relaxed) >= own {
        requeue(cpu, End::Back);
        return run_next(cpu);
    }
    leave(cpu)
}

/// Runs the most important ready thread; waits for one if there is none. The processor has no thread, or the
/// one that `end_of_slice` left it with.
pub fn run_next(cpu: &Cpu) -> *mut Context {
    loop {
        reaper::step(cpu);
        cpu.reschedule.store(false, Ordering::Relaxed);
        let Some(thread) = pop(cpu).or_else(|| steal(cpu)) else {
            idle(cpu);
            continue;
        };
        let mut state = thread.state.lock();
        if thread.process.is_dying() {
            *state = State::Dead;
            drop(state);
            thread.process.thread_ended(&thread);
            continue;
        }
        *state = State::Running(cpu.index);
        drop(state);
        cpu.slice_end.set(u64::MAX);
        let context = switch_to(cpu, thread);
        if cpu.thread().is_some() {
            arm_slice(cpu);
        }
        return context;
    }
}

/// Takes a ready thread from another processor.
fn steal(cpu: &Cpu) -> Option<Arc<Thread>> {
    let most_loaded = cpu::all()
        .filter(|other| other.index != cpu.index)
        .max_by_key(|other| other.ready_top.load(Ordering::SeqCst));
    most_loaded.and_then(pop)
}

/// Halts until an interrupt.
fn idle(cpu: &Cpu) {
    if let Some(root) = kernel_space::root() {
        cpu.load_root(root);
    }
    timers::program(cpu);
    cpu.priority.store(0, Ordering::Relaxed);
    // Published before the last look at the queue; who fills the queue looks at this afterwards.
    cpu.idle.store(true, Ordering::SeqCst);
    IDLE.fetch_or(1 << cpu.index, Ordering::SeqCst);
    let start = time::ticks();
    if cpu.ready_top.load(Ordering::SeqCst) == 0 && !reaper::has_work() {
        processors::halt();
    }
    IDLE.fetch_and(!(1 << cpu.index), Ordering::SeqCst);
    cpu.idle.store(false, Ordering::SeqCst);
    let now = time::ticks();
    cpu.idle_time.fetch_add(now.wrapping_sub(start), Ordering::Relaxed);
    cpu.switched_at.set(now);
}
