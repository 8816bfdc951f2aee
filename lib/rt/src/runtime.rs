//! The one runtime of this process: all state that its parts share.
//!
//! Only the process's first thread runs this crate's code, so the state is cells without locks. A
//! part never holds a borrow of its cells while it runs code of the program or drops its values.
use alloc::{boxed::Box, vec::Vec};
use core::cell::{Cell, RefCell};

use abi::ClockPage;
use capnp::private::capability::ClientHook;

use crate::{
    address_ranges::AddressRanges,
    answers::Answers,
    buffer::Buffer,
    calls::Calls,
    executor::{Executor, Timers},
    free_bodies::FreeBlocks,
    health::Health,
    objects::Objects,
    pending::Pending,
    signal::Signals,
};

/// State of all parts. In this order, so that what each event needs lies together: the table of Call objects is at the start,
/// that of tasks at the end, with its first entries next to the rest.
#[repr(C)]
pub(crate) struct Runtime {
    /// Call objects.
    pub(crate) calls: Calls,
    /// Handle of `OwnProcess`.
    pub(crate) own_process: Cell<u32>,
    /// Handle of this process's `AddressSpace`, once it was asked for.
    pub(crate) address_space: Cell<u32>,
    /// Handle of the thread's `Notification`, once it was asked for.
    pub(crate) notification: Cell<u32>,
    /// Handle of the log writer, or 0.
    pub(crate) log_writer: Cell<u32>,
    /// Clients whose handles the runtime itself uses.
    pub(crate) kept: RefCell<Vec<Box<dyn ClientHook>>>,
    /// The thread's message buffer.
    pub(crate) buffer: Cell<Option<Buffer>>,
    /// How time stamps become nanoseconds.
    pub(crate) clock: Cell<ClockPage>,
    /// Addresses for mappings.
    pub(crate) mappings: AddressRanges,
    /// State of the random numbers.
    pub(crate) random: Cell<u64>,
    /// Deadlines.
    pub(crate) timers: Timers,
    /// Memory of messages that are in no Call's page.
    pub(crate) blocks: FreeBlocks,
    /// The operation that waits for the next system call.
    pub(crate) pending: Pending,
    /// Objects that this process serves.
    pub(crate) objects: Objects,
    /// Answers on their way out.
    pub(crate) answers: Answers,
    /// Calls from outside that are being served.
    pub(crate) serving: Cell<u32>,
    /// Bits of the thread's notification.
    pub(crate) signals: Signals,
    /// What the supervisor is told.
    pub(crate) health: Health,
    /// Tasks.
    pub(crate) executor: Executor,
}

impl Runtime {
    const fn new() -> Self {
        Self {
            own_process: Cell::new(0),
            address_space: Cell::new(0),
            notification: Cell::new(0),
            log_writer: Cell::new(0),
            kept: RefCell::new(Vec::new()),
            buffer: Cell::new(None),
            clock: Cell::new(ClockPage { multiplier: 1, shift: 0, base: 0 }),
            mappings: AddressRanges::new(),
            random: Cell::new(0),
            executor: Executor::new(),
            timers: Timers::new(),
            calls: Calls::new(),
            blocks: FreeBlocks::new(),
            pending: Pending::new(),
            objects: Objects::new(),
            answers: Answers::new(),
            serving: Cell::new(0),
            signals: Signals::new(),
            health: Health::new(),
        }
    }
}

#[cfg(target_os = "none")]
mod storage {
    use super::Runtime;

    struct SingleThread(Runtime);

    // SAFETY: only the first thread of a process runs this crate's code (see the module's text), so
    // the state is never reached from two threads.
    unsafe impl Sync for SingleThread {}

    static RUNTIME: SingleThread = SingleThread(Runtime::new());

    /// The runtime of this process.
    #[inline(always)]
    pub(crate) fn runtime() -> &'static Runtime {
        &RUNTIME.0
    }
}

#[cfg(not(target_os = "none"))]
mod storage {
    use super::Runtime;

    std::thread_local! {
        static RUNTIME: &'static Runtime = Box::leak(Box::new(Runtime::new()));
    }

    /// The runtime of this thread: on the host each thread stands for a process.
    pub(crate) fn runtime() -> &'static Runtime {
        RUNTIME.with(|runtime| *runtime)
    }
}

pub(crate) use storage::runtime;
