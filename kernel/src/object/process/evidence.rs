//! Evidence: what a process was doing and what it held when it ended, kept for its supervisor.
//!
//! Taken while the process dies, from the threads in the order in which they end (the one that faulted or exited is the
//! first), and from the handle table once the last thread has ended. The Process object keeps it, so it goes when the last holder
//! of the process lets go. A process that exits with code 0 leaves none.
//!
//! The process is charged for the room from the start, so that there is a place for it when all quotas are used up.

use super::Process;
use crate::arch::context::{Entered, Registers, Results};
use crate::error::Error;
use crate::message::{Answer, Params};
use crate::object::call::{Call, Completion, Phase};
use crate::object::thread::Thread;
use crate::object::{Description, Object};
use abi::{CallState, MessageInfo};
use alloc::sync::Arc;
use alloc::vec::Vec;
use schema::process_capnp::{self as wire, process};

/// Threads that are shown.
const MAXIMUM_THREADS: usize = 4;
/// Bytes of a thread's stack that are shown, from the stack pointer up.
const STACK_BYTES: usize = 512;
/// Words of a message buffer that are shown.
const MESSAGE_WORDS: usize = 8;
/// Capabilities that are shown one by one.
const MAXIMUM_HANDLES: usize = 32;
/// Calls that are shown.
const MAXIMUM_CALLS: usize = 8;
/// Kinds of objects that are counted (`ObjectKind`).
const KINDS: usize = 32;

/// What all this takes at most.
pub const MAXIMUM_BYTES: usize = MAXIMUM_THREADS * (size_of::<ThreadEvidence>() + STACK_BYTES)
    + MAXIMUM_HANDLES * size_of::<(u32, Description)>()
    + MAXIMUM_CALLS * size_of::<CallEvidence>();

/// All that is kept of one process.
pub struct Evidence {
    threads: Vec<ThreadEvidence>,
    handles: Vec<(u32, Description)>,
    kinds: [u16; KINDS],
    calls: Vec<CallEvidence>,
}

struct ThreadEvidence {
    id: u32,
    registers: Registers,
    stack: Vec<u8>,
    message: [u64; MESSAGE_WORDS],
    /// The call that it received last.
    received: ReceivedCall,
    /// Interface id and method of the call that it made last, answered or not; the id is 0 when it never made one.
    made: (u64, u16),
}

struct ReceivedCall {
    /// 0 when it never received one.
    interface: u64,
    method: u16,
    answered: bool,
}

/// A call that was in flight: one of the process's own, or one that it had received and not answered.
struct CallEvidence {
    kind: wire::CallKind,
    /// The other process, 0 when it is not known.
    other: u32,
    badge: u64,
    interface: u64,
    method: u16,
    message: [u64; MESSAGE_WORDS],
}

impl Evidence {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self { threads: Vec::new(), handles: Vec::new(), kinds: [0; KINDS], calls: Vec::new() }
    }
}

impl Process {
    /// Notes what a thread of this dying process was doing. The thread is dead: nobody touches its context.
    pub(super) fn note_thread(&self, thread: &Thread) {
        if !self.is_crash() || self.evidence.lock().threads.len() >= MAXIMUM_THREADS {
            return;
        }
        // SAFETY: nobody runs the thread or will.
        let context = unsafe { thread.context_mut() };
        let (registers, results) = (context.registers, context.results);
        let evidence = ThreadEvidence {
            id: thread.id,
            registers,
            // A stack pointer can be anything.
            stack: self.space.read_start(registers.rsp, STACK_BYTES),
            message: thread.buffer.first_words(),
            received: self.received_last(&results),
            made: thread.made_last(),
        };
        let mut kept = self.evidence.lock();
        if kept.threads.len() < MAXIMUM_THREADS && kept.threads.try_reserve_exact(MAXIMUM_THREADS).is_ok() {
            kept.threads.push(evidence);
        }
    }

    /// The call that a thread received last, by the results of its system calls.
    fn received_last(&self, results: &Results) -> ReceivedCall {
        // Handles are 32 bits wide.
        let reply = results.r8 as u32;
        let unanswered = matches!(self.handles.lock().get(reply), Some(Object::Reply(..)));
        ReceivedCall {
            interface: results.rsi,
            method: MessageInfo(results.rdx).method(),
            answered: !unanswered,
        }
    }

    /// Notes the call that a thread waits in, before it is taken out of it.
    pub(super) fn note_own_call(&self, thread: &Thread) {
        if !self.is_crash() {
            return;
        }
        let Some(call) = CallEvidence::new(wire::CallKind::Made, &thread.call) else { return };
        let mut kept = self.evidence.lock();
        if kept.calls.len() < MAXIMUM_CALLS && kept.calls.try_reserve_exact(MAXIMUM_CALLS).is_ok() {
            kept.calls.push(call);
        }
    }

