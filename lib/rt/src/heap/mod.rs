//! The heap: free lists by size in front of `talc`, on memory that is mapped as it is needed.
//!
//! Small allocations are most of what a call makes, and they cost a list operation each. Memory of
//! the lists goes back to other sizes never: a process's need for each size is bounded by what it does.
use core::{
    alloc::{GlobalAlloc, Layout},
    cell::UnsafeCell,
    ptr,
};

use talc::{TalcCell, source::Source};

#[cfg(target_os = "none")]
mod growth;
#[cfg(test)]
mod tests;

#[cfg(target_os = "none")]
#[global_allocator]
static HEAP: Heap<growth::Growth> = Heap::new(growth::Growth::new());

/// Step between the sizes of the lists, and the alignment of what they hold.
const GRANULE: usize = 16;

/// Number of lists; the last one holds `CLASSES * GRANULE` bytes.
const CLASSES: usize = 32;

/// Bytes that a list takes at a time, but at least one item.
const REFILL: usize = 1024;

/// Free lists in front of an allocator for what is larger.
pub(crate) struct Heap<S: Source> {
    lists: [UnsafeCell<*mut FreeItem>; CLASSES],
    large: TalcCell<S>,
}

struct FreeItem {
    next: *mut FreeItem,
}

// SAFETY: only the first thread of a process allocates (see `crate::runtime`).
unsafe impl<S: Source> Sync for Heap<S> {}

impl<S: Source> Heap<S> {
    pub(crate) const fn new(source: S) -> Self {
        Self { lists: [const { UnsafeCell::new(ptr::null_mut()) }; CLASSES], large: TalcCell::new(source) }
    }

    /// The list for a layout, if one holds such.
    #[inline(always)]
    fn class(layout: Layout) -> Option<usize> {
        if layout.size() == 0 || layout.align() > GRANULE {
            return None;
        }
        let class = (layout.size() - 1) / GRANULE;
        (class < CLASSES).then_some(class)
    }

    /// Fills an empty list and takes one item of it.
    #[cold]
    fn refill(&self, class: usize) -> *mut u8 {
        let size = (class + 1) * GRANULE;
        let count = (REFILL / size).max(1);
        // `count * size` is at most `REFILL` or one item, and the alignment a power of two.
        let Ok(layout) = Layout::from_size_align(count * size, GRANULE) else { return ptr::null_mut() };
        // SAFETY: the layout's size is not zero.
        let block = unsafe { self.large.alloc(layout) };
        if block.is_null() {
            return block;
        }
        let list = self.lists[class].get();
        for index in 1..count {
            // SAFETY: the item lies in the block, which has `count` of them, each aligned to and at least as
            // large as a `FreeItem`; nothing else uses the list now.
            unsafe {
                let item = block.add(index * size).cast::<FreeItem>();
                item.write(FreeItem { next: *list });
                *list = item;
            }
        }
        block
    }
}

// SAFETY: an item is handed out once until it is given back, is as large and aligned as its list says,
// and what no list holds is `talc`'s.
unsafe impl<S: Source> GlobalAlloc for Heap<S> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = Self::class(layout) else {
            // SAFETY: the caller's promise.
            return unsafe { self.large.alloc(layout) };
        };
        // SAFETY: the class is an index of the array. Items of a list are free memory that only the list points to.
        unsafe {
            let list = self.lists.get_unchecked(class).get();
            let item = *list;
            if item.is_null() {
                return self.refill(class);
            }
            *list = (*item).next;
            item.cast()
        }
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        let Some(class) = Self::class(layout) else {
            // SAFETY: the caller's promise; `alloc` took it from there for the same layout.
            return unsafe { self.large.dealloc(memory, layout) };
        };
        // SAFETY: as in `alloc`; the memory is an item of this class that its owner gives back.
        unsafe {
            let list = self.lists.get_unchecked(class).get();
            let item = memory.cast::<FreeItem>();
            item.write(FreeItem { next: *list });
            *list = item;
        }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the new size is valid for this alignment.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (Self::class(layout), Self::class(new)) {
            (Some(before), Some(after)) if before == after => memory,
            // SAFETY: both the old and the new layout are `talc`'s.
            (None, None) => unsafe { self.large.realloc(memory, layout, size) },
            // SAFETY: `alloc`'s and `dealloc`'s needs are the caller's promise; both blocks have the copied length.
            _ => unsafe {
                let moved = self.alloc(new);
                if !moved.is_null() {
                    ptr::copy_nonoverlapping(memory, moved, layout.size().min(size));
                    self.dealloc(memory, layout);
                }
                moved
            },
        }
    }
}
