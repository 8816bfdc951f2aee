//! Four-level page tables, reached through the direct map.

use super::{PAGE, PhysicalAddress, frames, zero_page};
use core::{
    ptr,
    sync::atomic::{AtomicU64, Ordering},
};
use x86_64::structures::paging::{PageTable, PageTableFlags as Flags};

/// What a page may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The leaf entry's flags; always with `PRESENT`.
    pub flags: Flags,
}

impl Access {
    /// Kernel data: read and write, not executable.
    pub const KERNEL_DATA: Self =
        Self { flags: Flags::PRESENT.union(Flags::WRITABLE).union(Flags::NO_EXECUTE).union(Flags::GLOBAL) };
    /// Kernel constants: read only.
    pub const KERNEL_READ: Self =
        Self { flags: Flags::PRESENT.union(Flags::NO_EXECUTE).union(Flags::GLOBAL) };
    /// Kernel code: read and execute.
    pub const KERNEL_CODE: Self = Self { flags: Flags::PRESENT.union(Flags::GLOBAL) };
    /// Device registers for the kernel: uncached.
    pub const KERNEL_DEVICE: Self =
        Self { flags: Self::KERNEL_DATA.flags.union(Flags::NO_CACHE).union(Flags::WRITE_THROUGH) };
    /// User memory, read only.
    pub const USER_READ: Self =
        Self { flags: Flags::PRESENT.union(Flags::USER_ACCESSIBLE).union(Flags::NO_EXECUTE) };
    /// User memory, read and write.
    pub const USER_WRITE: Self = Self { flags: Self::USER_READ.flags.union(Flags::WRITABLE) };
    /// User code.
    pub const USER_EXECUTE: Self = Self { flags: Flags::PRESENT.union(Flags::USER_ACCESSIBLE) };

    /// The same, uncached, for device registers.
    pub const fn uncached(self) -> Self {
        Self { flags: self.flags.union(Flags::NO_CACHE).union(Flags::WRITE_THROUGH) }
    }
}

/// Why a page could not be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// Something is mapped there already.
    Occupied,
    /// No frame for a page table was granted.
    NoFrame,
}

/// The root of one set of page tables. It does not own what is mapped in it, only the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root(pub PhysicalAddress);

/// A table of the lowest level, which holds the entries of 512 neighbouring pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafTable(PhysicalAddress);

impl LeafTable {
    /// Pages of one table.
    pub const PAGES: u64 = 512;

    /// Pages from this one on to the end of its table.
    pub const fn pages_from(address: u64) -> u64 {
        Self::PAGES - address / PAGE % Self::PAGES
    }

    /// Maps one page.
    ///
    /// # Safety
    ///
    /// It is the table of this address in a root whose tables the caller owns, and `physical` may be used with this access.
    pub unsafe fn map(self, address: u64, physical: PhysicalAddress, access: Access) -> Result<(), MapError> {
        // SAFETY: the table is one of a root whose tables the caller owns.
        let entry = unsafe { entry(self.0, address, 0) };
        if !entry.is_unused() {
            return Err(MapError::Occupied);
        }
        entry.set_addr(x86_64::PhysAddr::new(physical.0), access.flags);
        Ok(())
    }
}

/// Indexes of the lower half, which belongs to user code.
const USER_ENTRIES: core::ops::Range<usize> = 0..256;

impl Root {
    /// A root with an empty lower half and the upper half of `kernel`.
    pub fn new_user(kernel: Self, frame: PhysicalAddress) -> Self {
        // SAFETY: the caller owns the frame; the kernel's root lives for ever and its upper half no longer changes.
        unsafe {
            zero_page(frame);
            let (from, to) = (kernel.0.pointer::<u64>(), frame.pointer::<u64>());
            core::ptr::copy_nonoverlapping(from.add(256), to.add(256), 256);
        }
        Self(frame)
    }