    /// Notes what the process held, after its last thread has ended and before anything is closed.
    pub(super) fn note_holdings(&self) {
        if !self.is_crash() {
            return;
        }
        let mut kinds = [0_u16; KINDS];
        let mut shown = Vec::new();
        // Without memory there is less to see.
        let _ = shown.try_reserve_exact(MAXIMUM_HANDLES);
        let mut in_flight: [Option<(wire::CallKind, Arc<Call>)>; MAXIMUM_CALLS] = Default::default();
        let mut places = in_flight.iter_mut();
        {
            let handles = self.handles.lock();
            for (handle, object) in handles.iter_from(0) {
                let description = object.describe();
                if let Some(count) = kinds.get_mut(usize::from(description.kind as u16)) {
                    *count = count.saturating_add(1);
                }
                if shown.len() < shown.capacity() {
                    shown.push((handle, description));
                }
                let call = match object {
                    Object::Call(call) if call.buffer.call_state() == CallState::InFlight as u32 => {
                        (wire::CallKind::Made, call)
                    }
                    // One that its caller gave up may be another call by now.
                    Object::Reply(call, sequence) if call.sequence() == *sequence => {
                        (wire::CallKind::Received, call)
                    }
                    _ => continue,
                };
                if let Some(place) = places.next() {
                    *place = Some((call.0, call.1.clone()));
                }
            }
        }
        let calls = in_flight.iter().flatten().filter_map(|(kind, call)| CallEvidence::new(*kind, call));
        let mut kept = self.evidence.lock();
        (kept.handles, kept.kinds) = (shown, kinds);
        // Behind those that threads waited in.
        let room = MAXIMUM_CALLS.saturating_sub(kept.calls.len());
        if kept.calls.try_reserve_exact(room).is_ok() {
            kept.calls.extend(calls.take(room));
        }
    }

    /// Whether it did not end as it wanted to.
    fn is_crash(&self) -> bool {
        let exit = self.exit();
        exit.cause != wire::ExitCause::Running && !(exit.cause == wire::ExitCause::Exited && exit.code == 0)
    }

    /// Serves `Process.evidence`.
    pub(super) fn list_evidence(&self, params: &Params, answer: &mut Answer) -> Result<(), Error> {
        let index = params.root::<process::evidence_params::Owned>()?.get_thread();
        let kept = self.evidence.lock();
        let mut results = answer.root::<process::evidence_results::Owned>()?;
        // At most `MAXIMUM_THREADS`.
        results.set_threads(kept.threads.len() as u16);
        let thread =
            kept.threads.get(usize::from(index)).ok_or(Error::failed("no evidence of this thread"))?;
        thread.write(results.init_thread());
        Ok(())
    }

    /// Serves `Process.holdings`.
    pub(super) fn list_holdings(&self, answer: &mut Answer) -> Result<(), Error> {
        let kept = self.evidence.lock();
        let mut results = answer.root::<process::holdings_results::Owned>()?;
        let used = kept.kinds.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        let mut kinds = results.reborrow().init_kinds(used as u32);
        for (index, count) in (0..).zip(kept.kinds.iter().take(used)) {
            kinds.set(index, *count);
        }
        let mut handles = results.reborrow().init_handles(kept.handles.len() as u32);
        for (index, (handle, description)) in (0..).zip(&kept.handles) {
            description.write(*handle, handles.reborrow().get(index));
        }
        let mut calls = results.init_calls(kept.calls.len() as u32);
        for (index, call) in (0..).zip(&kept.calls) {
            call.write(calls.reborrow().get(index));
        }
        Ok(())
    }
}

impl ThreadEvidence {
    fn write(&self, mut to: wire::thread_evidence::Builder<'_>) {
        let registers = &self.registers;
        to.set_id(self.id);
        to.set_in_system_call(registers.entered == Entered::Syscall);
        to.set_instruction(registers.rip);
        to.set_flags(registers.rflags);
        let general = [
            registers.rax,
            registers.rbx,
            registers.rcx,
            registers.rdx,
            registers.rsi,
            registers.rdi,
            registers.rbp,
            registers.rsp,
            registers.r8,
            registers.r9,
            registers.r10,
            registers.r11,
            registers.r12,
            registers.r13,
            registers.r14,
            registers.r15,
        ];
        let mut list = to.reborrow().init_registers(general.len() as u32);
        for (index, value) in (0..).zip(general) {
            list.set(index, value);
        }
        to.set_stack(&self.stack);
        to.set_received_interface(self.received.interface);
        to.set_received_method(self.received.method);
        to.set_received_answered(self.received.answered);
        to.set_made_interface(self.made.0);
        to.set_made_method(self.made.1);
        write_words(&self.message, to.init_message(MESSAGE_WORDS as u32));
    }
}

impl CallEvidence {
    /// `None` when it is no longer in flight.
    fn new(kind: wire::CallKind, call: &Call) -> Option<Self> {
        let message = call.buffer.first_words();
        let inner = call.lock();
        let (interface, method) = (inner.interface, inner.info.method());
        let mut evidence = Self { kind, other: 0, badge: 0, interface, method, message };
        match &inner.phase {
            Phase::Idle | Phase::Starting => return None,
            Phase::Queued(endpoint) => (evidence.other, evidence.badge) = (endpoint.server, call.badge()),
            Phase::Delivered => {}
        }
        if kind == wire::CallKind::Received {
            evidence.other = inner.client.as_ref().map_or(0, |client| client.process.id);
        }
        drop(inner);
        if let (wire::CallKind::Received, Completion::Signal { process, .. }) = (kind, &call.completion)
            && let Some(client) = process.upgrade()
        {
            evidence.other = client.id;
        }
        Some(evidence)
    }

    fn write(&self, mut to: wire::call_evidence::Builder<'_>) {
        to.set_kind(self.kind);
        to.set_process(self.other);
        to.set_badge(self.badge);
        to.set_interface(self.interface);
        to.set_method(self.method);
        write_words(&self.message, to.init_message(MESSAGE_WORDS as u32));
    }
}

fn write_words(words: &[u64], mut to: capnp::primitive_list::Builder<'_, u64>) {
    for (index, word) in (0..).zip(words) {
        to.set(index, *word);
    }
}
