//! Receiving: how a thread waits for calls, signals and its deadline, alone or after it has answered or submitted a call.

use super::{Request, Submission, answer, complete_with_error, deliver, start_submission, take_reply};
use crate::arch::context::Context;
use crate::arch::cpu::Cpu;
use crate::object::Object;
use crate::object::call::{Call, Phase};
use crate::object::endpoint::Endpoint;
use crate::object::notification::{Notification, Signaller};
use crate::object::thread::{ReceivesFrom, State, Thread};
use crate::{scheduler, time};
use abi::{Event, MessageInfo, NO_DEADLINE, NULL_HANDLE, Status};
use alloc::sync::Arc;
use collections::SlotTable;
use core::sync::atomic::Ordering;

/// What the first argument of `reply_receive` and the fourth name, looked up at once.
#[inline(always)]
fn from_handle(table: &SlotTable<Object>, handle: u32) -> Source {
    if handle == NULL_HANDLE {
        return Source::Signals;
    }
    match table.get(handle) {
        Some(Object::Endpoint(endpoint)) => Source::Endpoint(endpoint.clone()),
        Some(_) | None => Source::Bad,
    }
}

/// How a thread wants to wait: the last two arguments of a receive.
struct Wait {
    endpoint: u32,
    deadline: u64,
}

impl Wait {
    /// From the registers. Clears the bits of the thread's notification that it has seen the reason of: this comes first, for
    /// what the system call does next may set a bit again.
    #[inline(always)]
    fn begin(thread: &Thread, endpoint_and_acknowledged: u64, deadline: u64) -> Self {
        let acknowledged = endpoint_and_acknowledged >> 32;
        if acknowledged != 0 {
            thread.notification.clear(acknowledged);
        }
        Self { endpoint: endpoint_and_acknowledged as u32, deadline }
    }
}

/// What a thread waits on besides its deadline.
enum Source {
    /// Only its notification.
    Signals,
    /// Its notification and this endpoint.
    Endpoint(Arc<Endpoint>),
    /// Something that is no endpoint.
    Bad,
}

/// System call `reply_receive`.
#[inline(never)]
pub fn reply_receive(
    cpu: &Cpu,
    reply: u32,
    status: Status,
    info: MessageInfo,
    endpoint_and_acknowledged: u64,
    deadline: u64,
) -> *mut Context {
    let Some(thread) = cpu.thread() else { return scheduler::run_next(cpu) };
    let wait = Wait::begin(thread, endpoint_and_acknowledged, deadline);
    let (taken, source) = {
        let mut handles = thread.process.handles.lock();
        let taken = if reply == NULL_HANDLE { None } else { take_reply(&mut handles, reply) };
        (taken, from_handle(&handles, wait.endpoint))
    };
    let woken = if reply == NULL_HANDLE {
        None
    } else {
        match answer(thread, taken, status, info) {
            Ok(woken) => woken,
            Err(error) => {
                // SAFETY: the thread runs here and is in the kernel.
                unsafe { thread.set_event(Event::Error, error.status as u64) };
                return scheduler::leave(cpu);
            }
        }
    };
    let priority = if reply == NULL_HANDLE { Priority::Same } else { Priority::MayBeLower };
    receive(cpu, thread, source, wait.deadline, woken, priority)
}

/// System call `submit_receive`. A submit that fails has completed its call with the error; the receive finds the signal.
#[inline(never)]
pub fn submit_receive(
    cpu: &Cpu,
    call_and_target: u64,
    interface: u64,
    info: MessageInfo,
    endpoint_and_acknowledged: u64,
    deadline: u64,
) -> *mut Context {
    let Some(thread) = cpu.thread() else { return scheduler::run_next(cpu) };
    let wait = Wait::begin(thread, endpoint_and_acknowledged, deadline);
    let (submission, source) = {
        let handles = thread.process.handles.lock();
        (Submission::find(&handles, call_and_target), from_handle(&handles, wait.endpoint))
    };
    let woken =
        submission.and_then(|submission| start_submission(cpu, thread, submission, interface, info).1);
    receive(cpu, thread, source, wait.deadline, woken, Priority::Same)
}

/// What a handle names that can be signalled.
pub enum Bell {
    /// It sets its own bits.
    Signaller(Arc<Signaller>),
    /// It sets any.
    Notification(Arc<Notification>),
}

impl Bell {
    /// `None` when the handle names something else.
    #[inline(always)]
    pub fn find(table: &SlotTable<Object>, handle: u32) -> Option<Self> {
        match table.get(handle) {
            Some(Object::Signaller(signaller)) => Some(Self::Signaller(signaller.clone())),
            Some(Object::Notification(notification)) => Some(Self::Notification(notification.clone())),
            Some(_) | None => None,
        }
    }

    /// Sets the bits. Returns the thread that this woke: it is then the caller's to run or to make ready.
    #[inline(always)]
    pub fn ring(&self, bits: u64) -> Option<Arc<Thread>> {
        match self {
            Self::Signaller(signaller) => signaller.signal(),
            Self::Notification(notification) => notification.signal(bits),
        }
    }
}