    /// Maps one page. `table_frame` grants zeroed frames for missing tables.
    ///
    /// # Safety
    ///
    /// The caller owns this root's tables (holds their lock), and `physical` may be used with this access.
    pub unsafe fn map(
        self,
        address: u64,
        physical: PhysicalAddress,
        access: Access,
        table_frame: impl FnMut() -> Option<PhysicalAddress>,
    ) -> Result<(), MapError> {
        // SAFETY: as the caller says.
        unsafe { self.leaf_table(address, access, table_frame)?.map(address, physical, access) }
    }

    /// The table of the page at an address, made if it is missing. `table_frame` grants zeroed frames for missing tables.
    ///
    /// # Safety
    ///
    /// The caller owns this root's tables (holds their lock).
    pub unsafe fn leaf_table(
        self,
        address: u64,
        access: Access,
        mut table_frame: impl FnMut() -> Option<PhysicalAddress>,
    ) -> Result<LeafTable, MapError> {
        let mut table = self.0;
        for level in [3, 2, 1] {
            // SAFETY: the table belongs to this root, and the caller owns it.
            let entry = unsafe { entry(table, address, level) };
            if entry.is_unused() {
                let frame = table_frame().ok_or(MapError::NoFrame)?;
                let user = access.flags.intersection(Flags::USER_ACCESSIBLE);
                entry.set_addr(x86_64::PhysAddr::new(frame.0), Flags::PRESENT | Flags::WRITABLE | user);
            } else if entry.flags().contains(Flags::HUGE_PAGE) {
                return Err(MapError::Occupied);
            }
            table = PhysicalAddress(entry.addr().as_u64());
        }
        Ok(LeafTable(table))
    }

    /// Maps one 2 MiB page, for the kernel's direct map.
    ///
    /// # Safety
    ///
    /// As for [`Self::map`]; `address` and `physical` must be multiples of 2 MiB.
    pub unsafe fn map_large(
        self,
        address: u64,
        physical: PhysicalAddress,
        access: Access,
        mut table_frame: impl FnMut() -> Option<PhysicalAddress>,
    ) -> Result<(), MapError> {
        let mut table = self.0;
        for level in [3, 2] {
            // SAFETY: the table belongs to this root, and the caller owns it.
            let entry = unsafe { entry(table, address, level) };
            if entry.is_unused() {
                let frame = table_frame().ok_or(MapError::NoFrame)?;
                entry.set_addr(x86_64::PhysAddr::new(frame.0), Flags::PRESENT | Flags::WRITABLE);
            }
            table = PhysicalAddress(entry.addr().as_u64());
        }
        // SAFETY: as above.
        let entry = unsafe { entry(table, address, 1) };
        if !entry.is_unused() {
            return Err(MapError::Occupied);
        }
        entry.set_addr(x86_64::PhysAddr::new(physical.0), access.flags | Flags::HUGE_PAGE);
        Ok(())
    }

    /// Removes the mappings of neighbouring pages, where there are any, and tells of those that a TLB may hold. The caller
    /// flushes TLBs.
    ///
    /// A page that was never accessed is in none: a processor keeps no translation whose accessed flag is not set, and sets it
    /// by an atomic access to the entry [Intel SDM 3A 4.8, 4.10.2.3].
    ///
    /// # Safety
    ///
    /// The caller owns this root's tables.
    pub unsafe fn unmap(self, start: u64, pages: u64, mut accessed: impl FnMut(u64)) {
        let mut page = 0;
        while page < pages {
            let first = start + page * PAGE;
            let together = LeafTable::pages_from(first).min(pages - page);
            // SAFETY: as the caller says.
            if let Some(table) = unsafe { self.find_leaf_table(first) } {
                for number in 0..together {
                    let address = first + number * PAGE;
                    // SAFETY: the table belongs to this root, and nobody else writes the entry but processors that set flags.
                    let entry =
                        unsafe { AtomicU64::from_ptr(ptr::from_mut(entry(table.0, address, 0)).cast()) };
                    // Processors that have the root loaded may set the flag at any time until the entry is gone.
                    let before = Flags::from_bits_truncate(entry.swap(0, Ordering::Relaxed));
                    if before.contains(Flags::ACCESSED) {
                        accessed(address);
                    }
                }
            }
            page += together;
        }
    }

