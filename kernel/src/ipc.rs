//! Calls, answers and receiving: how messages go from one process to another.
//!
//! A thread that is woken here is *claimed*: it belongs to the caller of the function, which runs it next
//! ([`crate::scheduler::switch_to`]) or makes it ready. So a call and its answer switch straight from one thread
//! to the other, without a run queue.

mod receive;

pub use receive::{Bell, reply_receive, signal_receive, submit_receive};

use crate::arch::context::Context;
use crate::arch::cpu::Cpu;
use crate::error::Error;
use crate::message;
use crate::object::Object;
use crate::object::call::{Call, Completion, Phase};
use crate::object::endpoint::{self, Facet};
use crate::object::message_buffer::MessageBuffer;
use crate::object::process::Process;
use crate::object::thread::{State, Thread};
use crate::scheduler;
use abi::{CallState, Event, MAXIMUM_CAPABILITIES, MessageInfo, NULL_HANDLE, Status};
use alloc::sync::Arc;
use collections::SlotTable;
use core::sync::atomic::Ordering;

/// A request on its way to an endpoint. Its capabilities, if it has any, are in the call.
#[derive(Clone, Copy)]
struct Request {
    interface: u64,
    info: MessageInfo,
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
#[inline(always)]
pub fn claim_receiver(endpoint: &mut endpoint::Inner) -> Option<Arc<Thread>> {
    while let Some(thread) = endpoint.receivers.pop_front() {
        let mut state = thread.state.lock();
        if thread.claim_receiving(&mut state) {
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

/// Gives a request to a waiting receiver, or queues it. `client` is the thread that waits for the answer; it is left
/// to the caller when this fails.
#[inline(always)]
fn start(
    call: &Arc<Call>,
    facet: &Facet,
    request: Request,
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
    let Some(receiver) = claim_receiver(&mut queue) else {
        call.set_badge(facet.badge);
        let mut inner = call.lock();
        inner.phase = Phase::Queued(endpoint.clone());
        inner.client = client.take();
        inner.interface = request.interface;
        inner.info = request.info;
        inner.priority = request.priority;
        drop(inner);
        // An idle call is in no queue, so it is not given back.
        let _ = queue.queue.push_back(call.clone());
        return Ok(Started::Queued);
    };
    drop(queue);
    // The call stays idle, so nobody ends it, until its receiver is ready to run.
    match deliver(&receiver, call, call.sequence(), facet.badge, request) {
        Ok(()) => {
            let mut inner = call.lock();
            inner.phase = Phase::Delivered;
            inner.client = client.take();
            inner.interface = request.interface;
            inner.info = request.info;
            drop(inner);
            Ok(Started::Delivered(receiver))
        }
        Err(error) => {
            // SAFETY: the receiver is claimed. No bits: it looks again.
            unsafe { receiver.set_event(Event::Signals, 0) };
            scheduler::make_ready(receiver);
            Err(error)
        }
    }
}

/// Puts a call into a claimed receiver's buffer, table and registers.
#[inline(always)]
fn deliver(
    receiver: &Thread,
    call: &Arc<Call>,
    sequence: u32,
    badge: u64,
    request: Request,
) -> Result<(), Error> {
    let reply = {
        let mut handles = receiver.process.handles.lock();
        if request.info.capabilities() > 0 && handles.free() <= request.info.capabilities() {
            return Err(Error::overloaded("the server's handle quota is used up"));
        }
        let reply = handles.insert(Object::Reply(call.clone(), sequence));
        reply.map_err(|_| Error::overloaded("the server's handle quota is used up"))?
    };
    if request.info.capabilities() > 0 {
        place_capabilities(&receiver.process, &receiver.buffer, call);
    }
    call.buffer.copy_segment(request.info.words(), &receiver.buffer);
    let own = receiver.base_priority.load(Ordering::Relaxed);
    receiver.priority.store(request.priority.max(own), Ordering::Relaxed);
    // SAFETY: the receiver is claimed.
    let results = unsafe { &mut receiver.context_mut().results };
    results.rax = Event::Call as u64;
    results.rdi = badge;
    results.rsi = request.interface;
    results.rdx = request.info.0;
    results.r8 = u64::from(reply);
    Ok(())
}

/// Moves a call's capabilities into a table and writes their handles into the buffer. One that finds no room becomes
/// [`NULL_HANDLE`]; callers check for room beforehand.
#[cold]
fn place_capabilities(process: &Process, buffer: &MessageBuffer, call: &Call) {
    for index in 0..MAXIMUM_CAPABILITIES {
        let object = call.take_capability(index);
        let handle = object.map_or(NULL_HANDLE, |object| process.insert(object).unwrap_or(NULL_HANDLE));
        buffer.set_capability(index, handle);
    }
}

/// Completes a call with the message in `from` if it is still the one that `sequence` names; its capabilities are
/// in the call. Returns the thread that this woke, claimed.
#[inline(always)]
fn complete(
    call: &Call,
    sequence: u32,
    status: Status,
    info: MessageInfo,
    from: &MessageBuffer,
) -> Option<Arc<Thread>> {
    let client = {
        let mut inner = call.lock();
        if call.sequence() != sequence || !matches!(inner.phase, Phase::Delivered) {
            return None;
        }
        call.finish(&mut inner)
    };
    match &call.completion {
        Completion::Thread => {
            let thread = client?;
            let (status, info) = write_answer(call, &thread.process, status, info, from);
            // SAFETY: taking the client out of the call has claimed it.
            unsafe { thread.set_answer(status, info) };
            claim_client(thread)
        }
        Completion::Signal { process, notification, bits, .. } => {
            let (status, info) = if info.capabilities() == 0 {
                from.copy_segment(info.words(), &call.buffer);
                (status, info.without_method())
            } else {
                process.upgrade().map_or((Status::Disconnected, MessageInfo(0)), |process| {
                    write_answer(call, &process, status, info, from)
                })
            };
            call.buffer.set_call_state(CallState::Done, status, info);
            notification.signal(*bits)
        }
    }
}

/// Copies an answer into the call's buffer and its capabilities into the owner's table.
#[inline(always)]
fn write_answer(
    call: &Call,
    owner: &Process,
    status: Status,
    info: MessageInfo,
    from: &MessageBuffer,
) -> (Status, MessageInfo) {
    if info.capabilities() > 0 {
        if owner.handles.lock().free() < info.capabilities() {
            call.clear_capabilities();
            let error = Error::overloaded("the caller's handle quota is used up");
            return (error.status, call.buffer.write_text(error.reason));
        }
        place_capabilities(owner, &call.buffer, call);
    }
    from.copy_segment(info.words(), &call.buffer);
    (status, info.without_method())
}

/// Tells the owner of a call, which is Idle already, that it failed.
fn fail(call: &Call, client: Option<Arc<Thread>>, error: Error) -> Option<Arc<Thread>> {
    let info = call.buffer.write_text(error.reason);
    match &call.completion {
        Completion::Thread => {
            let thread = client?;
            // SAFETY: taking the client out of the call has claimed it.
            unsafe { thread.set_answer(error.status, info) };
            claim_client(thread)
        }
        Completion::Signal { notification, bits, .. } => {
            call.buffer.set_call_state(CallState::Done, error.status, info);
            notification.signal(*bits)
        }
    }
}

/// The thread's wait for its own call is over.
#[inline(always)]
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

/// Answers a delivered call with an error.
pub fn complete_with_error(call: &Call, sequence: u32, error: Error) -> Option<Arc<Thread>> {
    let client = {
        let mut inner = call.lock();
        if call.sequence() != sequence || !matches!(inner.phase, Phase::Delivered) {
            return None;
        }
        call.finish(&mut inner)
    };
    fail(call, client, error)
}

/// Answers a call that was taken out of an endpoint's queue with an error.
pub fn refuse_queued(call: &Call, error: Error) -> Option<Arc<Thread>> {
    let client = {
        let mut inner = call.lock();
        if !matches!(inner.phase, Phase::Queued(_)) {
            return None;
        }
        call.finish(&mut inner)
    };
    call.clear_capabilities();
    fail(call, client, error)
}

/// Attaches the capabilities of the message in `buffer` to a call, if it has any.
#[inline(always)]
fn attach_capabilities(
    thread: &Thread,
    call: &Call,
    info: MessageInfo,
    buffer: &MessageBuffer,
) -> Result<(), Error> {
    if info.is_plain() {
        return Ok(());
    }
    call.set_capabilities(message::read_capabilities(thread, info, buffer)?);
    Ok(())
}

/// System call `call`: the current thread calls and waits for the answer.
#[inline(never)]
pub fn call(cpu: &Cpu, target: u32, interface: u64, info: MessageInfo) -> *mut Context {
    let Some(thread) = cpu.thread() else { return scheduler::run_next(cpu) };
    thread.note_made(interface, info);
    let facet = {
        let handles = thread.process.handles.lock();
        match handles.get(target) {
            Some(Object::Facet(facet)) => facet.clone(),
            other => {
                let object = other.map(Object::borrow);
                drop(handles);
                return call_kernel(cpu, thread, object, interface, info);
            }
        }
    };
    if let Err(error) = attach_capabilities(thread, &thread.call, info, &thread.buffer) {
        return refuse(cpu, thread, error);
    }
    let request = Request { interface, info, priority: thread.priority.load(Ordering::Relaxed) };
    if !scheduler::block(cpu, thread, State::Calling) {
        return scheduler::run_next(cpu);
    }
    // SAFETY: the call lives as long as the thread, which `client` keeps until the call is queued or delivered; from then on
    // the queue or the server's reply keeps the call, until the lock is released that `start` uses last.
    let call = unsafe { &*core::ptr::from_ref(&thread.call) };
    let mut client = cpu.take_thread();
    match start(call, &facet, request, &mut client) {
        Ok(Started::Delivered(receiver)) => scheduler::hand_over(cpu, receiver),
        Ok(Started::Queued) => scheduler::run_next(cpu),
        Err(error) => {
            call.clear_capabilities();
            match fail(call, client, error) {
                Some(thread) => scheduler::switch_to(cpu, thread),
                None => scheduler::run_next(cpu),
            }
        }
    }
}

fn refuse(cpu: &Cpu, thread: &Thread, error: Error) -> *mut Context {
    let info = thread.buffer.write_text(error.reason);
    // SAFETY: the thread runs here and is in the kernel.
    unsafe { thread.set_answer(error.status, info) };
    scheduler::leave(cpu)
}

/// A synchronous call of an object of the kernel's own.
fn call_kernel(
    cpu: &Cpu,
    thread: &Thread,
    object: Option<Object>,
    interface: u64,
    info: MessageInfo,
) -> *mut Context {
    let Some(object) = object else { return refuse(cpu, thread, Error::BAD_HANDLE) };
    let (status, info) = message::serve(cpu, thread, &object, interface, info, &thread.buffer);
    drop(object);
    // SAFETY: the thread runs here and is in the kernel.
    unsafe { thread.set_answer(status, info) };
    scheduler::leave(cpu)
}

/// A call and what it is to be made of, as a table names them.
struct Submission {
    call: Arc<Call>,
    target: Result<Arc<Facet>, Option<Object>>,
}

impl Submission {
    /// Looks both up; `None` when there is no such call.
    #[inline(always)]
    fn find(table: &SlotTable<Object>, call_and_target: u64) -> Option<Self> {
        let Some(Object::Call(call)) = table.get(call_and_target as u32) else { return None };
        let target = match table.get((call_and_target >> 32) as u32) {
            Some(Object::Facet(facet)) => Ok(facet.clone()),
            other => Err(other.map(Object::borrow)),
        };
        Some(Self { call: call.clone(), target })
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
    let found = Submission::find(&thread.process.handles.lock(), call_and_target);
    match found {
        Some(submission) => start_submission(cpu, thread, submission, interface, info),
        None => (Status::Failed, None),
    }
}

/// System call `submit_yield`: starts a call and lets the thread that receives it run first.
#[inline(never)]
pub fn submit_yield(cpu: &Cpu, call_and_target: u64, interface: u64, info: MessageInfo) -> *mut Context {
    let Some(thread) = cpu.thread() else { return scheduler::run_next(cpu) };
    let found = Submission::find(&thread.process.handles.lock(), call_and_target);
    let (status, woken) = match found {
        Some(submission) => start_submission(cpu, thread, submission, interface, info),
        None => (Status::Failed, None),
    };
    // SAFETY: the thread runs here and is in the kernel.
    unsafe { thread.set_answer(status, MessageInfo(0)) };
    match woken {
        Some(receiver) => scheduler::run_first(cpu, receiver),
        None => scheduler::leave(cpu),
    }
}

/// Starts a submitted call. Returns the thread that this woke, claimed.
#[inline(always)]
fn start_submission(
    cpu: &Cpu,
    thread: &Thread,
    submission: Submission,
    interface: u64,
    info: MessageInfo,
) -> (Status, Option<Arc<Thread>>) {
    thread.note_made(interface, info);
    let Submission { call, target } = submission;
    let facet = match target {
        Ok(facet) => facet,
        Err(object) => return submit_kernel(cpu, thread, &call, object, interface, info),
    };
    let request = Request { interface, info, priority: thread.priority.load(Ordering::Relaxed) };
    if !call.begin() {
        return (Status::Failed, None);
    }
    if let Err(error) = attach_capabilities(thread, &call, info, &call.buffer) {
        return submission_failed(&call, error);
    }
    match start(&call, &facet, request, &mut None) {
        Ok(Started::Delivered(receiver)) => (Status::Ok, Some(receiver)),
        Ok(Started::Queued) => (Status::Ok, None),
        Err(error) => submission_failed(&call, error),
    }
}

/// A submitted call could not be started: it is complete with the error.
#[cold]
fn submission_failed(call: &Call, error: Error) -> (Status, Option<Arc<Thread>>) {
    call.clear_capabilities();
    call.end();
    (error.status, fail(call, None, error))
}

/// A submitted call of an object of the kernel's own: it is complete at once.
fn submit_kernel(
    cpu: &Cpu,
    thread: &Thread,
    call: &Call,
    object: Option<Object>,
    interface: u64,
    info: MessageInfo,
) -> (Status, Option<Arc<Thread>>) {
    if !call.begin() {
        return (Status::Failed, None);
    }
    call.end();
    let Some(object) = object else { return (Status::Failed, fail(call, None, Error::BAD_HANDLE)) };
    let (status, info) = message::serve(cpu, thread, &object, interface, info, &call.buffer);
    drop(object);
    call.buffer.set_call_state(CallState::Done, status, info);
    (Status::Ok, signal_completion(call))
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
    let reply = take_reply(&mut thread.process.handles.lock(), reply);
    answer(thread, reply, status, info)
}

/// Takes the right to answer one use of a call out of a table.
#[inline(always)]
fn take_reply(table: &mut SlotTable<Object>, reply: u32) -> Option<(Arc<Call>, u32)> {
    match table.remove_if(reply, |object| matches!(object, Object::Reply(..))) {
        Some(Object::Reply(call, sequence)) => Some((call, sequence)),
        _ => None,
    }
}

/// Answers the call that a reply, which was taken out of the thread's table, stands for.
#[inline(always)]
fn answer(
    thread: &Thread,
    reply: Option<(Arc<Call>, u32)>,
    status: Status,
    info: MessageInfo,
) -> Result<Option<Arc<Thread>>, Error> {
    let Some((call, sequence)) = reply else { return Err(Error::BAD_HANDLE) };
    // What a caller has lent ends here.
    thread.priority.store(thread.base_priority.load(Ordering::Relaxed), Ordering::Relaxed);
    match attach_capabilities(thread, &call, info, &thread.buffer) {
        Ok(()) => Ok(complete(&call, sequence, status, info, &thread.buffer)),
        Err(_) => {
            Ok(complete_with_error(&call, sequence, Error::failed("the server's answer was malformed")))
        }
    }
}

/// System call `cancel`.
pub fn cancel(thread: &Thread, call: u32) -> Status {
    let object = thread.process.handles.lock().get(call).map(Object::borrow);
    match object {
        Some(Object::Call(call)) => {
            // Only a thread's own call has a client that waits; this one has none. An answer that has come stays as it is, for
            // its capabilities are the caller's to close.
            if call.cancel().is_some() {
                call.buffer.set_call_state(CallState::Idle, Status::Ok, MessageInfo(0));
            }
            Status::Ok
        }
        Some(_) | None => Status::Failed,
    }
}
