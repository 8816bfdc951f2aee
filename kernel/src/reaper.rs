//! Takes dead processes apart, in steps between other work, so that no single path through the kernel is long.

use crate::arch::cpu::Cpu;
use crate::list::List;
use crate::object::process::Process;
use crate::sync::Lock;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

/// Handles that one step closes.
const HANDLES_PER_STEP: usize = 64;

static DEAD: Lock<List<Process>> = Lock::new(List::new());
static WAITING: AtomicU32 = AtomicU32::new(0);

/// Adds a process whose last thread has ended.
pub fn add(process: Arc<Process>) {
    // A process dies once, so it is not in the list already.
    let added = DEAD.lock().push_back(process).is_ok();
    if added {
        WAITING.fetch_add(1, Ordering::SeqCst);
    }
}

/// Whether a step has something to do.
#[inline]
pub fn has_work() -> bool {
    WAITING.load(Ordering::SeqCst) > 0
}

/// Closes some handles of a dead process, or frees its memory once none is left.
#[inline]
pub fn step(_cpu: &Cpu) {
    if !has_work() {
        return;
    }
    // While a processor works on it, the process is in no list, so that each has one undertaker.
    let Some(process) = DEAD.lock().pop_front() else { return };
    let mut start = 0;
    for _ in 0..HANDLES_PER_STEP {
        let entry = process.handles.lock().remove_next(start);
        match entry {
            Some((next, object)) => {
                start = next;
                object.close();
            }
            None => {
                process.space.destroy();
                process.set_reaped();
                WAITING.fetch_sub(1, Ordering::SeqCst);
                return;
            }
        }
    }
    let _ = DEAD.lock().push_front(process);
}
