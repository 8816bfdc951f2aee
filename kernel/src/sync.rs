//! The kernel's lock, and the order in which locks are taken.
//!
//! The kernel runs with interrupts off, so a lock is held for a short and bounded time by one processor. A processor
//! that spins answers TLB shootdowns meanwhile: the holder may be waiting for just that.
//!
//! # Lock order
//!
//! A lock may be taken while holding only locks that stand before it:
//!
//! 1. claims: the stage of a PCI function, what was opened through it, mappings of its registers, `Interrupt` state,
//!    legacy port ranges, the use of a `DmaPool`
//! 2. `Process` lists (threads, exit), `AddressSpace` mappings
//! 3. `Endpoint`
//! 4. `Call`, and the capabilities attached to it
//! 5. `Thread` state
//! 6. `Process` handle table, the list of all processes, the reaper's list, the thread of a `Notification`, the
//!    signaller of a `Timer`, writability of a `MemoryObject`, what a `Process` left, whom refusals are told
//! 7. run queues, timer heaps
//! 8. configuration space, I/O APICs, IOMMUs, the vector table
//! 9. kernel space
//! 10. heap classes, those of smaller blocks before those of larger ones
//! 11. frame bitmap, log ring and serial port
//!
//! Two locks of one rank are never held together, but for heap classes. An object that may be the last of its kind (an `Arc` of it) is
//! never dropped while a lock of rank 3 or later is held: dropping a facet takes its endpoint's lock.

use spin::RelaxStrategy;

/// A spin lock that answers TLB shootdowns while it waits.
pub type Lock<T> = spin::mutex::SpinMutex<T, AnswerShootdowns>;

/// What a waiting processor does.
pub struct AnswerShootdowns;

impl RelaxStrategy for AnswerShootdowns {
    #[inline]
    fn relax() {
        crate::arch::tlb::answer();
        core::hint::spin_loop();
    }
}
