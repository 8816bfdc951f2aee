//! TLB shootdown: telling the other processors that mappings have gone.
//!
//! The initiator removes the page table entries, then asks every processor that has the address space loaded, and
//! waits until all have flushed. A processor answers from the shootdown interrupt, or from its own
//! waiting loops ([`answer`]), so that two initiators never wait for each other.

use super::cpu::{self, Cpu};
use crate::memory::page_table::Root;
use core::sync::atomic::{AtomicBool, Ordering, fence};
use x86_64::instructions::tlb;

/// One processor's letter box.
#[derive(Default)]
pub struct Shootdown {
    requested: AtomicBool,
}

/// Flushes what this processor was asked to.
#[inline]
pub fn answer() {
    // Acquire: pairs with the release of the request; the flush below sees the removed entries.
    if let Some(cpu) = cpu::try_current()
        && cpu.shootdown.requested.load(Ordering::Acquire)
    {
        tlb::flush_all();
        // Release: the flush is done before the initiator sees the answer.
        cpu.shootdown.requested.store(false, Ordering::Release);
    }
}

/// Removes the translations of `pages` pages from `address` on from all processors that have `root` loaded.
/// The page table entries must be gone already.
pub fn shoot_down(root: Root, address: u64, pages: u64) {
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
        if pages > 16 {
            tlb::flush_all();
        } else {
            for page in 0..pages {
                tlb::flush(x86_64::VirtAddr::new(address + page * crate::memory::PAGE));
            }
        }
    }
    for cpu in cpu::all().filter(is_target_that_waits(here.index)) {
        while cpu.shootdown.requested.load(Ordering::Acquire) {
            answer();
            core::hint::spin_loop();
        }
    }
}

fn is_target_that_waits(here: u32) -> impl Fn(&&Cpu) -> bool {
    move |cpu| cpu.index != here
}