    /// The table of the page at an address, if there is one.
    ///
    /// # Safety
    ///
    /// The caller owns this root's tables.
    unsafe fn find_leaf_table(self, address: u64) -> Option<LeafTable> {
        let mut table = self.0;
        for level in [3, 2, 1] {
            // SAFETY: the table belongs to this root.
            let entry = unsafe { entry(table, address, level) };
            if entry.is_unused() || entry.flags().contains(Flags::HUGE_PAGE) {
                return None;
            }
            table = PhysicalAddress(entry.addr().as_u64());
        }
        Some(LeafTable(table))
    }

    /// The frame that a page of 4 KiB is mapped to, and how.
    ///
    /// # Safety
    ///
    /// The caller owns this root's tables.
    pub unsafe fn lookup(self, address: u64) -> Option<(PhysicalAddress, Flags)> {
        // SAFETY: as the caller says.
        let LeafTable(table) = unsafe { self.find_leaf_table(address)? };
        // SAFETY: as above.
        let entry = unsafe { entry(table, address, 0) };
        (!entry.is_unused()).then(|| (PhysicalAddress(entry.addr().as_u64()), entry.flags()))
    }

    /// Whether a page is mapped here, for reports.
    pub fn is_mapped(self, address: u64) -> bool {
        let mut table = self.0;
        for level in [3, 2, 1, 0] {
            // SAFETY: only reads; a table in use stays a table.
            let entry = unsafe { entry(table, address, level) };
            if entry.is_unused() {
                return false;
            }
            if entry.flags().contains(Flags::HUGE_PAGE) {
                return true;
            }
            table = PhysicalAddress(entry.addr().as_u64());
        }
        true
    }

    /// Makes sure that the top-level entries for `size` bytes from `address` on exist, so that all
    /// roots that are made later share what is mapped there.
    ///
    /// # Safety
    ///
    /// The caller owns this root's tables.
    pub unsafe fn prepare(self, address: u64, size: u64) -> Result<(), MapError> {
        let (first, last) = (address >> 39, (address + size - 1) >> 39);
        for index in first..=last {
            // SAFETY: as the caller says.
            let entry = unsafe { entry(self.0, index << 39, 3) };
            if entry.is_unused() {
                let frame = frames::allocate_zeroed().ok_or(MapError::NoFrame)?;
                entry.set_addr(x86_64::PhysAddr::new(frame.0), Flags::PRESENT | Flags::WRITABLE);
            }
        }
        Ok(())
    }

    /// Frees all tables of the lower half and the root itself; returns their number. What is mapped is not touched.
    ///
    /// # Safety
    ///
    /// No processor uses this root any more, and nobody will.
    pub unsafe fn free_user_tables(self) -> usize {
        // SAFETY: the root is unused by the caller's word, and so are its tables.
        unsafe { free_table(self.0, 3) }
    }
}

/// # Safety
///
/// `table` must be a page table of this level, owned by the caller.
unsafe fn entry<'a>(
    table: PhysicalAddress,
    address: u64,
    level: u32,
) -> &'a mut x86_64::structures::paging::page_table::PageTableEntry {
    let index = (address >> (12 + 9 * level)) as usize & 511;
    // SAFETY: the table is a page in the direct map, owned by the caller.
    let table = unsafe { &mut *table.pointer::<PageTable>() };
    // The index is below 512.
    &mut table[index]
}

/// # Safety
///
/// `table` must be a page table of this level that nothing uses any more.
unsafe fn free_table(table: PhysicalAddress, level: u32) -> usize {
    let mut freed = 1;
    if level > 0 {
        let entries = if level == 3 { USER_ENTRIES } else { 0..512 };
        for index in entries {
            // SAFETY: the table is owned by the caller.
            let entry = unsafe { entry(table, (index as u64) << (12 + 9 * level), level) };
            if !entry.is_unused() {
                let child = PhysicalAddress(entry.addr().as_u64());
                // SAFETY: above the last level, a present entry of the user half names a table.
                freed += unsafe { free_table(child, level - 1) };
            }
        }
    }
    // SAFETY: the table is unused by the caller's word.
    unsafe { frames::release(table, 1) };
    freed
}
