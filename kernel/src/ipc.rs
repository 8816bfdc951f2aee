//! Calls, answers and receiving: how messages go from one process to another.
//!
//! A thread that is woken here is *claimed*: it belongs to the caller of the function, which runs it next
//! ([`crate::scheduler::switch_to`]) or makes it ready. So a call and its answer switch straight from one thread
//! to the other, without a run queue.

use crate::arch::context::Context;
use crate::arch::cpu::Cpu;
use crate::error::Error;
use crate::message;
use crate::object::Object;
use crate::object::call::{Call, Capabilities, Completion, NO_CAPABILITIES, Phase};
use crate::object::endpoint::{self, Facet};
use crate::object::message_buffer::MessageBuffer;
use crate::object::process::Process;
use crate::object::thread::{State, Thread};
use crate::{scheduler, time, timers};
use abi::{CallState, Event, MessageInfo, NO_DEADLINE, NULL_HANDLE, Status};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

/// A request on its way to an endpoint.
struct Request {
    interface: u64,
    info: MessageInfo,
    capabilities: Capabilities,
    priority: u8,
}

/// What became of a request.
enum Started {
    /// This thread has received it; the caller of the function owns it.
    Delivered(Arc<Thread>),
    /// It waits for a receiver.
    Queued,
}

/// Takes the first waiting receiver that is alive; it is claimed.
#[inline]
pub fn claim_receiver(endpoint: &mut endpoint::Inner) -> Option<Arc<Thread>> {
    while let Some(thread) = endpoint.receivers.pop_front() {
        let mut state = thread.state.lock();
        if thread.claim(&mut state) {
            drop(state);
            return Some(thread);
        }
        // Its process is dying. It stays claimed here, which the scheduler's next look at it ends.
        *state = State::Ready;
        drop(state);
        scheduler::bury(thread);
    }
    None
}

/// Gives a request to a waiting receiver, or queues it. `client` is the thread that waits for the answer.
fn start(
    call: &Arc<Call>,
    facet: &Facet,
    mut request: Request,
    client: &mut Option<Arc<Thread>>,
) -> Result<Started, Error> {
    let endpoint = &facet.endpoint;
    let mut queue = endpoint.lock();
    if queue.closed {
        return Err(Error::SERVER_GONE);
    }
    if facet.is_revoked() {
        return Err(Error::REVOKED);
    }
    call.set_badge(facet.badge);
    let Some(receiver) = claim_receiver(&mut queue) else {
        let mut inner = call.lock();
        inner.phase = Phase::Queued(endpoint.clone());
        inner.client = client.take();
        inner.interface = request.interface;
        inner.info = request.info;
        inner.priority = request.priority;
        inner.capabilities = core::mem::replace(&mut request.capabilities, NO_CAPABILITIES);
        drop(inner);
        // An idle call is in no queue, so it is not given back.
        let _ = queue.queue.push_back(call.clone());
        return Ok(Started::Queued);
    };
    let sequence = {
        let mut inner = call.lock();
        inner.phase = Phase::Delivered;
        inner.client = client.take();
        inner.sequence
    };
    drop(queue);
    match deliver(&receiver, call, sequence, facet.badge, &mut request) {
        Ok(()) => Ok(Started::Delivered(receiver)),
        Err(error) => {
            *client = call.lock().finish();
            // SAFETY: the receiver is claimed. No bits: it looks again.
            unsafe { receiver.set_event(Event::Signals, 0) };
            scheduler::make_ready(receiver);
            Err(error)
        }
    }
}

/// Puts a call into a claimed receiver's buffer, table and registers.
#[inline]
fn deliver(
    receiver: &Thread,
    call: &Arc<Call>,
    sequence: u32,
    badge: u64,
    request: &mut Request,
) -> Result<(), Error> {
    let reply = {
        let mut handles = receiver.process.handles.lock();
        if handles.free() <= request.info.capabilities() {
            return Err(Error::overloaded("the server's handle quota is used up"));
        }
        handles.insert(Object::Reply(call.clone(), sequence)).map_err(|_| Error::HANDLES_FULL)?
    };
    if request.info.capabilities() > 0 {
        place_capabilities(&receiver.process, &receiver.buffer, &mut request.capabilities);
    }
    call.buffer.copy_segment(request.info.words(), &receiver.buffer);
    receiver
        .priority
        .store(request.priority.max(receiver.base_priority.load(Ordering::Relaxed)), Ordering::Relaxed);
    // SAFETY: the receiver is claimed.
    let registers = unsafe { &mut receiver.context_mut().registers };
    registers.rax = Event::Call as u64;
    registers.rdi = badge;
    registers.rsi = request.interface;
    registers.rdx = request.info.0;
    registers.r8 = u64::from(reply);
    Ok(())
}

