//! The kernel heap: free lists of blocks whose sizes are powers of two. A block is half of a larger one that was cut in two,
//! and the largest ones are halves of frames: so objects that are made one after another lie close together, whatever their
//! sizes, and take few entries of the TLB.
//!
//! Whoever allocates on a user's behalf charges the user's quota first, which also checks that frames are
//! left beyond the reserve ([`super::frames::available`]); so an allocation itself does not fail.

use super::{PAGE, PhysicalAddress, frames};
use crate::sync::Lock;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};

const SMALLEST: usize = 32;
const CLASSES: usize = 7; // 32, 64, ... 2048 bytes

struct Heap {
    classes: [Lock<FreeList>; CLASSES],
}

struct FreeList(Option<NonNull<FreeBlock>>);

struct FreeBlock {
    next: Option<NonNull<FreeBlock>>,
}

// SAFETY: the blocks of a list are owned by it.
unsafe impl Send for FreeList {}

#[global_allocator]
static HEAP: Heap = Heap { classes: [const { Lock::new(FreeList(None)) }; CLASSES] };

fn class_of(layout: Layout) -> Option<usize> {
    let size = layout.size().max(layout.align()).max(SMALLEST).next_power_of_two();
    let class = (size / SMALLEST).trailing_zeros() as usize;
    (class < CLASSES).then_some(class)
}

fn frames_for(layout: Layout) -> usize {
    layout.size().div_ceil(PAGE as usize)
}

// SAFETY: blocks come from frames that the heap owns, are as large and aligned as their class (or whole
// contiguous frames), and are in a free list or in use, never both.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match class_of(layout) {
            Some(class) => self.take(class).map_or(ptr::null_mut(), |block| block.as_ptr().cast()),
            None if layout.align() <= PAGE as usize => frames::allocate_run(frames_for(layout), u64::MAX)
                .map_or(ptr::null_mut(), |start| start.pointer()),
            None => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        match class_of(layout).and_then(|class| self.classes.get(class)) {
            Some(list) => {
                if let Some(block) = NonNull::new(pointer.cast::<FreeBlock>()) {
                    // SAFETY: the block is the heap's again (contract of `dealloc`).
                    unsafe { list.lock().put(block) };
                }
            }
            None => {
                let start = PhysicalAddress(pointer as u64 - super::direct_map());
                // SAFETY: these frames were taken by `alloc` with the same layout.
                unsafe { frames::release(start, frames_for(layout)) };
            }
        }
    }
}

impl Heap {
    /// A block of a class; `None` when there is no memory.
    #[inline]
    fn take(&self, class: usize) -> Option<NonNull<FreeBlock>> {
        let mut list = self.classes.get(class)?.lock();
        match list.0 {
            Some(block) => {
                // SAFETY: a block in the list is free, and ours while the lock is held.
                list.0 = unsafe { block.as_ref().next };
                Some(block)
            }
            None => self.cut(class, &mut list),
        }
    }

    /// Cuts a larger block in two: one half is put into the list, the other one is returned.
    #[cold]
    fn cut(&self, class: usize, list: &mut FreeList) -> Option<NonNull<FreeBlock>> {
        let block = if class + 1 < CLASSES {
            // With the lock of the smaller class held, as always.
            self.take(class + 1)?
        } else {
            NonNull::new(frames::allocate_for_kernel()?.pointer())?
        };
        // SAFETY: the block is ours and twice as large as the halves.
        unsafe {
            list.put(block.byte_add(SMALLEST << class));
        }
        Some(block)
    }
}

impl FreeList {
    /// # Safety
    ///
    /// The block must be unused and owned by the heap.
    unsafe fn put(&mut self, block: NonNull<FreeBlock>) {
        // SAFETY: the block is at least as large and aligned as `FreeBlock`.
        unsafe { block.write(FreeBlock { next: self.0 }) };
        self.0 = Some(block);
    }
}
