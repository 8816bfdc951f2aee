//! What each processor keeps for itself, reached through the GS base while in the kernel.

use super::context::Context;
use super::tlb::Shootdown;
use crate::memory::PhysicalAddress;
use crate::memory::page_table::Root;
use crate::object::thread::Thread;
use crate::scheduler::RunQueue;
use crate::sync::Lock;
use crate::timers::TimerQueue;
use abi::MAXIMUM_WORDS;
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::cell::{Cell, UnsafeCell};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};
use x86_64::registers::model_specific::{GsBase, KernelGsBase};

/// Most processors that are used.
pub const MAXIMUM: usize = 64;

/// One processor. `Cell` fields belong to the processor itself; the rest may be looked at by all.
#[repr(C)]
pub struct Cpu {
    this: *const Cpu,
    /// Scratch of the system call entry: the user's stack pointer.
    pub(super) user_stack: Cell<u64>,
    /// Top of the one kernel stack.
    pub(super) kernel_stack: u64,
    /// Where the entry code saves user registers: the current thread's context.
    pub(super) context: Cell<*mut Context>,
    /// The thread that runs here, as a raw `Arc`; null while idle.
    current: Cell<*const Thread>,
    /// The loaded page table's address; written before the page table register.
    root: AtomicU64,
    /// The page table of the kernel alone.
    kernel_root: Root,
    /// Number of this processor, counted from 0.
    pub index: u32,
    /// Its local APIC's id.
    pub apic_id: u32,
    /// When the current thread began to run, as a time stamp.
    pub switched_at: Cell<u64>,
    /// Time stamps spent idle, without the present time.
    pub idle_time: AtomicU64,
    /// When the present idle time began, as a time stamp; 0 while something runs.
    pub idle_since: AtomicU64,
    /// Interrupts taken.
    pub interrupts: AtomicU64,
    /// Something became ready that may have to run now.
    pub reschedule: AtomicBool,
    /// Whether nothing runs here.
    pub idle: AtomicBool,
    /// Priority of the current thread, for others to look at.
    pub priority: AtomicU8,
    /// One more than the highest priority that is ready here; 0 when nothing is.
    pub ready_top: AtomicU8,
    /// The thread that let the current one run first. It is Ready, goes before all of its priority, and is in no queue.
    pub lender: Cell<Option<Arc<Thread>>>,
    /// One more than the lender's priority; 0 without one.
    pub lender_top: Cell<u8>,
    /// Threads that are ready to run here.
    pub run_queue: Lock<RunQueue>,
    /// Deadlines that this processor looks after.
    pub timers: Lock<TimerQueue>,
    /// When the current thread's slice ends, in nanoseconds; `u64::MAX` without a limit.
    pub slice_end: Cell<u64>,
    /// Deadline that the timer is programmed for.
    pub programmed: Cell<u64>,
    /// Requests of other processors to flush the TLB.
    pub shootdown: Shootdown,
    /// Copy of the message that a kernel object reads; never shared.
    pub scratch: UnsafeCell<[u64; MAXIMUM_WORDS]>,
    /// Where answers of kernel objects are built; all zero between uses.
    pub answer: UnsafeCell<[u64; MAXIMUM_WORDS]>,
}

// SAFETY: `Cell`, `UnsafeCell` and pointer fields are touched only by the processor itself (`current()`); the rest is atomic or locked.
unsafe impl Sync for Cpu {}

static CPUS: [AtomicPtr<Cpu>; MAXIMUM] = [const { AtomicPtr::new(ptr::null_mut()) }; MAXIMUM];
static COUNT: AtomicU32 = AtomicU32::new(0);

