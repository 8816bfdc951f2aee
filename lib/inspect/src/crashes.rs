//! Crashes that init remembers: what anybody may see of them, and the rest for who is granted it.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

use capnp::Error;
use schema::{
    names::Method,
    process_capnp::{CallKind, thread_evidence},
    supervisor_capnp::{call_in_flight, crash, crash_evidence, last_calls},
    system_capnp::ObjectKind,
};
use serde::{Serialize, Serializer};

use crate::{
    Gathered, Observer,
    decode::{self, kind_name, text},
    observer::{Parts, answer, granted},
};

/// Most crashes of one snapshot.
pub const MAXIMUM_CRASHES: usize = 32;

/// Most addresses of a trace.
const MAXIMUM_TRACE: usize = 16;

/// Most kinds of capabilities, threads, calls and words of one crash.
const MAXIMUM_LIST: usize = 64;

/// Most calls in flight, and most threads, of a crash that anybody may see.
const MAXIMUM_CALLS: usize = 8;

/// Longest name of the other side of a call, in bytes.
const MAXIMUM_NAME: usize = 32;

/// What the registers are called, in the order in which they come.
pub const REGISTERS: [&str; 16] = [
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
    "r15",
];

/// The end of a process that was no success.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Crash {
    /// Counts up.
    pub number: u32,
    /// Name of the process.
    pub process: String,
    /// The kernel's number of the life that ended.
    pub id: u32,
    /// When it was noticed, since the kernel started its clock.
    pub at_microseconds: u64,
    /// How long the process had lived.
    pub lived_microseconds: u64,
    /// How often it had been started again before.
    pub restarts: u32,
    /// Why it ended.
    pub cause: String,
    /// Where its first thread was, in hexadecimal.
    pub instruction: String,
    /// Addresses of code on that thread's stack, in hexadecimal.
    pub trace: Vec<String>,
    /// Kinds of capabilities that it held, and how many.
    pub held: Vec<(&'static str, u16)>,
    /// Threads of which there is evidence.
    #[serde(skip)]
    pub threads: u16,
    /// How many calls were in flight.
    pub calls: u16,
    /// The first of them.
    pub in_flight: Vec<CallInFlight>,
    /// What its first threads received and made last.
    pub last_calls: Vec<LastCalls>,
}

/// A call that was in flight, without a word of its message.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CallInFlight {
    /// Whether the process had made it, or received it.
    pub kind: &'static str,
    /// The other side, empty when it is not known.
    pub process: String,
    /// Interface and method.
    #[serde(serialize_with = "by_name")]
    pub method: Method,
}

/// The calls that one thread received and made last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct LastCalls {
    /// The kernel's number of the thread.
    pub thread: u32,
    /// The one that it received.
    #[serde(serialize_with = "by_name_if_any")]
    pub received: Option<Method>,
    /// Whether that was answered, or given up.
    pub answered: bool,
    /// The one that it made.
    #[serde(serialize_with = "by_name_if_any")]
    pub made: Option<Method>,
}

impl LastCalls {
    /// What was never received was not answered either.
    fn of(thread: u32, received: Option<Method>, answered: bool, made: Option<Method>) -> Self {
        Self { thread, received, answered: received.is_some() && answered, made }
    }
}

fn by_name<S: Serializer>(method: &Method, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(method)
}

fn by_name_if_any<S: Serializer>(method: &Option<Method>, serializer: S) -> Result<S::Ok, S::Error> {
    match method {
        Some(method) => by_name(method, serializer),
        None => serializer.serialize_none(),
    }
}

/// What one thread was doing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thread {
    /// The kernel's number.
    pub id: u32,
    /// Whether it was in a system call, where only some registers are its own.
    pub in_system_call: bool,
    /// Where it was.
    pub instruction: u64,
    /// Flags.
    pub flags: u64,
    /// As [`REGISTERS`] names them.
    pub registers: Vec<u64>,
    /// From the stack pointer up.
    pub stack: Vec<u8>,
    /// The start of its message buffer.
    pub message: Vec<u64>,
    /// The calls that it received and made last.
    pub last: LastCalls,
}

/// A call that was in flight.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Whether the process had made it, or received it.
    pub kind: &'static str,
    /// The other side, empty when it is not known.
    pub process: String,
    /// Interface and method.
    pub method: Method,
    /// The start of the request.
    pub message: Vec<u64>,
}

/// What a process held.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Holdings {
    /// The first capabilities: handle, kind, and the process behind it.
    pub handles: Vec<(u32, &'static str, String)>,
    /// Calls in flight.
    pub calls: Vec<Call>,
}