/// Moves capabilities into a table and writes their handles into the buffer. One that finds no room becomes
/// [`NULL_HANDLE`]; callers check for room beforehand.
fn place_capabilities(process: &Process, buffer: &MessageBuffer, capabilities: &mut Capabilities) {
    for (index, entry) in capabilities.iter_mut().enumerate() {
        let handle = entry.take().map_or(NULL_HANDLE, |object| process.insert(object).unwrap_or(NULL_HANDLE));
        buffer.set_capability(index, handle);
    }
}

/// What a call is answered with.
pub enum Outcome<'a> {
    /// The message in this buffer, with these capabilities.
    Message(Status, MessageInfo, &'a MessageBuffer, Capabilities),
    /// An error of the kernel's.
    Error(Error),
}

/// Completes a call if it is still the one that `sequence` names. Returns the thread that this woke, claimed.
pub fn complete(call: &Call, sequence: u32, outcome: Outcome<'_>) -> Option<Arc<Thread>> {
    let client = {
        let mut inner = call.lock();
        if inner.sequence != sequence || !matches!(inner.phase, Phase::Delivered) {
            return None;
        }
        inner.finish()
    };
    finish(call, client, outcome)
}

/// Tells the owner of a call, which is Idle already, how it ended.
fn finish(call: &Call, client: Option<Arc<Thread>>, outcome: Outcome<'_>) -> Option<Arc<Thread>> {
    match &call.completion {
        Completion::Thread => {
            let thread = client?;
            let (status, info) = write_outcome(&call.buffer, Some(&thread.process), outcome);
            // SAFETY: taking the client out of the call has claimed it.
            unsafe { thread.set_answer(status, info) };
            claim_client(thread)
        }
        Completion::Signal { process, notification, bits, .. } => {
            let process = process.upgrade();
            let (status, info) = write_outcome(&call.buffer, process.as_deref(), outcome);
            call.buffer.set_call_state(CallState::Done, status, info);
            notification.signal(*bits)
        }
    }
}

/// The thread's wait for its own call is over.
fn claim_client(thread: Arc<Thread>) -> Option<Arc<Thread>> {
    let mut state = thread.state.lock();
    if thread.claim(&mut state) {
        drop(state);
        Some(thread)
    } else {
        *state = State::Ready;
        drop(state);
        scheduler::bury(thread);
        None
    }
}

fn write_outcome(
    buffer: &MessageBuffer,
    process: Option<&Process>,
    outcome: Outcome<'_>,
) -> (Status, MessageInfo) {
    match outcome {
        Outcome::Message(status, info, from, mut capabilities) => {
            if info.capabilities() > 0
                && let Some(process) = process
            {
                if process.handles.lock().free() < info.capabilities() {
                    let error = Error::overloaded("the caller's handle quota is used up");
                    return (error.status, buffer.write_text(error.reason));
                }
                place_capabilities(process, buffer, &mut capabilities);
            }
            from.copy_segment(info.words(), buffer);
            (status, MessageInfo::new(0, info.words() as u16, info.capabilities() as u8))
        }
        Outcome::Error(error) => (error.status, buffer.write_text(error.reason)),
    }
}

/// Answers a delivered call with an error.
pub fn complete_with_error(call: &Call, sequence: u32, error: Error) -> Option<Arc<Thread>> {
    complete(call, sequence, Outcome::Error(error))
}

/// Answers a call that was taken out of an endpoint's queue with an error.
pub fn refuse_queued(call: &Call, error: Error) -> Option<Arc<Thread>> {
    let (client, capabilities) = {
        let mut inner = call.lock();
        if !matches!(inner.phase, Phase::Queued(_)) {
            return None;
        }
        let capabilities = core::mem::replace(&mut inner.capabilities, NO_CAPABILITIES);
        (inner.finish(), capabilities)
    };
    drop(capabilities);
    finish(call, client, Outcome::Error(error))
}

