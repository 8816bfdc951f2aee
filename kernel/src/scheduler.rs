//! Which thread runs where: fixed priorities, round robin inside one, one run queue a processor.
//!
//! Tickless: the timer is set for the end of a slice only when another thread of the same priority is ready on the
//! same processor. The slice is the processor's: a thread that blocks, or lets the server that it calls run first, leaves the
//! rest of it to who runs next. A thread that becomes ready goes to the processor it ran on, if that is idle, else to any idle one,
//! else it queues where it ran; an idle processor takes work from the others' queues.
//!
//! A more important thread that becomes ready runs at once, but for one that the present thread woke by the system call `signal`:
//! that one is given its turn when the present thread waits. So who has work for others hands over all of it before they look,
//! and a batch costs two switches and not two for each doorbell.

use crate::arch::context::{Context, Entered};
use crate::arch::cpu::{self, Cpu};
use crate::arch::{processors, traps};
use crate::list::List;
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

    #[inline(always)]
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

    #[inline(always)]
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
    #[inline(always)]
    fn top(&self) -> u8 {
        (u32::BITS - self.occupied.leading_zeros()) as u8
    }
}

#[derive(Clone, Copy)]
enum End {
    Front,
    Back,
}

#[inline(always)]
fn push(cpu: &Cpu, thread: Arc<Thread>, end: End) {
    let mut queue = cpu.run_queue.lock();
    queue.push(thread, end);
    cpu.ready_top.store(queue.top(), Ordering::SeqCst);
}

#[inline(always)]
fn pop(cpu: &Cpu) -> Option<Arc<Thread>> {
    if cpu.ready_top.load(Ordering::SeqCst) == 0 {
        return None;
    }
    let mut queue = cpu.run_queue.lock();
    let thread = queue.pop();
    cpu.ready_top.store(queue.top(), Ordering::SeqCst);
    thread
}

/// One more than the highest priority that is ready here; 0 when nothing is.
#[inline(always)]
fn top(cpu: &Cpu) -> u8 {
    cpu.ready_top.load(Ordering::SeqCst).max(cpu.lender_top.get())
}

/// The current thread goes on, but its priority may have been lowered, or it has rung doorbells: others may have to run now.
#[inline]
pub fn look_again(cpu: &Cpu, thread: &Thread) {
    // Priorities end at 31, so adding one does not wrap.
    if thread.priority.load(Ordering::Relaxed).wrapping_add(1) < top(cpu) {
        cpu.reschedule.store(true, Ordering::Relaxed);
    }
}

/// Takes the lender, if its turn is now; one that has to wait for more important threads is queued.
#[inline(always)]
fn pop_lender(cpu: &Cpu) -> Option<Arc<Thread>> {
    let lender_top = cpu.lender_top.replace(0);
    if lender_top == 0 {
        return None;
    }
    let lender = cpu.lender.take()?;
    if lender_top < cpu.ready_top.load(Ordering::SeqCst) {
        push(cpu, lender, End::Front);
        return None;
    }
    Some(lender)
}

/// Takes a ready thread out of its queue, if it is still in it.
pub fn remove_ready(thread: &Thread) -> Option<Arc<Thread>> {
    let cpu = cpu::get(thread.processor.load(Ordering::Relaxed))?;
    let mut queue = cpu.run_queue.lock();
    let entry = queue.remove(thread);
    cpu.ready_top.store(queue.top(), Ordering::SeqCst);
    entry
}

/// When a thread that was made ready on this processor is to run, if it is more important than the present one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// At once.
    Now,
    /// When the present one waits, at the next interrupt, or at the end of a slice, whichever is first.
    AtNextWait,
}

/// Lets a claimed or new thread run when its turn comes.
pub fn make_ready(thread: Arc<Thread>) {
    make_ready_in(thread, Turn::Now);
}

