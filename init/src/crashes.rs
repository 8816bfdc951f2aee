//! The crashes that init remembers: the last few of each process, and not too many of all.

use crate::supervision::Unit;
use alloc::{
    borrow::Cow,
    collections::VecDeque,
    format,
    string::{String, ToString},
    vec::Vec,
};
use capnp::{
    message::{Builder, HeapAllocator},
    struct_list,
    traits::{Owned, SetterInput},
};
use core::{ops::Range, time::Duration};
use schema::{
    process_capnp::{call_evidence, thread_evidence},
    supervisor_capnp::crash,
};

/// Most crashes of one process.
const MAXIMUM_OF_PROCESS: usize = 4;

/// Most crashes of all processes.
const MAXIMUM: usize = 32;

/// Most addresses of a trace.
const MAXIMUM_TRACE: usize = 16;

/// Longest cause, in bytes.
const MAXIMUM_CAUSE: usize = 159;

/// Most calls in flight, and most threads, that a crash shows to anybody. The kernel keeps no more.
const MAXIMUM_CALLS: usize = 8;
const MAXIMUM_THREADS: usize = 4;

/// Longest name of a process, in bytes.
const MAXIMUM_NAME: usize = 31;

/// Crashes in one answer: with all that they can have they fill a message.
pub const CRASHES_PER_ANSWER: usize = 3;

/// A part of a message, kept as it came.
pub struct Kept(Builder<HeapAllocator>);

impl Kept {
    /// A copy.
    ///
    /// # Errors
    /// When the part is malformed.
    pub fn new<T: Owned>(words: u64, part: impl SetterInput<T>) -> capnp::Result<Self> {
        let words = u32::try_from(words).map_err(|_| capnp::Error::failed("too long to keep".into()))?;
        let mut message = Builder::new(HeapAllocator::new().first_segment_words(words.saturating_add(2)));
        message.set_root::<T>(part)?;
        Ok(Self(message))
    }

    /// The part.
    ///
    /// # Errors
    /// When it is of another type.
    pub fn get<T: Owned>(&self) -> capnp::Result<T::Reader<'_>> {
        self.0.get_root_as_reader()
    }
}

/// One crash.
pub struct Crash {
    /// Counts all crashes, from 1.
    pub number: u32,
    /// The process.
    pub unit: Unit,
    /// Its name.
    pub name: String,
    /// The kernel's number of the life that ended.
    pub id: u32,
    /// When it was noticed.
    pub time: Duration,
    /// How long the process had lived.
    pub lived: Duration,
    /// How often it had been started again before.
    pub restarts: u32,
    /// Why it ended, in words.
    pub cause: String,
    /// What its threads were doing, each a `ThreadEvidence`.
    pub threads: Vec<Kept>,
    /// What it held: the results of `Process.holdings`.
    pub holdings: Option<Kept>,
    /// Names of the processes that are numbered in it.
    pub names: Vec<(u32, String)>,
    /// Where the first thread was.
    pub instruction: u64,
    /// Addresses of code on its stack.
    pub trace: Vec<u64>,
}

impl Crash {
    /// Writes what can be shown to anybody.
    ///
    /// # Errors
    /// When what the kernel said is malformed.
    pub fn write(&self, mut to: crash::Builder<'_>) -> capnp::Result<()> {
        use schema::process_capnp::process::holdings_results;
        to.set_number(self.number);
        to.set_process(&self.name);
        to.set_id(self.id);
        to.set_nanoseconds(nanoseconds(self.time));
        to.set_lived_nanoseconds(nanoseconds(self.lived));
        to.set_restarts(self.restarts);
        to.set_cause(self.cause.get(..self.cause.floor_char_boundary(MAXIMUM_CAUSE)).unwrap_or_default());
        to.set_instruction(self.instruction);
        // At most `MAXIMUM_TRACE`.
        let mut trace = to.reborrow().init_trace(self.trace.len() as u32);
        for (index, address) in (0..).zip(&self.trace) {
            trace.set(index, *address);
        }
        to.set_threads(u16::try_from(self.threads.len()).unwrap_or(u16::MAX));
        self.write_last_calls(to.reborrow())?;
        if let Some(holdings) = &self.holdings {
            let holdings = holdings.get::<holdings_results::Owned>()?;
            let calls = holdings.get_calls()?;
            to.set_calls(u16::try_from(calls.len()).unwrap_or(u16::MAX));
            to.set_kinds(holdings.get_kinds()?)?;
            self.write_in_flight(calls, to)?;
        }
        Ok(())
    }

    fn write_in_flight(
        &self,
        calls: struct_list::Reader<'_, call_evidence::Owned>,
        to: crash::Builder<'_>,
    ) -> capnp::Result<()> {
        let mut list = to.init_in_flight(calls.len().min(MAXIMUM_CALLS as u32));
        for (index, call) in (0..).zip(calls.iter().take(MAXIMUM_CALLS)) {
            let mut row = list.reborrow().get(index);
            if let Ok(kind) = call.get_kind() {
                row.set_kind(kind);
            }
            row.set_process(self.name_of(call.get_process()));
            row.set_interface(call.get_interface());
            row.set_method(call.get_method());
        }
        Ok(())
    }