fn lookup(thread: &Thread, handle: u32) -> Result<Object, Error> {
    thread.process.handles.lock().get(handle).map(Object::borrow).ok_or(Error::BAD_HANDLE)
}

/// System call `call`: the current thread calls and waits for the answer.
pub fn call(cpu: &Cpu, target: u32, interface: u64, info: MessageInfo) -> *mut Context {
    let Some(thread) = cpu.thread() else { return scheduler::run_next(cpu) };
    let answer = |status, info| {
        // SAFETY: the thread runs here and is in the kernel.
        unsafe { thread.set_answer(status, info) };
        thread.context()
    };
    let refuse = |error: Error| answer(error.status, thread.buffer.write_text(error.reason));
    let target = match lookup(thread, target) {
        Ok(target) => target,
        Err(error) => return refuse(error),
    };
    let Object::Facet(facet) = target else {
        let (status, info) = message::serve(cpu, thread, &target, interface, info, &thread.buffer);
        drop(target);
        answer(status, info);
        return scheduler::leave(cpu);
    };
    let capabilities = match request_capabilities(thread, info, &thread.buffer) {
        Ok(capabilities) => capabilities,
        Err(error) => return refuse(error),
    };
    let request =
        Request { interface, info, capabilities, priority: thread.priority.load(Ordering::Relaxed) };
    if !scheduler::block(cpu, thread, State::Calling) {
        return scheduler::run_next(cpu);
    }
    let call = thread.call.clone();
    let mut client = cpu.take_thread();
    match start(&call, &facet, request, &mut client) {
        Ok(Started::Delivered(receiver)) => scheduler::hand_over(cpu, receiver),
        Ok(Started::Queued) => scheduler::run_next(cpu),
        Err(error) => {
            let Some(thread) = client else { return scheduler::run_next(cpu) };
            let info = thread.buffer.write_text(error.reason);
            // SAFETY: the thread is still this processor's.
            unsafe { thread.set_answer(error.status, info) };
            match claim_client(thread) {
                Some(thread) => scheduler::switch_to(cpu, thread),
                None => scheduler::run_next(cpu),
            }
        }
    }
}

#[inline]
fn request_capabilities(
    thread: &Thread,
    info: MessageInfo,
    buffer: &MessageBuffer,
) -> Result<Capabilities, Error> {
    if info.capabilities() == 0 && info.words() <= abi::MAXIMUM_WORDS {
        Ok(NO_CAPABILITIES)
    } else {
        message::read_capabilities(thread, info, buffer)
    }
}

/// System call `submit`: starts a call whose completion is signalled. Returns the thread that this woke, claimed.
pub fn submit(
    cpu: &Cpu,
    thread: &Thread,
    call_and_target: u64,
    interface: u64,
    info: MessageInfo,
) -> (Status, Option<Arc<Thread>>) {
    let call = match lookup(thread, call_and_target as u32) {
        Ok(Object::Call(call)) => call,
        Ok(_) | Err(_) => return (Status::Failed, None),
    };
    if !matches!(call.lock().phase, Phase::Idle) {
        return (Status::Failed, None);
    }
    call.buffer.set_call_state(CallState::InFlight, Status::Ok, MessageInfo(0));
    let result = lookup(thread, (call_and_target >> 32) as u32).and_then(|target| match target {
        Object::Facet(facet) => {
            let capabilities = request_capabilities(thread, info, &call.buffer)?;
            let priority = thread.priority.load(Ordering::Relaxed);
            let request = Request { interface, info, capabilities, priority };
            match start(&call, &facet, request, &mut None)? {
                Started::Delivered(receiver) => Ok(Some(receiver)),
                Started::Queued => Ok(None),
            }
        }
        target => {
            let (status, info) = message::serve(cpu, thread, &target, interface, info, &call.buffer);
            call.buffer.set_call_state(CallState::Done, status, info);
            Ok(signal_completion(&call))
        }
    });
    match result {
        Ok(woken) => (Status::Ok, woken),
        Err(error) => {
            let info = call.buffer.write_text(error.reason);
            call.buffer.set_call_state(CallState::Done, error.status, info);
            (error.status, signal_completion(&call))
        }
    }
}

fn signal_completion(call: &Call) -> Option<Arc<Thread>> {
    match &call.completion {
        Completion::Signal { notification, bits, .. } => notification.signal(*bits),
        Completion::Thread => None,
    }
}

