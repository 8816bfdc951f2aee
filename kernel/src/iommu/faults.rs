//! What the units have refused: counted, and told in the log and to the supervisor at a bounded rate.

use super::UNITS;
use crate::object::notification::Signaller;
use crate::object::pci_function;
use crate::scheduler;
use crate::sync::Lock;
use crate::time;
use crate::timers::{self, Deadline, TimerSlot};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use platform::vtd::{Completeness, Fault, FaultKind};

/// Tells that a unit recorded a fault.
pub const FAULT_VECTOR: u8 = 244;

/// Nanoseconds for which faults are not told after one was.
const SHORTEST_HOLD: u64 = 100_000_000;
/// The most that this grows to while faults go on.
const LONGEST_HOLD: u64 = 12_800_000_000;

static DMA: AtomicU64 = AtomicU64::new(0);
static INTERRUPTS: AtomicU64 = AtomicU64::new(0);
static HOLD: AtomicU64 = AtomicU64::new(SHORTEST_HOLD);
/// Who is told of faults.
static SUPERVISOR: Lock<Option<Arc<Signaller>>> = Lock::new(None);
static SLOT: TimerSlot = TimerSlot::new();

/// Accesses to memory that were refused. Units do not record all of those that come at once: at least so many.
pub fn dma_faults() -> u64 {
    DMA.load(Ordering::Relaxed)
}

/// Interrupt messages that were refused, as far as units record them.
pub fn interrupt_faults() -> u64 {
    INTERRUPTS.load(Ordering::Relaxed)
}

/// The place among the deadlines of the end of a hold.
pub const fn slot() -> &'static TimerSlot {
    &SLOT
}

/// Takes what the units have recorded, counts it, and gives the first of it and its number.
fn take() -> Option<(Fault, u32, Completeness)> {
    let mut first = None;
    let mut count = 0;
    let mut completeness = Completeness::All;
    for unit in UNITS.lock().iter_mut().flatten() {
        let of_unit = unit.take_faults(|fault| {
            first.get_or_insert(fault);
            count += 1;
            pci_function::note_refusal(fault.requester);
            let counter = match fault.kind {
                FaultKind::Memory(..) => &DMA,
                FaultKind::Interrupt(_) => &INTERRUPTS,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        });
        if of_unit == Completeness::SomeLost {
            completeness = of_unit;
        }
    }
    first.map(|fault| (fault, count, completeness))
}

/// From now on signals whenever the log tells of faults.
pub fn tell_refusals(signaller: Arc<Signaller>) {
    let before = SUPERVISOR.lock().replace(signaller);
    drop(before);
}

fn signal_supervisor() {
    let signaller = SUPERVISOR.lock().clone();
    if let Some(thread) = signaller.and_then(|signaller| signaller.signal()) {
        scheduler::make_ready(thread);
    }
}

/// Counts and logs what the units have recorded, and tells the supervisor; whether there was anything.
pub fn look() -> bool {
    let Some((fault, count, completeness)) = take() else { return false };
    let owner = pci_function::owner_of(fault.requester);
    let lost = match completeness {
        Completeness::All => "",
        Completeness::SomeLost => ", some were not recorded",
    };
    match (owner, count) {
        (Some(process), 1) => log::error!("iommu: {fault}, of process {process}{lost}"),
        (Some(process), _) => {
            log::error!("iommu: {fault}, of process {process}; {count} such requests at once{lost}");
        }
        (None, _) => log::error!("iommu: {fault}, of nobody; {count} such requests at once{lost}"),
    }
    signal_supervisor();
    true
}

/// [`FAULT_VECTOR`] has struck.
pub fn event() {
    look();
    for unit in UNITS.lock().iter_mut().flatten() {
        unit.hold_faults();
    }
    arm();
}

fn arm() {
    SLOT.cancel();
    let deadline = time::now().saturating_add(HOLD.load(Ordering::Relaxed));
    if let Err(error) = timers::arm(&SLOT, deadline, Deadline::IommuFaults) {
        log::error!("iommu: {}; further faults are only counted", error.reason);
    }
}

/// The hold is over: faults are told again, unless there were some meanwhile.
pub fn hold_is_over() {
    if look() {
        let longer = HOLD.load(Ordering::Relaxed).saturating_mul(2).min(LONGEST_HOLD);
        HOLD.store(longer, Ordering::Relaxed);
        arm();
        return;
    }
    HOLD.store(SHORTEST_HOLD, Ordering::Relaxed);
    for unit in UNITS.lock().iter_mut().flatten() {
        unit.tell_faults();
    }
}
