//! Where in the address space of this process mappings are put.
use alloc::collections::BTreeMap;
use core::cell::{Cell, RefCell};

use abi::PAGE_SIZE;
use capnp::Error;

/// The region of mappings: near the image, so that they share page tables. Below it lie the pages of Calls, above it the
/// heap.
const START: u64 = 0x1100_0000;
const END: u64 = 0x3000_0000;

/// The region for what finds no room in that one. Above it lies the boot package of the first process.
const FAR_START: u64 = 0x3000_0000_0000;
const FAR_END: u64 = 0x4000_0000_0000;

/// Pages behind each mapping that stay free, so that running past its end faults.
const GUARD_PAGES: u64 = 1;

/// Addresses that one mapping has, and the guard behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    start: u64,
    bytes: u64,
}

impl Range {
    /// First address.
    pub(crate) fn start(self) -> u64 {
        self.start
    }
}

/// The addresses of the regions that are free. Ranges that were freed are used again first, so that the page
/// tables behind them are.
pub(crate) struct AddressRanges {
    /// Everything from here on was never used.
    unused: Cell<u64>,
    /// Freed ranges before that: start to length in bytes. No two touch.
    free: RefCell<BTreeMap<u64, u64>>,
}

impl AddressRanges {
    pub(crate) const fn new() -> Self {
        Self { unused: Cell::new(START), free: RefCell::new(BTreeMap::new()) }
    }

    /// Takes addresses for `pages` pages. Errors: `overloaded` when none are left.
    pub(crate) fn reserve(&self, pages: u32) -> Result<Range, Error> {
        let bytes = (u64::from(pages) + GUARD_PAGES) * PAGE_SIZE as u64;
        let mut free = self.free.borrow_mut();
        let fit = free.iter().find(|(_, length)| **length >= bytes).map(|(start, length)| (*start, *length));
        if let Some((start, length)) = fit {
            free.remove(&start);
            if length > bytes {
                free.insert(start + bytes, length - bytes);
            }
            return Ok(Range { start, bytes });
        }
        let mut start = self.unused.get();
        if start <= END && start + bytes > END {
            start = FAR_START;
        }
        let end = start + bytes;
        if end > FAR_END {
            return Err(Error::overloaded("no addresses are left for a mapping".into()));
        }
        self.unused.set(end);
        Ok(Range { start, bytes })
    }

    /// Gives addresses back that nothing is mapped at any more.
    pub(crate) fn free(&self, range: Range) {
        let mut free = self.free.borrow_mut();
        let Range { mut start, mut bytes } = range;
        if let Some(after) = free.remove(&(start + bytes)) {
            bytes += after;
        }
        if let Some((before, length)) =
            free.range(..start).next_back().map(|(start, length)| (*start, *length))
            && before + length == start
        {
            free.remove(&before);
            start = before;
            bytes += length;
        }
        free.insert(start, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_do_not_overlap_and_keep_a_guard_page() {
        let ranges = AddressRanges::new();
        let first = ranges.reserve(3).unwrap();
        let second = ranges.reserve(1).unwrap();
        assert_eq!(second.start() - first.start(), 4 * PAGE_SIZE as u64);
    }

    #[test]
    fn freed_neighbours_become_one_range() {
        let ranges = AddressRanges::new();
        let taken = [1, 1, 1].map(|pages| ranges.reserve(pages).unwrap());
        let behind = ranges.reserve(1).unwrap();
        for index in [0, 2, 1] {
            ranges.free(taken[index]);
        }
        assert_eq!(
            ranges.reserve(5).unwrap().start(),
            taken[0].start(),
            "the three together fit 5 pages and a guard"
        );
        ranges.free(behind);
    }

    #[test]
    fn what_does_not_fit_near_is_put_far_away() {
        let ranges = AddressRanges::new();
        let pages = ((END - START) / PAGE_SIZE as u64) as u32;
        assert_eq!(ranges.reserve(pages - 1).unwrap().start(), START);
        assert_eq!(ranges.reserve(1).unwrap().start(), FAR_START);
    }

    #[test]
    fn a_region_that_is_used_up_is_an_error() {
        let ranges = AddressRanges::new();
        assert!(ranges.reserve(u32::MAX).is_ok());
        assert!(ranges.reserve(u32::MAX).is_err());
    }
}