/// Lets a claimed or new thread run, when its turn has come.
pub fn make_ready_in(thread: Arc<Thread>, turn: Turn) {
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
    if turn == Turn::AtNextWait && target.index == here.index {
        arm_slice(here);
    } else {
        poke(here, target, priority);
    }
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
fn save(cpu: &Cpu, thread: &Thread) {
    // SAFETY: the thread runs here and is in the kernel.
    let context = unsafe { thread.context_mut() };
    match context.registers.entered {
        Entered::Syscall => context.fpu.save_control_words(),
        Entered::Trap => context.fpu.save(),
    }
    count_time(cpu, thread);
}

/// The same for a thread that is known to have made a system call.
#[inline(always)]
pub fn save_in_call(cpu: &Cpu, thread: &Thread) {
    // SAFETY: the thread runs here and is in the kernel.
    unsafe { thread.context_mut().fpu.save_control_words() };
    count_time(cpu, thread);
}

#[inline(always)]
fn count_time(cpu: &Cpu, thread: &Thread) {
    let now = time::ticks();
    let ran = now.wrapping_sub(cpu.switched_at.replace(now));
    // Only the processor that runs the thread writes this.
    thread.time.store(thread.time.load(Ordering::Relaxed).wrapping_add(ran), Ordering::Relaxed);
}

/// Saves the current thread, which made a system call, and gives it a state in which it waits; `false` when its process is dying: then it
/// has ended, and this processor has no thread.
#[inline(always)]
pub fn block(cpu: &Cpu, thread: &Thread, waiting: State) -> bool {
    save_in_call(cpu, thread);
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
    cpu.leave_root();
    if let Some(thread) = cpu.take_thread() {
        *thread.state.lock() = State::Dead;
        thread.process.thread_ended(&thread);
    }
}

/// Ends or parks the current thread, as its process says. The processor has none afterwards; `false` when the process was
/// resumed meanwhile, so that the thread goes on.
#[cold]
fn stop_current(cpu: &Cpu) -> bool {
    let Some(thread) = cpu.take_thread() else { return true };
    save(cpu, &thread);
    // Off the process's page tables before they may be freed: whoever kills the process no longer waits for this processor.
    cpu.leave_root();
    if thread.process.park(&thread) {
        return true;
    }
    cpu.load_root(thread.process.space.root);
    let dying = thread.process.is_dying();
    cpu.set_thread(thread);
    if dying {
        end_current(cpu);
    }
    dying
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
    let first = thread.priority.load(Ordering::Relaxed).wrapping_add(1) >= top(cpu);
    run_or_queue(cpu, thread, first)
}

/// Runs a claimed thread now if nothing as important is ready here, else when its turn comes. The processor has no thread.
#[inline(always)]
pub fn run_in_turn(cpu: &Cpu, thread: Arc<Thread>) -> *mut Context {
    let first = thread.priority.load(Ordering::Relaxed) >= top(cpu);
    run_or_queue(cpu, thread, first)
}

/// Runs a claimed thread now if it is the first, else whoever is. The processor has no thread.
#[inline(always)]
fn run_or_queue(cpu: &Cpu, thread: Arc<Thread>, first: bool) -> *mut Context {
    if first {
        switch_to(cpu, thread)
    } else {
        make_ready(thread);
        run_next(cpu)
    }
}

/// Runs a claimed thread before the current one, which made a system call, goes on, unless the current one or another ready one is more important.
#[inline(always)]
pub fn run_first(cpu: &Cpu, first: Arc<Thread>) -> *mut Context {
    let own = cpu.thread().map_or(0, |thread| thread.priority.load(Ordering::Relaxed));
    let priority = first.priority.load(Ordering::Relaxed);
    // Priorities end at 31, so adding one does not wrap.
    if priority < own || priority.wrapping_add(1) < top(cpu) {
        make_ready(first);
        return leave(cpu);
    }
    let Some(lender) = cpu.take_thread() else { return switch_to(cpu, first) };
    save_in_call(cpu, &lender);
    *lender.state.lock() = State::Ready;
    cpu.lender_top.set(own.wrapping_add(1));
    if let Some(before) = cpu.lender.replace(Some(lender)) {
        push(cpu, before, End::Front);
    }
    let context = switch_to(cpu, first);
    arm_slice(cpu);
    context
}

/// On the way back to the current thread: lets a more important one go first.
#[inline]
pub fn leave(cpu: &Cpu) -> *mut Context {
    if cpu.reschedule.load(Ordering::Relaxed) { reschedule(cpu) } else { cpu.context() }
}

/// On the way back from an interrupt, which may find the processor without a thread: whoever is the most important runs.
pub fn leave_interrupt(cpu: &Cpu) -> *mut Context {
    let Some(thread) = cpu.thread() else { return run_next(cpu) };
    look_again(cpu, thread);
    leave(cpu)
}

#[cold]
fn reschedule(cpu: &Cpu) -> *mut Context {
    cpu.reschedule.store(false, Ordering::Relaxed);
    let Some(thread) = cpu.thread() else { return run_next(cpu) };
    if thread.process.is_halted() && stop_current(cpu) {
        return run_next(cpu);
    }
    let own = thread.priority.load(Ordering::Relaxed) + 1;
    if top(cpu) > own {
        requeue(cpu, End::Front);
        return run_next(cpu);
    }
    arm_slice(cpu);
    cpu.context()
}

/// Puts the current thread back into the queue.
#[inline(always)]
fn requeue(cpu: &Cpu, end: End) {
    let Some(thread) = cpu.take_thread() else { return };
    save(cpu, &thread);
    thread.processor.store(cpu.index, Ordering::Relaxed);
    // Who kills the thread between these two finds it in no queue; its end is then noticed when it is picked.
    *thread.state.lock() = State::Ready;
    push(cpu, thread, end);
}

/// Limits the current thread's time while others of its priority are ready. A slice that has begun goes on.
#[inline(always)]
fn arm_slice(cpu: &Cpu) {
    if cpu.slice_end.get() == u64::MAX {
        begin_slice(cpu);
    }
}

fn begin_slice(cpu: &Cpu) {
    let own = cpu.thread().map_or(0, |thread| thread.priority.load(Ordering::Relaxed) + 1);
    let contended = top(cpu) >= own && own > 0;
    if contended {
        cpu.slice_end.set(time::now().saturating_add(SLICE));
        timers::program_sooner(cpu);
    }
}

/// The current thread has used its slice.
pub fn end_of_slice(cpu: &Cpu) {
    cpu.slice_end.set(u64::MAX);
    let own = cpu.thread().map_or(0, |thread| thread.priority.load(Ordering::Relaxed) + 1);
    if own > 0 && top(cpu) >= own {
        requeue(cpu, End::Back);
    }
}

/// System call `yield`.
pub fn yield_now(cpu: &Cpu) -> *mut Context {
    let own = cpu.thread().map_or(0, |thread| thread.priority.load(Ordering::Relaxed) + 1);
    if top(cpu) >= own {
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
        let Some(thread) = pop_lender(cpu).or_else(|| pop(cpu)).or_else(|| steal(cpu)) else {
            idle(cpu);
            continue;
        };
        let mut state = thread.state.lock();
        if thread.process.is_halted() {
            drop(state);
            if !admit_halted(cpu, &thread) {
                continue;
            }
        } else {
            *state = State::Running(cpu.index);
            drop(state);
        }
        let context = switch_to(cpu, thread);
        if cpu.thread().is_some() {
            arm_slice(cpu);
        }
        return context;
    }
}

/// Parks or ends a thread that was picked, as its process says; `true` when the process was resumed meanwhile, so that the
/// thread is Running after all.
#[cold]
fn admit_halted(cpu: &Cpu, thread: &Thread) -> bool {
    while !thread.process.park(thread) {
        // Looked at under the lock: who kills it now finds it Ready, and leaves it to this processor.
        let mut state = thread.state.lock();
        if thread.process.is_dying() {
            *state = State::Dead;
            drop(state);
            thread.process.thread_ended(thread);
            return false;
        }
        if !thread.process.is_halted() {
            *state = State::Running(cpu.index);
            return true;
        }
    }
    false
}

/// Takes a ready thread from another processor.
#[cold]
fn steal(cpu: &Cpu) -> Option<Arc<Thread>> {
    let most_loaded = cpu::all()
        .filter(|other| other.index != cpu.index)
        .max_by_key(|other| other.ready_top.load(Ordering::SeqCst));
    most_loaded.and_then(pop)
}

/// Halts until an interrupt; while dead processes are taken apart it does not halt, and lets pending interrupts strike. The last
/// thread's address space stays loaded: see [`crate::arch::tlb`].
fn idle(cpu: &Cpu) {
    // What is programmed may be for a wait that ended otherwise, or for the slice of who no longer runs: that it strikes for
    // nothing now and then costs less than setting it each time.
    timers::program_sooner(cpu);
    cpu.priority.store(0, Ordering::Relaxed);
    // Published before the last look at the queue; who fills the queue looks at this afterwards.
    cpu.idle.store(true, Ordering::SeqCst);
    IDLE.fetch_or(1 << cpu.index, Ordering::SeqCst);
    let start = time::ticks();
    cpu.idle_since.store(start, Ordering::Relaxed);
    if cpu.ready_top.load(Ordering::SeqCst) == 0 {
        if reaper::has_work() {
            // It may be another processor's, which may be waiting for this one to answer a TLB shootdown.
            processors::take_interrupts();
        } else {
            processors::halt();
        }
    }
    IDLE.fetch_and(!(1 << cpu.index), Ordering::SeqCst);
    cpu.idle.store(false, Ordering::SeqCst);
    let now = time::ticks();
    // In this order nobody counts this time twice.
    cpu.idle_since.store(0, Ordering::Relaxed);
    cpu.idle_time.fetch_add(now.wrapping_sub(start), Ordering::Release);
    cpu.switched_at.set(now);
}
