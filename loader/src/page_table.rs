//! Builds the page tables that the kernel starts with: four levels [SDM 4.5].

use core::fmt;

use crate::{HHDM, PAGE_SIZE, image::Protection, memory_map::Range};

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Bytes that one large page maps, one directory, and one directory pointer table.
const LARGE_PAGE: u64 = 1 << 21;
const DIRECTORY_SPAN: u64 = 1 << 30;
const POINTER_SPAN: u64 = 1 << 39;

/// End of the physical addresses that the direct map can show.
const DIRECT_END: u64 = 1 << 46;

/// One table of any level.
#[derive(Clone)]
#[repr(C, align(4096))]
pub struct Table([u64; 512]);

impl Table {
    /// A table that maps nothing.
    pub const EMPTY: Self = Self([0; 512]);
}

/// More tables are needed than the pool has: [`tables_needed`] was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfTables;

impl fmt::Display for OutOfTables {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("out of page tables")
    }
}

/// What the direct map must cover: at least 4 GiB [LIMINE, memory layout at entry], and all memory.
pub fn direct_end(memory_end: u64) -> u64 {
    memory_end.clamp(1 << 32, DIRECT_END).next_multiple_of(LARGE_PAGE)
}

/// The most tables that the mappings of [`Builder`] take: the root; three for one page at a low address; two
/// levels and the page tables of the kernel, which may lie across one border of each; the direct map.
pub fn tables_needed(kernel: Range, direct_end: u64) -> u64 {
    let kernel = 4 + kernel.length() / LARGE_PAGE + 2;
    let direct = direct_end.div_ceil(DIRECTORY_SPAN) + direct_end.div_ceil(POINTER_SPAN);
    1 + 3 + kernel + direct
}

/// Page tables in the making.
pub struct Builder<'a> {
    pool: &'a mut [Table],
    /// Physical address of the pool.
    base: u64,
    used: usize,
}

impl<'a> Builder<'a> {
    /// Starts with an empty root. The physical address of `pool` is `base`.
    pub fn new(pool: &'a mut [Table], base: u64) -> Result<Self, OutOfTables> {
        let mut builder = Self { pool, base, used: 0 };
        builder.allocate()?;
        Ok(builder)
    }

    /// Physical address of the root, for CR3.
    pub const fn root(&self) -> u64 {
        self.base
    }

    /// Maps whole pages at `virtual_start` to the physical range.
    pub fn map(
        &mut self,
        virtual_start: u64,
        physical: Range,
        protection: Protection,
    ) -> Result<(), OutOfTables> {
        let flags = PRESENT
            | match protection {
                Protection::Read => NO_EXECUTE,
                Protection::ReadWrite => WRITABLE | NO_EXECUTE,
                Protection::ReadExecute => 0,
            };
        for offset in (0..physical.length()).step_by(PAGE_SIZE as usize) {
            let address = virtual_start.wrapping_add(offset);
            let mut table = 0;
            for level in [3, 2, 1] {
                table = self.next(table, index(address, level))?;
            }
            self.set(table, index(address, 0), (physical.start.wrapping_add(offset) & ADDRESS) | flags)?;
        }
        Ok(())
    }

    /// Maps all physical memory up to `end` at [`HHDM`], for reading and writing.
    pub fn map_direct(&mut self, end: u64) -> Result<(), OutOfTables> {
        for start in (0..end).step_by(DIRECTORY_SPAN as usize) {
            let address = HHDM.wrapping_add(start);
            let pointers = self.next(0, index(address, 3))?;
            let directory = self.next(pointers, index(address, 2))?;
            let pages = (end - start).min(DIRECTORY_SPAN).div_ceil(LARGE_PAGE);
            let Table(entries) = self.pool.get_mut(directory).ok_or(OutOfTables)?;
            for (entry, number) in entries.iter_mut().zip(0..pages) {
                *entry = (start + number * LARGE_PAGE) | PRESENT | WRITABLE | LARGE | NO_EXECUTE;
            }
        }
        Ok(())
    }

    /// The table that an entry leads to, new if there was none. Upper levels allow everything: the last decides.
    fn next(&mut self, table: usize, entry: usize) -> Result<usize, OutOfTables> {
        let value = self.pool.get(table).and_then(|Table(entries)| entries.get(entry)).ok_or(OutOfTables)?;
        if value & PRESENT != 0 {
            let offset = (value & ADDRESS).checked_sub(self.base).ok_or(OutOfTables)?;
            return usize::try_from(offset / PAGE_SIZE).map_err(|_| OutOfTables);
        }
        let new = self.allocate()?;
        let address = self.base + new as u64 * PAGE_SIZE;
        self.set(table, entry, address | PRESENT | WRITABLE)?;
        Ok(new)
    }