/// A crash as init tells of it.
pub fn crash(from: crash::Reader<'_>) -> Result<Crash, Error> {
    let kinds = from.get_kinds()?;
    let held = (0..).zip(kinds.iter()).take(MAXIMUM_LIST).filter(|(_, count)| *count > 0);
    let name = |kind: u16| ObjectKind::try_from(kind).map_or("unknown", kind_name);
    Ok(Crash {
        number: from.get_number(),
        process: text(from.get_process()?),
        id: from.get_id(),
        at_microseconds: from.get_nanoseconds() / 1000,
        lived_microseconds: from.get_lived_nanoseconds() / 1000,
        restarts: from.get_restarts(),
        cause: text(from.get_cause()?),
        instruction: format!("{:x}", from.get_instruction()),
        trace: from.get_trace()?.iter().take(MAXIMUM_TRACE).map(|address| format!("{address:x}")).collect(),
        held: held.map(|(kind, count)| (name(kind), count)).collect(),
        threads: from.get_threads(),
        calls: from.get_calls(),
        in_flight: from
            .get_in_flight()?
            .iter()
            .take(MAXIMUM_CALLS)
            .map(call_in_flight)
            .collect::<Result<_, Error>>()?,
        last_calls: from.get_last_calls()?.iter().take(MAXIMUM_CALLS).map(last_calls).collect(),
    })
}

fn call_in_flight(from: call_in_flight::Reader<'_>) -> Result<CallInFlight, Error> {
    Ok(CallInFlight {
        kind: call_kind(from.get_kind()),
        process: decode::cut(from.get_process()?.as_bytes(), MAXIMUM_NAME),
        method: Method { interface: from.get_interface(), method: from.get_method() },
    })
}

fn last_calls(from: last_calls::Reader<'_>) -> LastCalls {
    LastCalls::of(
        from.get_thread(),
        method(from.get_received_interface(), from.get_received_method()),
        from.get_received_answered(),
        method(from.get_made_interface(), from.get_made_method()),
    )
}

/// A thread's last call; without an interface there was none.
fn method(interface: u64, method: u16) -> Option<Method> {
    (interface != 0).then_some(Method { interface, method })
}

fn call_kind(kind: Result<CallKind, capnp::NotInSchema>) -> &'static str {
    match kind {
        Ok(CallKind::Made) => "made",
        Ok(CallKind::Received) => "received",
        Err(_) => "unknown",
    }
}

fn thread(from: thread_evidence::Reader<'_>) -> Result<Thread, Error> {
    Ok(Thread {
        id: from.get_id(),
        in_system_call: from.get_in_system_call(),
        instruction: from.get_instruction(),
        flags: from.get_flags(),
        registers: from.get_registers()?.iter().take(REGISTERS.len()).collect(),
        stack: from.get_stack()?.iter().take(8 * MAXIMUM_LIST).copied().collect(),
        message: from.get_message()?.iter().take(MAXIMUM_LIST).collect(),
        last: LastCalls::of(
            from.get_id(),
            method(from.get_received_interface(), from.get_received_method()),
            from.get_received_answered(),
            method(from.get_made_interface(), from.get_made_method()),
        ),
    })
}

fn holdings(from: crash_evidence::holdings_results::Reader<'_>) -> Result<Holdings, Error> {
    let mut names = BTreeMap::new();
    for row in from.get_names()?.iter().take(MAXIMUM_LIST) {
        names.insert(row.get_id(), text(row.get_name()?));
    }
    let name = |id: u32| match names.get(&id) {
        Some(name) => name.clone(),
        None if id == 0 => String::new(),
        None => format!("process {id}"),
    };
    let handles = from.get_handles()?.iter().take(MAXIMUM_LIST).map(|row| {
        let handle = decode::handle(row);
        (row.get_handle(), handle.kind, name(handle.server))
    });
    let calls = from.get_calls()?.iter().take(MAXIMUM_LIST).map(|call| {
        Ok(Call {
            kind: call_kind(call.get_kind()),
            process: name(call.get_process()),
            method: Method { interface: call.get_interface(), method: call.get_method() },
            message: call.get_message()?.iter().take(MAXIMUM_LIST).collect(),
        })
    });
    Ok(Holdings { handles: handles.collect(), calls: calls.collect::<Result<_, Error>>()? })
}

impl Observer {
    /// Crashes that init remembers, the oldest first.
    ///
    /// Errors: those of `SupervisorStatus`, a missing grant.
    pub async fn crashes(&self) -> Result<Vec<Crash>, Error> {
        let status = granted(self.status())?;
        let mut crashes = Vec::new();
        let mut parts = Parts::of("crashes", MAXIMUM_CRASHES);
        let mut gathered = Gathered::default();
        loop {
            let mut request = status.crashes_request();
            request.get().set_start(parts.start);
            let response = answer(request).await?;
            let part = response.get()?;
            for row in part.get_crashes()?.iter().take(MAXIMUM_CRASHES) {
                crashes.push(crash(row)?);
            }
            if !parts.go_on(part.get_next(), crashes.len(), &mut gathered) {
                crashes.truncate(MAXIMUM_CRASHES);
                return Ok(crashes);
            }
        }
    }
}

/// What the threads of a crash were doing, and what the process held.
///
/// Errors: those of `CrashEvidence`.
pub async fn evidence(
    client: &crash_evidence::Client,
    crash: &Crash,
) -> Result<(Vec<Thread>, Holdings), Error> {
    let mut threads = Vec::new();
    for index in 0..crash.threads.min(MAXIMUM_LIST as u16) {
        let mut request = client.thread_request();
        request.get().set_crash(crash.number);
        request.get().set_thread(index);
        threads.push(thread(answer(request).await?.get()?.get_thread()?)?);
    }
    let mut request = client.holdings_request();
    request.get().set_crash(crash.number);
    Ok((threads, holdings(answer(request).await?.get()?)?))
}
