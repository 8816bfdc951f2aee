//! A queue's buffers as the controller reaches them: page lists that are written once.
//!
//! The buffers are contiguous on the bus, so the list of the pages behind any place in them is a piece of one long list.
//! A list goes on in another page only by a pointer in its last entry [NVMe-2.1 4.3.1]; so that no piece has to, the
//! list is kept in overlapping tables of one page each:
//!
//! ```text
//!   table 0: pages   0 .. 511
//!   table 1: pages 256 .. 767        a piece that starts at page p lies whole in table p / 256,
//!   table 2: pages 512 .. 1023       as it has at most 256 entries
//! ```

use crate::spec::PAGE_BYTES;
use ::device::DmaRegion;

/// Pages from the start of one table to that of the next.
const STEP: u32 = 256;

/// The most bytes of one transfer, whose list has at most [`STEP`] entries wherever it starts in its first page.
pub const MAXIMUM_TRANSFER: u32 = STEP * PAGE_BYTES;

/// The buffers of one queue.
pub struct Pool {
    buffers: DmaRegion,
    tables: DmaRegion,
}

impl Pool {
    /// Pages of tables for buffers of so many bytes.
    pub const fn table_pages(bytes: u32) -> u32 {
        bytes.div_ceil(PAGE_BYTES).div_ceil(STEP)
    }

    /// Writes the tables for `buffers` into memory that only driver and device reach. `None` when that is too small.
    pub fn new(buffers: DmaRegion, tables: DmaRegion) -> Option<Self> {
        let pages = buffers.size().div_ceil(PAGE_BYTES);
        let needed = Self::table_pages(buffers.size());
        if tables.size() / PAGE_BYTES < needed {
            return None;
        }
        for table in 0..needed {
            for entry in 0..PAGE_BYTES / 8 {
                let page = table * STEP + entry;
                if page < pages {
                    let address = buffers.bus() + u64::from(page) * u64::from(PAGE_BYTES);
                    tables.write_u64(table * PAGE_BYTES + entry * 8, address);
                }
            }
        }
        Some(Self { buffers, tables })
    }

    /// The two data pointers of a transfer of `length` bytes at `offset`, if it lies in the buffers.
    pub fn pointers(&self, offset: u32, length: u32) -> Option<[u64; 2]> {
        if length > MAXIMUM_TRANSFER || offset.checked_add(length)? > self.buffers.size() {
            return None;
        }
        let first = self.buffers.bus() + u64::from(offset);
        let end = offset % PAGE_BYTES + length;
        let second = offset / PAGE_BYTES + 1;
        Some(match end {
            0..=PAGE_BYTES => [first, 0],
            _ if end <= 2 * PAGE_BYTES => {
                [first, self.buffers.bus() + u64::from(second) * u64::from(PAGE_BYTES)]
            }
            _ => {
                let place = second / STEP * PAGE_BYTES + second % STEP * 8;
                [first, self.tables.bus() + u64::from(place)]
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::device::fake::Bus;

    /// Follows data pointers as a device does; the transfer as runs of bytes.
    fn walk(bus: &Bus, [prp1, prp2]: [u64; 2], length: u32) -> Vec<(u64, u32)> {
        let first = (PAGE_BYTES - (prp1 % 4096) as u32).min(length);
        let mut runs = vec![(prp1, first)];
        let mut left = length - first;
        if left == 0 {
            assert_eq!(prp2, 0);
            return runs;
        }
        if left <= PAGE_BYTES {
            runs.push((prp2, left));
            return runs;
        }
        let entries = left.div_ceil(PAGE_BYTES);
        assert!(prp2 % 4096 / 8 + u64::from(entries) <= 512, "the list does not leave its page");
        for entry in 0..u64::from(entries) {
            let bytes = bus.read(prp2 + entry * 8, 8).expect("a list in memory");
            let address = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
            assert_eq!(address % 4096, 0);
            let run = left.min(PAGE_BYTES);
            runs.push((address, run));
            left -= run;
        }
        runs
    }

    #[test]
    fn every_transfer_is_its_own_bytes_in_order() {
        let bus = Bus::default();
        let buffers = bus.memory(1024 * PAGE_BYTES);
        let start = buffers.bus();
        assert_eq!(Pool::table_pages(1024 * PAGE_BYTES), 4);
        let pool = Pool::new(buffers, bus.memory(4 * PAGE_BYTES)).expect("tables fit");
        for offset in [0, 512, 4096, 255 * 4096, 255 * 4096 + 3584, 256 * 4096, 700 * 4096 + 512, 1023 * 4096]
        {
            for length in [512, 4096, 4608, 8192, 8704, 131_072, 524_288, MAXIMUM_TRANSFER] {
                let Some(pointers) = pool.pointers(offset, length) else {
                    assert!(offset + length > 1024 * PAGE_BYTES);
                    continue;
                };
                let mut next = start + u64::from(offset);
                for (address, run) in walk(&bus, pointers, length) {
                    assert_eq!(address, next, "{offset}+{length}");
                    next += u64::from(run);
                }
                assert_eq!(next, start + u64::from(offset + length));
            }
        }
        assert_eq!(pool.pointers(0, MAXIMUM_TRANSFER + 512), None);
        assert_eq!(pool.pointers(u32::MAX, 512), None);
        assert!(Pool::new(bus.memory(257 * PAGE_BYTES), bus.memory(PAGE_BYTES)).is_none());
    }
}