/// System call `reply`: answers a call from the thread's buffer. Returns the thread that this woke, claimed.
pub fn reply(
    thread: &Thread,
    reply: u32,
    status: Status,
    info: MessageInfo,
) -> Result<Option<Arc<Thread>>, Error> {
    let (call, sequence) = {
        let mut handles = thread.process.handles.lock();
        if !matches!(handles.get(reply), Some(Object::Reply(..))) {
            return Err(Error::BAD_HANDLE);
        }
        match handles.remove(reply) {
            Some(Object::Reply(call, sequence)) => (call, sequence),
            _ => return Err(Error::BAD_HANDLE),
        }
    };
    thread.priority.store(thread.base_priority.load(Ordering::Relaxed), Ordering::Relaxed);
    let outcome = match request_capabilities(thread, info, &thread.buffer) {
        Ok(capabilities) => Outcome::Message(status, info, &thread.buffer, capabilities),
        Err(_) => Outcome::Error(Error::failed("the server's answer was malformed")),
    };
    Ok(complete(&call, sequence, outcome))
}

/// Waits for the next event of the current thread. `woken` is a thread that the caller owns; it is run if this one waits.
pub fn receive(cpu: &Cpu, endpoint: u32, deadline: u64, woken: Option<Arc<Thread>>) -> *mut Context {
    let Some(thread) = cpu.thread() else { return scheduler::run_next(cpu) };
    match try_receive(cpu, thread, endpoint, deadline) {
        Received::Event => {
            if let Some(woken) = woken {
                scheduler::make_ready(woken);
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

fn try_receive(cpu: &Cpu, thread: &Thread, handle: u32, deadline: u64) -> Received {
    let event = |event, value| {
        // SAFETY: the thread runs here and is in the kernel.
        unsafe { thread.set_event(event, value) };
        Received::Event
    };
    let bits = thread.notification.take();
    if bits != 0 {
        return event(Event::Signals, bits);
    }
    let endpoint = if handle == NULL_HANDLE {
        None
    } else {
        match lookup(thread, handle) {
            Ok(Object::Endpoint(endpoint)) => Some(endpoint),
            Ok(_) | Err(_) => return event(Event::Error, Status::Failed as u64),
        }
    };
    let mut queue = endpoint.as_ref().map(|endpoint| endpoint.lock());
    while let Some(inner) = &mut queue {
        if inner.closed {
            return event(Event::Error, Status::Disconnected as u64);
        }
        if let Some(badge) = inner.released.pop_front() {
            return event(Event::Released, badge);
        }
        let Some(call) = inner.queue.pop_front() else { break };
        let (sequence, mut request) = {
            let mut call = call.lock();
            call.phase = Phase::Delivered;
            let capabilities = core::mem::replace(&mut call.capabilities, NO_CAPABILITIES);
            let request =
                Request { interface: call.interface, info: call.info, capabilities, priority: call.priority };
            (call.sequence, request)
        };
        drop(queue.take());
        match deliver(thread, &call, sequence, call.badge(), &mut request) {
            Ok(()) => return Received::Event,
            Err(error) => {
                drop(request);
                if let Some(client) = complete_with_error(&call, sequence, error) {
                    scheduler::make_ready(client);
                }
            }
        }
        queue = endpoint.as_ref().map(|endpoint| endpoint.lock());
    }
    if deadline != NO_DEADLINE && (deadline == 0 || deadline <= time::now()) {
        drop(queue);
        return event(Event::Timeout, 0);
    }
    // From here on the thread may be woken by another processor as soon as the locks are released.
    scheduler::save(cpu, thread);
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
    *state = State::Receiving(endpoint.clone());
    let Some(own) = cpu.take_thread() else { return Received::Waits };
    if deadline != NO_DEADLINE
        && timers::arm(&own.timer, deadline, timers::Deadline::Thread(own.clone())).is_err()
    {
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

/// System call `cancel`.
pub fn cancel(thread: &Thread, call: u32) -> Status {
    match lookup(thread, call) {
        Ok(Object::Call(call)) => {
            // Only a thread's own call has a client that waits; this one has none.
            let _ = call.cancel();
            call.buffer.set_call_state(CallState::Idle, Status::Ok, MessageInfo(0));
            Status::Ok
        }
        Ok(_) | Err(_) => Status::Failed,
    }
}
