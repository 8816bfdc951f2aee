//! Process: an address space with a handle table, threads and quotas.
//!
//! Death, at any instruction of any thread:
//!
//! ```text
//!   alive --exit, fault, kill--> dying --last thread has stopped--> dead --all handles closed,
//!                                                                    memory unmapped--> reaped
//! ```
//!
//! Alive, it runs or is paused ([`pause`]).
//!
//! A dying process's threads are stopped one by one: running ones by an interrupt to their processor, others
//! by taking them out of where they wait. The dead process is taken apart in steps by the scheduler ([`crate::reaper`]).

mod evidence;
mod pause;
mod serve;

pub use serve::{invoke, invoke_manager, invoke_own};

use super::Object;
use super::account::{Account, Charge, Quota};
use super::address_space::AddressSpace;
use super::message_buffer::MessageBuffer;
use super::notification::Signaller;
use super::thread::{State, Thread};
use crate::arch::{context::Context, cpu, processors};
use crate::error::Error;
use crate::list::{Linked, Links};
use crate::sync::Lock;
use crate::{reaper, scheduler};
use abi::{MAXIMUM_PRIORITY, USER_END, USER_START};
use alloc::sync::Arc;
use alloc::vec::Vec;
use collections::SlotTable;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use evidence::Evidence;
use schema::process_capnp::ExitCause;

/// Most processes at one time.
const MAXIMUM_PROCESSES: usize = 256;
/// Longest name in bytes.
const MAXIMUM_NAME: usize = 31;
/// Sizes that a handle table may have.
const HANDLE_RANGE: core::ops::RangeInclusive<u16> = 16..=4096;

/// Why a process ended, and where.
#[derive(Clone, Copy)]
pub struct Exit {
    /// What ended it.
    pub cause: ExitCause,
    /// Exit code or vector number.
    pub code: i64,
    /// The thread that did it, 0 for none.
    pub thread: u32,
    /// Its instruction pointer.
    pub instruction: u64,
    /// The address that it could not reach.
    pub fault_address: u64,
    /// What the processor pushed with the exception.
    pub error_code: u64,
    /// Its stack pointer.
    pub stack: u64,
}

impl Exit {
    /// An end without registers to show.
    pub const fn new(cause: ExitCause, code: i64) -> Self {
        Self { cause, code, thread: 0, instruction: 0, fault_address: 0, error_code: 0, stack: 0 }
    }
}

/// Bit of [`Process::halted`]: the process ends, for good.
const DYING: u8 = 1 << 0;
/// Bit of [`Process::halted`]: its threads wait until it is resumed.
const PAUSED: u8 = 1 << 1;

struct Lists {
    threads: Vec<Arc<Thread>>,
    exit: Exit,
    on_exit: Option<Arc<Signaller>>,
    reaped: bool,
}

/// A protection domain.
pub struct Process {
    /// Number of this process, unique in the system, from 1 on.
    pub id: u32,
    name: [u8; MAXIMUM_NAME],
    name_length: usize,
    /// What it has used.
    pub account: Arc<Account>,
    /// Its memory.
    pub space: Arc<AddressSpace>,
    /// Its capabilities.
    pub handles: Lock<SlotTable<Object>>,
    /// Highest priority of its threads.
    pub priority: u8,
    /// Why its threads may not run: `DYING` and `PAUSED`.
    halted: AtomicU8,
    live_threads: AtomicU32,
    lists: Lock<Lists>,
    /// Time stamps that threads which have ended ran for.
    ended_time: AtomicU64,
    evidence: Lock<Evidence>,
    links: Links<Self>,
    _charge: Charge,
}