impl Cpu {
    /// Makes the record of processor `index`, for ever.
    pub fn new(index: u32, apic_id: u32, kernel_stack: u64, root: Root) -> &'static Self {
        let cpu: &'static mut Self = Box::leak(Box::new(Self {
            this: ptr::null(),
            user_stack: Cell::new(0),
            kernel_stack,
            context: Cell::new(ptr::null_mut()),
            current: Cell::new(ptr::null()),
            root: AtomicU64::new(root.0.0),
            kernel_root: root,
            index,
            apic_id,
            switched_at: Cell::new(0),
            idle_time: AtomicU64::new(0),
            idle_since: AtomicU64::new(0),
            interrupts: AtomicU64::new(0),
            reschedule: AtomicBool::new(false),
            idle: AtomicBool::new(false),
            priority: AtomicU8::new(0),
            ready_top: AtomicU8::new(0),
            lender: Cell::new(None),
            lender_top: Cell::new(0),
            run_queue: Lock::new(RunQueue::new()),
            timers: Lock::new(TimerQueue::new()),
            slice_end: Cell::new(u64::MAX),
            programmed: Cell::new(u64::MAX),
            shootdown: Shootdown::default(),
            scratch: UnsafeCell::new([0; MAXIMUM_WORDS]),
            answer: UnsafeCell::new([0; MAXIMUM_WORDS]),
        }));
        cpu.this = cpu;
        cpu
    }

    /// Makes this record the one of the processor that runs. Taking any lock needs it; loading segment registers undoes it.
    ///
    /// # Safety
    ///
    /// Called on the record's own processor, with interrupts off.
    pub unsafe fn set_base(&'static self) {
        GsBase::write(x86_64::VirtAddr::from_ptr(self));
        KernelGsBase::write(x86_64::VirtAddr::zero());
    }

    /// Lets the other processors see this one.
    pub fn publish(&'static self) {
        if let Some(slot) = CPUS.get(self.index as usize) {
            slot.store(ptr::from_ref(self).cast_mut(), Ordering::Release);
            COUNT.fetch_max(self.index + 1, Ordering::Release);
        }
    }

    /// The thread that runs here. It lives at least until this processor switches.
    #[inline]
    pub fn thread(&self) -> Option<&Thread> {
        // SAFETY: `current` is null or holds a reference of this processor.
        unsafe { self.current.get().as_ref() }
    }

    /// Takes the current thread off this processor; its registers stay in its context.
    #[inline]
    pub fn take_thread(&self) -> Option<Arc<Thread>> {
        let current = self.current.replace(ptr::null());
        // SAFETY: the reference that `set_thread` stored is given up here.
        if current.is_null() { None } else { Some(unsafe { Arc::from_raw(current) }) }
    }

    /// Makes `thread` the current one. There must be none.
    #[inline]
    pub fn set_thread(&self, thread: Arc<Thread>) {
        self.context.set(thread.context());
        self.current.set(Arc::into_raw(thread));
    }

    /// The current thread's saved registers, for the way back to it.
    #[inline]
    pub fn context(&self) -> *mut Context {
        self.context.get()
    }

    /// The root that is loaded, or about to be.
    #[inline]
    pub fn loaded_root(&self) -> Root {
        Root(PhysicalAddress(self.root.load(Ordering::SeqCst)))
    }

    /// Loads the page table of the kernel alone. Takes no lock.
    pub fn leave_root(&self) {
        self.load_root(self.kernel_root);
    }

    /// Loads a page table root if another one is loaded.
    #[inline]
    pub fn load_root(&self, root: Root) {
        if self.root.load(Ordering::Relaxed) != root.0.0 {
            // Visible to shootdown initiators before any translation through the new root; writing
            // the register is a serialising instruction.
            self.root.store(root.0.0, Ordering::Relaxed);
            load_page_table(root);
        }
    }
}

/// The processor that runs this.
#[inline]
pub fn current() -> &'static Cpu {
    let cpu: *const Cpu;
    // SAFETY: in the kernel the GS base points at this processor's record, whose first field is its own address.
    unsafe {
        core::arch::asm!("mov {}, gs:[0]", out(reg) cpu, options(nostack, preserves_flags, readonly));
        &*cpu
    }
}

/// As [`current`], before and after the record is installed.
#[inline]
pub fn try_current() -> Option<&'static Cpu> {
    (COUNT.load(Ordering::Relaxed) > 0).then(current)
}

/// All processors that have been started.
pub fn all() -> impl Iterator<Item = &'static Cpu> {
    // SAFETY: a non-null entry is a leaked record.
    CPUS.iter()
        .take(COUNT.load(Ordering::Acquire) as usize)
        .filter_map(|slot| unsafe { slot.load(Ordering::Acquire).as_ref() })
}

/// The processor with this number.
pub fn get(index: u32) -> Option<&'static Cpu> {
    // SAFETY: as in `all`.
    CPUS.get(index as usize).and_then(|slot| unsafe { slot.load(Ordering::Acquire).as_ref() })
}

/// Loads the page table register.
pub fn load_page_table(root: Root) {
    // SAFETY: every root has the kernel's half, so that the kernel goes on as before.
    unsafe {
        core::arch::asm!("mov cr3, {}", in(reg) root.0.0, options(nostack, preserves_flags));
    }
}
