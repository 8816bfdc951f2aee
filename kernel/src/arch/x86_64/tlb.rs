//! TLB shootdown: telling the other processors that mappings have gone.
//!
//! The initiator removes the page table entries, then asks every processor that has the address space loaded, and
//! waits until all have flushed. A processor answers from the shootdown interrupt, or from its own
//! waiting loops ([`answer`]), so that two initiators never wait for each other.
//!
//! An idle processor keeps the address space of the last thread loaded, which the next one is likely to need again. Before
//! the tables of a dead process are freed, all processors are asked to leave them ([`evict`]).

use super::cpu::{self, Cpu};
use crate::memory::page_table::Root;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use x86_64::instructions::tlb;

/// One processor's letter box.
#[derive(Default)]
pub struct Shootdown {
    requested: AtomicBool,
    /// The root that is to be left, if it is loaded; 0 for none.
    leave: AtomicU64,
}

/// Flushes what this processor was asked to.
#[inline]
pub fn answer() {
    // Acquire: pairs with the release of the request; the flush sees the removed entries.
    if let Some(cpu) = cpu::try_current()
        && cpu.shootdown.requested.load(Ordering::Acquire)
    {
        flush_as_asked(cpu);
    }
}

#[inline]
fn flush_as_asked(cpu: &Cpu) {
    // A dead root: whatever this processor does, it has no thread there.
    if cpu.shootdown.leave.swap(0, Ordering::Relaxed) == cpu.loaded_root().0.0 {
        cpu.leave_root();
    }
    tlb::flush_all();
    // Release: the flush is done before the initiator sees the answer.
    cpu.shootdown.requested.store(false, Ordering::Release);
}

/// Pages that are flushed one by one; more than these are flushed with all others.
const SINGLE_PAGES: usize = 32;

/// Pages whose entries have been removed and whose translations some processor may still hold.
pub struct Removed {
    root: Root,
    /// The first of them.
    pages: [u64; SINGLE_PAGES],
    count: usize,
}

impl Removed {
    /// None yet.
    #[inline]
    pub const fn new(root: Root) -> Self {
        Self { root, pages: [0; SINGLE_PAGES], count: 0 }
    }

    /// One more, whose page table entry is gone.
    #[inline]
    pub fn add(&mut self, address: u64) {
        if let Some(place) = self.pages.get_mut(self.count) {
            *place = address;
        }
        self.count += 1;
    }

    /// Removes their translations from all processors that have the root loaded.
    pub fn shoot_down(self) {
        let Self { root, pages, count } = self;
        if count == 0 {
            return;
        }
        // Orders the caller's page table writes before the look at who has the root loaded; a processor
        // that loads it later starts with an empty TLB and the new entries.
        fence(Ordering::SeqCst);
        let here = cpu::current();
        let is_target = |cpu: &&Cpu| cpu.index != here.index && cpu.loaded_root() == root;
        for cpu in cpu::all().filter(is_target) {
            cpu.shootdown.requested.store(true, Ordering::Release);
            super::processors::send(cpu, super::traps::SHOOTDOWN_VECTOR);
        }
        if here.loaded_root() == root {
            match pages.get(..count) {
                Some(pages) => {
                    for page in pages {
                        tlb::flush(x86_64::VirtAddr::new(*page));
                    }
                }
                None => tlb::flush_all(),
            }
        }
        for cpu in cpu::all().filter(is_target_that_waits(here.index)) {
            while cpu.shootdown.requested.load(Ordering::Acquire) {
                answer();
                core::hint::spin_loop();
            }
        }
    }
}

/// Makes sure that no processor has `root` loaded. No thread may run in it again.
#[inline(never)]
pub fn evict(root: Root) {
    let here = cpu::current();
    if here.loaded_root() == root {
        here.leave_root();
    }
    for cpu in cpu::all().filter(|cpu| cpu.index != here.index) {
        // Asked again if the request for another root came between.
        while cpu.loaded_root() == root {
            cpu.shootdown.leave.store(root.0.0, Ordering::Relaxed);
            // Release: who sees the request sees the root.
            cpu.shootdown.requested.store(true, Ordering::Release);
            super::processors::send(cpu, super::traps::SHOOTDOWN_VECTOR);
            while cpu.shootdown.requested.load(Ordering::Acquire) {
                answer();
                core::hint::spin_loop();
            }
        }
    }
}

fn is_target_that_waits(here: u32) -> impl Fn(&&Cpu) -> bool {
    move |cpu| cpu.index != here
}
