//! How the heap gets memory: new memory objects, mapped one behind the other.
use core::{
    alloc::Layout,
    ptr::{self, NonNull},
};

use abi::PAGE_SIZE;
use schema::memory_capnp::Protection;
use talc::{
    base::{Talc, binning::Binning},
    source::Source,
};

use crate::{
    kernel::{self, MAP, OWN_ADDRESS_SPACE, OWN_MEMORY},
    runtime::runtime,
    syscall,
};

/// Where the heap starts, above the mappings; it ends before those that are far away.
const START: u64 = 0x3000_0000;
const END: u64 = 0x3000_0000_0000;

/// Pages by which the heap grows, if the process has so many left and no single allocation needs more.
const STEP_PAGES: u32 = 16;

/// What `talc` needs around an allocation, at most: its own tables in the first piece and a tag behind each.
const OVERHEAD: usize = 2 * PAGE_SIZE;

/// The memory that was mapped so far.
#[derive(Debug)]
pub(super) struct Growth {
    /// End of what is mapped.
    end: u64,
    /// End of what `talc` knows; `None` before the first piece.
    heap_end: Option<NonNull<u8>>,
}

// SAFETY: the pointer is not shared; the heap is used by one thread only.
unsafe impl Send for Growth {}

impl Growth {
    pub(super) const fn new() -> Self {
        Self { end: START, heap_end: None }
    }
}

// SAFETY: growing touches neither the heap nor anything that allocates.
unsafe impl Source for Growth {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        let bytes = layout.size().checked_add(layout.align()).and_then(|bytes| bytes.checked_add(OVERHEAD));
        let needed = bytes.and_then(|bytes| u32::try_from(bytes.div_ceil(PAGE_SIZE)).ok()).ok_or(())?;
        let start = talc.source.end;
        let pages = if map(start, needed.max(STEP_PAGES)).is_ok() {
            needed.max(STEP_PAGES)
        } else {
            map(start, needed)?;
            needed
        };
        let length = pages as usize * PAGE_SIZE;
        talc.source.end = start + length as u64;
        let base: *mut u8 = ptr::with_exposed_provenance_mut(start as usize);
        // SAFETY: the pages were just mapped for reading and writing, behind those before, and nothing
        // else knows of them.
        talc.source.heap_end = unsafe {
            match talc.source.heap_end {
                Some(heap_end) => Some(talc.extend(heap_end, base.add(length))),
                None => talc.claim(base, length),
            }
        };
        talc.source.heap_end.map(drop).ok_or(())
    }
}

/// Maps new memory. The thread's buffer, which may hold a message, is put back as it was.
fn map(address: u64, pages: u32) -> Result<(), ()> {
    let buffer = runtime().buffer.get().ok_or(())?;
    let end = address + u64::from(pages) * PAGE_SIZE as u64;
    if end > END {
        return Err(());
    }
    let saved = buffer.save();
    let exchange = |target, method, words: &[u64], handles: &[u32]| {
        kernel::exchange(buffer, target, method, words, handles).map_err(drop)
    };
    let own = runtime().own_process.get();
    let mut space = runtime().address_space.get();
    let mut grow = || {
        if space == abi::NULL_HANDLE {
            space = exchange(own, OWN_ADDRESS_SPACE, &kernel::no_fields(), &[])?;
            runtime().address_space.set(space);
        }
        let memory = exchange(own, OWN_MEMORY, &kernel::memory_fields(pages), &[])?;
        let fields = kernel::map_fields(0, pages, address, Protection::ReadWrite);
        let mapped = exchange(space, MAP, &fields, &[memory]);
        // The mapping keeps the memory.
        syscall::close(memory);
        mapped.map(drop)
    };
    let grown = grow();
    buffer.restore(&saved);
    grown
}
