//! Tests of the heap on memory of the host.
use std::{
    alloc::{GlobalAlloc, Layout},
    collections::BTreeMap,
};

use talc::source::Claim;

use super::{CLASSES, GRANULE, Heap};

const ARENA: usize = 1 << 20;

fn heap() -> Heap<Claim> {
    let arena = Box::leak(vec![0_u64; ARENA / 8].into_boxed_slice());
    // SAFETY: the arena is leaked and used by this heap alone.
    Heap::new(unsafe { Claim::new(arena.as_mut_ptr().cast(), ARENA) })
}

/// A generator of numbers that are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

#[test]
fn live_allocations_never_overlap_and_keep_their_content() {
    let heap = heap();
    let mut numbers = Numbers(7);
    let mut live: BTreeMap<usize, (Layout, u8)> = BTreeMap::new();
    for step in 0..20_000_u32 {
        let fill = step as u8;
        if live.len() < 100 && numbers.below(3) > 0 {
            let largest = if numbers.below(4) == 0 { 4000 } else { 600 };
            let layout = Layout::from_size_align(1 + numbers.below(largest), 1 << numbers.below(7)).unwrap();
            // SAFETY: the size is not zero.
            let memory = unsafe { heap.alloc(layout) };
            assert!(!memory.is_null());
            assert_eq!(memory.addr() % layout.align(), 0);
            let end = memory.addr() + layout.size();
            assert!(
                live.range(..end)
                    .next_back()
                    .is_none_or(|(start, (other, _))| start + other.size() <= memory.addr())
            );
            // SAFETY: the memory is as large as its layout.
            unsafe { memory.write_bytes(fill, layout.size()) };
            live.insert(memory.expose_provenance(), (layout, fill));
            continue;
        }
        let Some(address) = live.keys().nth(numbers.below(live.len().max(1))).copied() else { continue };
        let (layout, fill) = live.remove(&address).unwrap();
        let memory: *mut u8 = std::ptr::with_exposed_provenance_mut(address);
        // SAFETY: it is live, with this layout; the new size is not zero.
        unsafe {
            assert!((0..layout.size()).all(|index| *memory.add(index) == fill));
            if numbers.below(2) == 0 {
                heap.dealloc(memory, layout);
                continue;
            }
            let size = 1 + numbers.below(1200);
            let moved = heap.realloc(memory, layout, size);
            assert!((0..layout.size().min(size)).all(|index| *moved.add(index) == fill));
            moved.write_bytes(fill, size);
            live.insert(
                moved.expose_provenance(),
                (Layout::from_size_align(size, layout.align()).unwrap(), fill),
            );
        }
    }
}

#[test]
fn a_small_item_that_is_freed_is_the_next_one_of_its_size() {
    let heap = heap();
    for class in 0..CLASSES {
        let layout = Layout::from_size_align((class + 1) * GRANULE, GRANULE).unwrap();
        // SAFETY: the layouts are not empty, and what is freed was allocated.
        unsafe {
            let first = heap.alloc(layout);
            heap.dealloc(first, layout);
            assert_eq!(heap.alloc(layout), first);
        }
    }
}

#[test]
fn memory_that_ends_is_an_error() {
    let heap = heap();
    // SAFETY: the layouts are not empty.
    unsafe {
        assert!(heap.alloc(Layout::from_size_align(ARENA * 2, 8).unwrap()).is_null());
        let layout = Layout::from_size_align(GRANULE, 8).unwrap();
        let mut count = 0;
        while !heap.alloc(layout).is_null() {
            count += 1;
        }
        assert!(count * GRANULE > ARENA * 8 / 10, "{count}");
    }
}