/// System call `signal_receive`. Who finds an event goes on before whom it woke; who waits has it run in its place, unless
/// others of its importance were there before.
#[inline(never)]
pub fn signal_receive(
    cpu: &Cpu,
    handle: u32,
    bits: u64,
    endpoint_and_acknowledged: u64,
    deadline: u64,
) -> *mut Context {
    let Some(thread) = cpu.thread() else { return scheduler::run_next(cpu) };
    let wait = Wait::begin(thread, endpoint_and_acknowledged, deadline);
    let (bell, source) = {
        let handles = thread.process.handles.lock();
        (Bell::find(&handles, handle), from_handle(&handles, wait.endpoint))
    };
    let Some(bell) = bell else {
        // SAFETY: the thread runs here and is in the kernel.
        unsafe { thread.set_event(Event::Error, Status::Failed as u64) };
        return scheduler::leave(cpu);
    };
    let woken = bell.ring(bits);
    match (try_receive(cpu, thread, source, wait.deadline, deliver_rare_call), woken) {
        (Received::Event, woken) => {
            if let Some(woken) = woken {
                scheduler::make_ready_in(woken, scheduler::Turn::AtNextWait);
            }
            scheduler::leave(cpu)
        }
        (Received::Waits, Some(woken)) => scheduler::run_in_turn(cpu, woken),
        (Received::Waits, None) => scheduler::run_next(cpu),
    }
}

/// What a system call has done to the priority of the thread that receives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Priority {
    /// Nothing.
    Same,
    /// It has answered a call, and what its caller had lent has ended.
    MayBeLower,
}

/// Waits for the next event of the current thread. `woken` is a thread that the caller owns; it is run if this one waits.
#[inline(always)]
fn receive(
    cpu: &Cpu,
    thread: &Thread,
    source: Source,
    deadline: u64,
    woken: Option<Arc<Thread>>,
    priority: Priority,
) -> *mut Context {
    match try_receive(cpu, thread, source, deadline, deliver_call) {
        Received::Event => {
            if let Some(woken) = woken {
                scheduler::make_ready(woken);
            }
            if priority == Priority::MayBeLower {
                scheduler::look_again(cpu, thread);
            }
            scheduler::leave(cpu)
        }
        Received::Waits => match woken {
            Some(woken) => scheduler::hand_over(cpu, woken),
            None => scheduler::run_next(cpu),
        },
    }
}

enum Received {
    /// The event is in the thread's registers.
    Event,
    /// The thread waits; it no longer is this processor's.
    Waits,
}

/// Delivers a call to the thread; false when that cannot be, and the call has been answered.
#[inline(always)]
fn deliver_call(thread: &Thread, call: &Arc<Call>, sequence: u32, request: Request) -> bool {
    let Err(error) = deliver(thread, call, sequence, call.badge(), request) else { return true };
    call.clear_capabilities();
    if let Some(client) = complete_with_error(call, sequence, error) {
        scheduler::make_ready(client);
    }
    false
}

/// [`deliver_call`] for waits that seldom find a call: out of line, so that what each of them runs lies together.
#[cold]
fn deliver_rare_call(thread: &Thread, call: &Arc<Call>, sequence: u32, request: Request) -> bool {
    deliver_call(thread, call, sequence, request)
}

/// Has the thread wait, unless there is an event for it; `deliver` delivers a call.
#[inline(always)]
fn try_receive(
    cpu: &Cpu,
    thread: &Thread,
    source: Source,
    deadline: u64,
    deliver: impl Fn(&Thread, &Arc<Call>, u32, Request) -> bool,
) -> Received {
    let event = |event, value| {
        // SAFETY: the thread runs here and is in the kernel.
        unsafe { thread.set_event(event, value) };
        Received::Event
    };
    let bits = thread.notification.take();
    if bits != 0 {
        return event(Event::Signals, bits);
    }
    let endpoint = match source {
        Source::Signals => None,
        Source::Endpoint(endpoint) => Some(endpoint),
        Source::Bad => return event(Event::Error, Status::Failed as u64),
    };
    let mut queue = endpoint.as_ref().map(|endpoint| endpoint.lock());
    while let Some(inner) = &mut queue {
        if inner.closed {
            return event(Event::Error, Status::Disconnected as u64);
        }
        if !inner.released.is_empty()
            && let Some(badge) = inner.released.pop_front()
        {
            return event(Event::Released, badge);
        }
        let Some(call) = inner.queue.pop_front() else { break };
        let (sequence, request) = {
            let mut inner = call.lock();
            inner.phase = Phase::Delivered;
            let request = Request { interface: inner.interface, info: inner.info, priority: inner.priority };
            (call.sequence(), request)
        };
        drop(queue.take());
        if deliver(thread, &call, sequence, request) {
            return Received::Event;
        }
        queue = endpoint.as_ref().map(|endpoint| endpoint.lock());
    }
    if deadline != NO_DEADLINE && (deadline == 0 || deadline <= time::now()) {
        drop(queue);
        return event(Event::Timeout, 0);
    }
    // From here on the thread may be woken by another processor as soon as the locks are released.
    scheduler::save_in_call(cpu, thread);
    let mut state = thread.state.lock();
    if thread.process.is_dying() {
        drop(state);
        drop(queue);
        scheduler::end_current(cpu);
        return Received::Waits;
    }
    if !thread.notification.begin_wait() {
        drop(state);
        drop(queue);
        return event(Event::Signals, thread.notification.take());
    }
    thread.deadline.store(deadline, Ordering::Relaxed);
    *state = State::Receiving(endpoint.as_deref().map_or(ReceivesFrom::NOTHING, ReceivesFrom::endpoint));
    let Some(own) = cpu.take_thread() else { return Received::Waits };
    if deadline != NO_DEADLINE && own.arm_deadline(deadline).is_err() {
        // Without room for the deadline the wait ends at once.
        own.notification.end_wait();
        *state = State::Running(cpu.index);
        drop(state);
        drop(queue);
        cpu.set_thread(own);
        return event(Event::Timeout, 0);
    }
    match &mut queue {
        Some(inner) => {
            // A running thread is in no list, so it is not given back.
            let _ = inner.receivers.push_back(own);
        }
        // Its process's list and its notification keep it.
        None => drop(own),
    }
    Received::Waits
}