// SAFETY: `links` is one field, used only by the reaper's list under its lock.
unsafe impl Linked for Process {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

static NEXT_ID: AtomicU32 = AtomicU32::new(1);
static PROCESSES: Lock<Vec<Arc<Process>>> = Lock::new(Vec::new());

/// Calls `visit` for the live processes with a number of at least `start`, in order, until it says `false`.
pub fn for_each(start: u32, mut visit: impl FnMut(&Arc<Process>) -> bool) {
    let mut next = start;
    loop {
        let found = PROCESSES.lock().iter().find(|process| process.id >= next).cloned();
        let Some(process) = found else { return };
        next = process.id + 1;
        if !visit(&process) {
            return;
        }
    }
}

/// The live process with this number.
pub fn find(id: u32) -> Option<Arc<Process>> {
    PROCESSES.lock().iter().find(|process| process.id == id).cloned()
}

impl Process {
    /// An empty process.
    pub fn new(name: &str, quota: Quota, priority: u8) -> Result<Arc<Self>, Error> {
        if name.is_empty() || name.len() > MAXIMUM_NAME || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::failed("a process name has 1 to 31 printable characters"));
        }
        if !HANDLE_RANGE.contains(&quota.handles) || quota.threads == 0 {
            return Err(Error::failed("a process has 16 to 4096 handles and at least one thread"));
        }
        if priority > MAXIMUM_PRIORITY {
            return Err(Error::failed("the highest priority is 31"));
        }
        let account = Arc::new(Account::new(quota));
        let bytes = size_of::<Self>() + evidence::MAXIMUM_BYTES + SlotTable::<Object>::bytes(quota.handles);
        let charge = Charge::bytes(&account, bytes)?;
        let mut bytes = [0; MAXIMUM_NAME];
        for (to, from) in bytes.iter_mut().zip(name.bytes()) {
            *to = from;
        }
        let process = Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            name: bytes,
            name_length: name.len(),
            space: AddressSpace::new(&account)?,
            handles: Lock::new(SlotTable::new(quota.handles)),
            account,
            priority,
            halted: AtomicU8::new(0),
            live_threads: AtomicU32::new(0),
            lists: Lock::new(Lists {
                threads: Vec::new(),
                exit: Exit::new(ExitCause::Running, 0),
                on_exit: None,
                reaped: false,
            }),
            ended_time: AtomicU64::new(0),
            evidence: Lock::new(Evidence::new()),
            links: Links::new(),
            _charge: charge,
        });
        let mut all = PROCESSES.lock();
        if all.len() >= MAXIMUM_PROCESSES {
            return Err(Error::overloaded("too many processes"));
        }
        all.try_reserve(1).map_err(|_| Error::overloaded("the machine is out of memory"))?;
        all.push(process.clone());
        drop(all);
        Ok(process)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        let bytes = self.name.get(..self.name_length).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or("?")
    }

    /// Whether its threads must end.
    #[inline]
    pub fn is_dying(&self) -> bool {
        self.halted.load(Ordering::SeqCst) & DYING != 0
    }

    /// Whether its threads may not go on, because it is dying or paused: one look for both, on the path of every call.
    #[inline]
    pub fn is_halted(&self) -> bool {
        self.halted.load(Ordering::SeqCst) != 0
    }

    /// Adds a capability to its table.
    pub fn insert(&self, object: Object) -> Result<u32, Error> {
        let mut handles = self.handles.lock();
        if self.is_dying() {
            drop(handles);
            drop(object);
            return Err(Error::disconnected("the process has ended"));
        }
        handles.insert(object).map_err(|_| Error::HANDLES_FULL)
    }

    /// Makes a thread and starts it.
    pub fn start_thread(
        self: &Arc<Self>,
        entry: u64,
        stack_top: u64,
        buffer_address: u64,
        arguments: [u64; 6],
    ) -> Result<Arc<Thread>, Error> {
        if !(USER_START..USER_END).contains(&entry) || !(USER_START..=USER_END).contains(&stack_top) {
            return Err(Error::failed("entry or stack is outside the user half"));
        }
        let threads = &self.account.threads;
        let limit = u32::from(self.account.quota().threads);
        let admitted = |used: u32| (used < limit).then_some(used + 1);
        if threads.fetch_update(Ordering::Relaxed, Ordering::Relaxed, admitted).is_err() {
            return Err(Error::overloaded("thread quota used up"));
        }
        let made = self.make_thread(entry, stack_top, buffer_address, arguments);
        match made {
            Ok(thread) => {
                scheduler::make_ready(thread.clone());
                Ok(thread)
            }
            Err(error) => {
                threads.fetch_sub(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    fn make_thread(
        self: &Arc<Self>,
        entry: u64,
        stack_top: u64,
        buffer_address: u64,
        arguments: [u64; 6],
    ) -> Result<Arc<Thread>, Error> {
        let buffer = MessageBuffer::map(&self.space, &self.account, buffer_address)?;
        let thread = Thread::new(self, Context::new(entry, stack_top, arguments), buffer)?;
        let mut lists = self.lists.lock();
        let refused = if self.is_dying() {
            Some(Error::disconnected("the process has ended"))
        } else if lists.threads.try_reserve(1).is_err() {
            Some(Error::overloaded("the machine is out of memory"))
        } else {
            lists.threads.push(thread.clone());
            self.live_threads.fetch_add(1, Ordering::Relaxed);
            None
        };
        drop(lists);
        if let Some(error) = refused {
            thread.notification.bind(None);
            return Err(error);
        }
        Ok(thread)
    }

    /// Ends the process. The calling thread, if it is one of its own, stops when it leaves the kernel.
    pub fn end(self: &Arc<Self>, exit: Exit) {
        let mut lists = self.lists.lock();
        if self.halted.fetch_or(DYING, Ordering::SeqCst) & DYING != 0 {
            return;
        }
        lists.exit = exit;
        let none = lists.threads.is_empty();
        drop(lists);
        // From here on no thread is added. One that runs will stop by itself.
        self.for_each_thread(|thread| self.stop(&thread));
        if none {
            self.note_holdings();
            reaper::add(self.clone());
        }
    }

    /// Stops one thread of this dying process: at once, or by having it look at once that it must stop.
    fn stop(&self, thread: &Arc<Thread>) {
        let state = *thread.state.lock();
        match state {
            State::Running(processor) => {
                if processor != cpu::current().index
                    && let Some(cpu) = cpu::get(processor)
                {
                    processors::send(cpu, crate::arch::traps::RESCHEDULE_VECTOR);
                }
            }
            State::Ready => {
                // If it is in no queue any more, whoever took it out sees that the process is dying.
                if let Some(entry) = scheduler::remove_ready(thread) {
                    *thread.state.lock() = State::Dead;
                    self.thread_ended(thread);
                    drop(entry);
                }
            }
            State::Receiving(_) => {
                // Waking a thread of a dying process ends it.
                thread.deadline.store(0, Ordering::Relaxed);
                thread.wake_for_deadline(u64::MAX);
            }
            State::Calling => {
                self.note_own_call(thread);
                // If nobody waits for the call any more, whoever answered it sees that the process is dying.
                if let Some(waiter) = thread.call.cancel().flatten() {
                    *waiter.state.lock() = State::Dead;
                    self.thread_ended(&waiter);
                }
            }
            State::Parked => self.end_parked(thread),
            State::New | State::Dead => {}
        }
    }

    /// One of its threads is dead: takes it off the list; with the last one the process is dead, too.
    #[cold]
    #[inline(never)]
    pub fn thread_ended(&self, thread: &Thread) {
        let mut lists = self.lists.lock();
        let Some(index) = lists.threads.iter().position(|entry| core::ptr::eq(Arc::as_ptr(entry), thread))
        else {
            return;
        };
        let entry = lists.threads.swap_remove(index);
        if lists.exit.cause == ExitCause::Running {
            // The last thread's end is the process's.
            if self.live_threads.load(Ordering::Relaxed) == 1 {
                self.halted.fetch_or(DYING, Ordering::SeqCst);
                lists.exit = Exit::new(ExitCause::Exited, 0);
            }
        }
        drop(lists);
        self.note_thread(thread);
        self.ended_time.fetch_add(entry.time.load(Ordering::Relaxed), Ordering::Relaxed);
        entry.notification.bind(None);
        entry.timer.cancel();
        self.account.threads.fetch_sub(1, Ordering::Relaxed);
        if self.live_threads.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.note_holdings();
            reaper::add(entry.process.clone());
        }
    }

    /// All it had has been taken back.
    pub fn set_reaped(&self) {
        let signaller = {
            let mut lists = self.lists.lock();
            lists.reaped = true;
            lists.on_exit.take()
        };
        let mut all = PROCESSES.lock();
        let entry = all.iter().position(|process| process.id == self.id).map(|index| all.remove(index));
        drop(all);
        drop(entry);
        if let Some(thread) = signaller.and_then(|signaller| signaller.signal()) {
            scheduler::make_ready(thread);
        }
    }

    fn on_exit(&self, signaller: Arc<Signaller>) {
        let mut lists = self.lists.lock();
        let reaped = lists.reaped;
        let previous = if reaped { Some(signaller) } else { lists.on_exit.replace(signaller) };
        drop(lists);
        if reaped && let Some(thread) = previous.and_then(|signaller| signaller.signal()) {
            scheduler::make_ready(thread);
        }
    }

    /// Processor time of all its threads, in nanoseconds.
    pub fn time(&self) -> u64 {
        let live: u64 =
            self.lists.lock().threads.iter().map(|thread| thread.time.load(Ordering::Relaxed)).sum();
        crate::time::ticks_to_nanoseconds(live + self.ended_time.load(Ordering::Relaxed))
    }

    /// Why it ended (or that it runs).
    pub fn exit(&self) -> Exit {
        self.lists.lock().exit
    }

    /// Fills in what it uses.
    pub fn write_usage(&self, mut usage: schema::process_capnp::usage::Builder<'_>) {
        usage.set_frames(self.account.frames());
        usage.set_handles(self.handles.lock().len());
        usage.set_threads(self.account.threads.load(Ordering::Relaxed) as u16);
        usage.set_dma_pages(self.account.dma_pages());
        usage.set_processor_nanoseconds(self.time());
    }

    /// Fills in what it may use.
    pub fn write_quota(&self, mut quota: schema::process_capnp::quota::Builder<'_>) {
        let limits = self.account.quota();
        quota.set_frames(limits.frames);
        quota.set_handles(limits.handles);
        quota.set_threads(limits.threads);
        quota.set_dma_pages(limits.dma_pages);
    }
}