    fn set(&mut self, table: usize, entry: usize, value: u64) -> Result<(), OutOfTables> {
        let Table(entries) = self.pool.get_mut(table).ok_or(OutOfTables)?;
        *entries.get_mut(entry).ok_or(OutOfTables)? = value;
        Ok(())
    }

    fn allocate(&mut self) -> Result<usize, OutOfTables> {
        let number = self.used;
        *self.pool.get_mut(number).ok_or(OutOfTables)? = Table::EMPTY;
        self.used += 1;
        Ok(number)
    }
}

/// The entry of a level (0 is the last) that an address goes through.
const fn index(address: u64, level: u32) -> usize {
    (address >> (12 + 9 * level)) as usize & 511
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::LOWEST_ADDRESS;

    const BASE: u64 = 0x40_0000;

    /// What the processor would find: physical address and the flags of the last level.
    fn translate(pool: &[Table], address: u64) -> Option<(u64, u64)> {
        let mut table = 0;
        for level in [3, 2, 1, 0] {
            let entry = pool[table].0[index(address, level)];
            if entry & PRESENT == 0 {
                return None;
            }
            if level == 0 || entry & LARGE != 0 {
                let offset = address & ((1 << (12 + 9 * level)) - 1);
                return Some(((entry & ADDRESS) + offset, entry & (WRITABLE | NO_EXECUTE)));
            }
            table = usize::try_from(((entry & ADDRESS) - BASE) / PAGE_SIZE).expect("in the pool");
        }
        None
    }

    fn build(span: Range, memory_end: u64) -> Vec<Table> {
        let end = direct_end(memory_end);
        let count = usize::try_from(tables_needed(span, end)).expect("few");
        let mut pool = vec![Table::EMPTY; count];
        let mut builder = Builder::new(&mut pool, BASE).expect("room");
        let physical = Range { start: 0x12_3000, end: 0x12_3000 + span.length() };
        builder.map(span.start, physical, Protection::ReadExecute).expect("room");
        builder
            .map(0x10_0000, Range { start: 0x10_0000, end: 0x10_1000 }, Protection::ReadExecute)
            .expect("room");
        builder.map_direct(end).expect("room");
        pool
    }

    #[test]
    fn maps_the_kernel_and_all_memory() {
        let span = Range { start: LOWEST_ADDRESS, end: LOWEST_ADDRESS + 0x40_3000 };
        let pool = build(span, 9 << 30);
        assert_eq!(translate(&pool, LOWEST_ADDRESS + 0x40_2abc), Some((0x12_3000 + 0x40_2abc, 0)));
        assert_eq!(translate(&pool, LOWEST_ADDRESS + 0x40_3000), None);
        assert_eq!(translate(&pool, LOWEST_ADDRESS - 1), None);
        assert_eq!(translate(&pool, 0x10_0123), Some((0x10_0123, 0)));
        for address in [0, 0xb_8000, (9 << 30) - 1] {
            assert_eq!(translate(&pool, HHDM + address), Some((address, WRITABLE | NO_EXECUTE)));
        }
        assert_eq!(translate(&pool, HHDM + (9 << 30)), None);
    }

    #[test]
    fn covers_four_gigabytes_of_a_small_machine_and_more_than_one_root_entry_of_a_large_one() {
        let span = Range { start: LOWEST_ADDRESS + 0x1f_f000, end: LOWEST_ADDRESS + 0x20_1000 };
        let small = build(span, 64 << 20);
        assert_eq!(translate(&small, HHDM + 0xfee0_0000), Some((0xfee0_0000, WRITABLE | NO_EXECUTE)));
        let large = build(span, (1 << 39) + 5);
        assert_eq!(translate(&large, HHDM + (1 << 39) + 4), Some(((1 << 39) + 4, WRITABLE | NO_EXECUTE)));
    }

    #[test]
    fn protects_by_kind() {
        let mut pool = vec![Table::EMPTY; 8];
        let mut builder = Builder::new(&mut pool, BASE).expect("room");
        let page = Range { start: 0x5000, end: 0x6000 };
        builder.map(LOWEST_ADDRESS, page, Protection::Read).expect("room");
        builder.map(LOWEST_ADDRESS + 0x1000, page, Protection::ReadWrite).expect("room");
        assert_eq!(translate(&pool, LOWEST_ADDRESS), Some((0x5000, NO_EXECUTE)));
        assert_eq!(translate(&pool, LOWEST_ADDRESS + 0x1000), Some((0x5000, NO_EXECUTE | WRITABLE)));
    }

    #[test]
    fn says_when_the_pool_is_empty() {
        let mut pool = vec![Table::EMPTY; 3];
        let mut builder = Builder::new(&mut pool, BASE).expect("room");
        let page = Range { start: 0, end: 0x1000 };
        assert_eq!(builder.map(LOWEST_ADDRESS, page, Protection::Read), Err(OutOfTables));
    }
}
