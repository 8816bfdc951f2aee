//! Device vectors: which interrupt object each belongs to.

use crate::arch::traps::DEVICE_VECTORS;
use crate::arch::{cpu, processors};
use crate::object::interrupt::Interrupt;
use crate::sync::Lock;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const COUNT: usize = (*DEVICE_VECTORS.end() - *DEVICE_VECTORS.start()) as usize + 1;

static VECTORS: [Lock<Option<Weak<Interrupt>>>; COUNT] = [const { Lock::new(None) }; COUNT];

/// Interrupts of vectors that belong to nobody: late ones of devices that have been taken away.
static STRAY: AtomicU64 = AtomicU64::new(0);

fn slot(vector: u8) -> Option<&'static Lock<Option<Weak<Interrupt>>>> {
    VECTORS.get(usize::from(vector.checked_sub(*DEVICE_VECTORS.start())?))
}

/// Gives a free vector to what `make` makes of it; `None` when all are taken.
pub fn allocate(make: impl FnOnce(u8) -> Arc<Interrupt>) -> Option<Arc<Interrupt>> {
    for vector in DEVICE_VECTORS {
        let Some(mut entry) = slot(vector).map(Lock::lock) else { continue };
        if entry.is_none() {
            let interrupt = make(vector);
            *entry = Some(Arc::downgrade(&interrupt));
            return Some(interrupt);
        }
    }
    None
}

/// Takes a vector back.
pub fn free(vector: u8) {
    let entry = slot(vector).and_then(|slot| slot.lock().take());
    drop(entry);
}

/// A device's vector has struck.
pub fn arrived(vector: u8) {
    let interrupt = slot(vector).and_then(|slot| slot.lock().as_ref().and_then(Weak::upgrade));
    match interrupt {
        Some(interrupt) => interrupt.arrived(),
        None => {
            STRAY.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Calls `look` with each interrupt that is open, by vector from `start` on, until it answers `false`.
pub fn for_each(start: u8, mut look: impl FnMut(&Interrupt) -> bool) {
    for vector in DEVICE_VECTORS.filter(|vector| *vector >= start) {
        let interrupt = slot(vector).and_then(|slot| slot.lock().as_ref().and_then(Weak::upgrade));
        if interrupt.is_some_and(|interrupt| !look(&interrupt)) {
            return;
        }
    }
}

/// How many interrupts belonged to nobody.
pub fn stray() -> u64 {
    STRAY.load(Ordering::Relaxed)
}

/// The processor that takes the next interrupt that is opened: they take turns. Only those with an 8-bit
/// APIC id can be named in interrupt messages.
pub fn next_processor() -> (u32, u32) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let count = cpu::all().filter(|cpu| cpu.apic_id < 0xff).count() as u32;
    let turn = NEXT.fetch_add(1, Ordering::Relaxed) % count.max(1);
    let chosen = cpu::all().filter(|cpu| cpu.apic_id < 0xff).nth(turn as usize);
    chosen.map_or((0, processors::own_id()), |cpu| (cpu.index, cpu.apic_id))
}

/// Whether another interrupt has this I/O APIC line.
pub fn line_is_taken(gsi: platform::Gsi, except: &Interrupt) -> bool {
    DEVICE_VECTORS.filter_map(slot).any(|slot| {
        let other = slot.lock().as_ref().and_then(Weak::upgrade);
        other.is_some_and(|other| {
            !core::ptr::eq(Arc::as_ptr(&other), except) && other.line().is_some_and(|line| line.gsi == gsi)
        })
    })
}