    fn write_last_calls(&self, to: crash::Builder<'_>) -> capnp::Result<()> {
        let threads = self.threads.get(..MAXIMUM_THREADS).unwrap_or(&self.threads);
        let mut list = to.init_last_calls(threads.len() as u32);
        for (index, thread) in (0..).zip(threads) {
            let (thread, mut row) = (thread.get::<thread_evidence::Owned>()?, list.reborrow().get(index));
            row.set_thread(thread.get_id());
            row.set_received_interface(thread.get_received_interface());
            row.set_received_method(thread.get_received_method());
            row.set_received_answered(thread.get_received_answered());
            row.set_made_interface(thread.get_made_interface());
            row.set_made_method(thread.get_made_method());
        }
        Ok(())
    }

    /// The name of a process that the evidence numbers; empty for 0, which is none.
    fn name_of(&self, id: u32) -> Cow<'_, str> {
        match self.names.iter().find(|(known, _)| *known == id) {
            Some((_, name)) => name.get(..name.floor_char_boundary(MAXIMUM_NAME)).unwrap_or_default().into(),
            None if id == 0 => "".into(),
            None => format!("process {id}").into(),
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The crashes that are kept, the oldest first.
#[derive(Default)]
pub struct Crashes {
    kept: VecDeque<Crash>,
    count: u32,
}

impl Crashes {
    /// Keeps a crash, which gets its number, and forgets what there is no more room for.
    pub fn add(&mut self, mut crash: Crash) {
        self.count = self.count.wrapping_add(1);
        crash.number = self.count;
        let of_process = |kept: &Crash| kept.unit == crash.unit;
        if self.kept.iter().filter(|kept| of_process(kept)).count() >= MAXIMUM_OF_PROCESS
            && let Some(oldest) = self.kept.iter().position(of_process)
        {
            self.kept.remove(oldest);
        }
        if self.kept.len() >= MAXIMUM {
            self.kept.pop_front();
        }
        self.kept.push_back(crash);
    }

    /// Those from a number on.
    pub fn from(&self, number: u32) -> impl Iterator<Item = &Crash> {
        self.kept.iter().filter(move |crash| crash.number >= number)
    }

    /// The crash with this number.
    pub fn get(&self, number: u32) -> Option<&Crash> {
        self.kept.iter().find(|crash| crash.number == number)
    }
}

/// The words of a thread's stack that are addresses in `code`, the innermost first.
///
/// # Errors
/// When the evidence is malformed.
pub fn trace(thread: thread_evidence::Reader<'_>, code: &[Range<u64>]) -> capnp::Result<Vec<u64>> {
    const STACK_POINTER: u32 = 7;
    let registers = thread.get_registers()?;
    let pointer = if registers.len() > STACK_POINTER { registers.get(STACK_POINTER) } else { 0 };
    // Return addresses lie at multiples of 8, the stack pointer may be anything.
    let skip = (pointer.wrapping_neg() % 8) as usize;
    let words = thread.get_stack()?.get(skip..).unwrap_or_default().chunks_exact(8);
    let words = words.filter_map(|word| word.try_into().ok().map(u64::from_le_bytes));
    Ok(words.filter(|word| code.iter().any(|range| range.contains(word))).take(MAXIMUM_TRACE).collect())
}

/// The cause of an end, with what the supervisor knows of it.
pub fn cause(ending: &crate::Ending, reason: Option<&str>) -> String {
    match reason {
        Some(reason) => format!("{}: {reason}", ending.cause),
        None => ending.cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schema::{
        process_capnp::{CallKind, process::holdings_results},
        supervisor_capnp::supervisor_status,
    };

    fn crash(unit: Unit) -> Crash {
        Crash {
            number: 0,
            unit,
            name: format!("process-{unit}"),
            id: 7,
            time: Duration::from_secs(3),
            lived: Duration::from_secs(2),
            restarts: 1,
            cause: "killed".into(),
            threads: Vec::new(),
            holdings: None,
            names: Vec::new(),
            instruction: 0x20_1000,
            trace: Vec::new(),
        }
    }

    fn numbers(crashes: &Crashes) -> Vec<u32> {
        crashes.from(0).map(|crash| crash.number).collect()
    }

    #[test]
    fn of_each_process_the_last_few_are_kept() {
        let mut crashes = Crashes::default();
        crashes.add(crash(1));
        (0..6).for_each(|_| crashes.add(crash(0)));
        assert_eq!(numbers(&crashes), [1, 4, 5, 6, 7]);
        assert!(crashes.get(3).is_none());
        assert_eq!(crashes.get(1).map(|crash| crash.unit), Some(1));
        assert_eq!(crashes.from(6).count(), 2);
    }

    #[test]
    fn of_all_processes_the_newest_are_kept() {
        let mut crashes = Crashes::default();
        (0..MAXIMUM + 3).for_each(|unit| crashes.add(crash(unit)));
        assert_eq!(crashes.from(0).count(), MAXIMUM);
        assert_eq!(numbers(&crashes).first(), Some(&4));
    }

    #[test]
    fn a_trace_is_what_points_into_the_code() {
        let mut message = Builder::new_default();
        let mut thread = message.init_root::<thread_evidence::Builder<'_>>();
        thread.reborrow().init_registers(16).set(7, 0x7000_0004);
        let words = [0x20_0000_u64, 0x1f_ffff, 0x20_0fff, 0x20_1000, u64::MAX];
        let stack: Vec<u8> =
            [0; 4].into_iter().chain(words.into_iter().flat_map(u64::to_le_bytes)).chain([9; 3]).collect();
        thread.set_stack(&stack);
        let reader = thread.into_reader();
        let halves = [0x20_0000..0x20_0800, 0x20_0800..0x20_1000];
        assert_eq!(trace(reader, &halves).unwrap(), [0x20_0000, 0x20_0fff]);
        let two = [0x20_1000..0x20_1001, 0x20_0fff..0x20_1000];
        assert_eq!(trace(reader, &two).unwrap(), [0x20_0fff, 0x20_1000]);
    }

    fn kept_thread(fill: impl FnOnce(thread_evidence::Builder<'_>)) -> Kept {
        let mut message = Builder::new_default();
        let mut thread = message.init_root::<thread_evidence::Builder<'_>>();
        fill(thread.reborrow());
        Kept::new::<thread_evidence::Owned>(64, thread.into_reader()).unwrap()
    }

    #[test]
    fn anybody_may_see_which_calls_there_were() {
        let mut holdings = Builder::new_default();
        let mut results = holdings.init_root::<holdings_results::Builder<'_>>();
        let mut calls = results.reborrow().init_calls(3);
        for (index, process) in (0..).zip([5, 6, 0]) {
            let mut call = calls.reborrow().get(index);
            call.set_kind(CallKind::Received);
            call.set_process(process);
            call.set_interface(0xab);
            call.set_method(2);
            call.reborrow().init_message(1).set(0, u64::MAX);
        }
        let kept = Kept::new::<holdings_results::Owned>(128, results.into_reader()).unwrap();
        let thread = kept_thread(|mut thread| {
            thread.set_id(9);
            thread.set_received_interface(0xcd);
            thread.set_received_method(3);
            thread.set_received_answered(true);
            thread.set_made_interface(0xef);
            thread.set_made_method(4);
        });
        let crash = Crash {
            threads: vec![thread],
            holdings: Some(kept),
            names: vec![(5, "netstack".into())],
            ..crash(0)
        };
        let mut message = Builder::new_default();
        crash.write(message.init_root()).unwrap();
        let read = message.get_root_as_reader::<crash::Reader<'_>>().unwrap();
        let calls = read.get_in_flight().unwrap();
        let names: Vec<&str> =
            calls.iter().map(|call| call.get_process().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["netstack", "process 6", ""]);
        let call = calls.get(0);
        assert_eq!(
            (call.get_kind(), call.get_interface(), call.get_method()),
            (Ok(CallKind::Received), 0xab, 2)
        );
        let last = read.get_last_calls().unwrap().get(0);
        assert_eq!(
            (last.get_thread(), last.get_received_interface(), last.get_received_method()),
            (9, 0xcd, 3)
        );
        assert_eq!(
            (last.get_received_answered(), last.get_made_interface(), last.get_made_method()),
            (true, 0xef, 4)
        );
    }

    #[test]
    fn the_largest_answer_fits_a_message() {
        let mut holdings = Builder::new_default();
        let mut results = holdings.init_root::<holdings_results::Builder<'_>>();
        results.reborrow().init_kinds(32);
        let mut calls = results.reborrow().init_calls(8);
        (0..8).for_each(|index| calls.reborrow().get(index).set_process(7));
        let size = results.reborrow().into_reader().total_size().unwrap().word_count;
        let kept = || Kept::new::<holdings_results::Owned>(size, results.reborrow_as_reader()).unwrap();
        let thread = || kept_thread(|_| {});
        let largest = || Crash {
            name: "x".repeat(31),
            cause: "ä".repeat(500),
            trace: vec![0x20_0000; MAXIMUM_TRACE],
            holdings: Some(kept()),
            threads: (0..5).map(|_| thread()).collect(),
            names: vec![(7, "ö".repeat(100))],
            ..crash(0)
        };
        let mut message = Builder::new(HeapAllocator::new().first_segment_words(4096));
        let mut list = message
            .init_root::<supervisor_status::crashes_results::Builder<'_>>()
            .init_crashes(CRASHES_PER_ANSWER as u32);
        for index in 0..CRASHES_PER_ANSWER as u32 {
            largest().write(list.reborrow().get(index)).unwrap();
        }
        let first = list.reborrow().get(0).into_reader();
        assert_eq!((first.get_calls(), first.get_in_flight().unwrap().len()), (8, 8));
        assert_eq!((first.get_threads(), first.get_last_calls().unwrap().len()), (5, 4));
        assert!(message.size_in_words() <= abi::MAXIMUM_WORDS, "{}", message.size_in_words());
    }
}
