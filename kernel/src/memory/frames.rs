//! Physical page frames: which are free.
//!
//! The last [`RESERVE`] frames are kept for the kernel's own small allocations, so that what a user asks for
//! fails with an error long before the kernel itself runs out.

use super::{PAGE, PhysicalAddress, zero_page};
use crate::sync::Lock;
use collections::FrameBitmap;
use core::sync::atomic::{AtomicUsize, Ordering};
use limine::memmap;

/// Frames that only [`allocate_for_kernel`] may take.
pub const RESERVE: usize = 64;

static FRAMES: Lock<Option<FrameBitmap<'static>>> = Lock::new(None);
static TOTAL: AtomicUsize = AtomicUsize::new(0);
static FREE: AtomicUsize = AtomicUsize::new(0);

/// Takes over all usable memory of the boot loader's map. `false` when no range can hold the bitmap.
pub fn init(map: &[&memmap::Entry]) -> bool {
    let usable = || map.iter().filter(|entry| entry.type_ == memmap::MEMMAP_USABLE);
    let end = usable().map(|entry| entry.base.saturating_add(entry.length)).max().unwrap_or(0);
    let frames = (end / PAGE) as usize;
    let words = FrameBitmap::words_for(frames);
    let bitmap_bytes = (words as u64 * 8).next_multiple_of(PAGE);
    // Above 1 MiB, so that low memory stays for the other processors' start code.
    let Some(home) = usable().find(|entry| entry.base >= 0x10_0000 && entry.length >= bitmap_bytes) else {
        return false;
    };
    // SAFETY: the boot loader says that this range is usable and maps it; nobody else has it yet.
    let words =
        unsafe { core::slice::from_raw_parts_mut(PhysicalAddress(home.base).pointer::<u64>(), words) };
    let mut bitmap = FrameBitmap::new(words, frames);
    for entry in usable() {
        let start = if entry.base == home.base { home.base + bitmap_bytes } else { entry.base };
        let (first, last) = (start.div_ceil(PAGE), (entry.base + entry.length) / PAGE);
        // Frame 0 stays unused: address 0 means "none" in too many places.
        let first = first.max(1);
        bitmap.release(first as usize, last.saturating_sub(first) as usize);
    }
    TOTAL.store(bitmap.free_frames(), Ordering::Relaxed);
    FREE.store(bitmap.free_frames(), Ordering::Relaxed);
    *FRAMES.lock() = Some(bitmap);
    true
}

/// Frames that were free when the kernel started.
pub fn total() -> usize {
    TOTAL.load(Ordering::Relaxed)
}

/// Frames that are free now.
pub fn free() -> usize {
    FREE.load(Ordering::Relaxed)
}

/// Whether `count` frames can be taken on a user's behalf.
pub fn available(count: usize) -> bool {
    free() >= count.saturating_add(RESERVE)
}

fn with<R>(operation: impl FnOnce(&mut FrameBitmap<'static>) -> Option<R>) -> Option<R> {
    let mut frames = FRAMES.lock();
    let bitmap = frames.as_mut()?;
    let result = operation(bitmap);
    FREE.store(bitmap.free_frames(), Ordering::Relaxed);
    result
}

/// Takes one frame for the kernel itself, the reserve included.
pub fn allocate_for_kernel() -> Option<PhysicalAddress> {
    with(FrameBitmap::allocate).map(|frame| PhysicalAddress(frame as u64 * PAGE))
}

/// Takes one zeroed frame on a user's behalf.
pub fn allocate_zeroed() -> Option<PhysicalAddress> {
    if !available(1) {
        return None;
    }
    let frame = allocate_for_kernel()?;
    // SAFETY: the frame was just taken.
    unsafe { zero_page(frame) };
    Some(frame)
}

/// Takes `count` contiguous frames below the physical address `limit`; not zeroed.
pub fn allocate_run(count: usize, limit: u64) -> Option<PhysicalAddress> {
    let limit = (limit / PAGE) as usize;
    with(|bitmap| bitmap.allocate_run(count, 1, limit)).map(|frame| PhysicalAddress(frame as u64 * PAGE))
}

/// Gives back `count` frames from `start` on.
///
/// # Safety
///
/// They must have been taken from here, and nothing may use them any more.
pub unsafe fn release(start: PhysicalAddress, count: usize) {
    with(|bitmap| Some(bitmap.release(start.frame() as usize, count)));
}
