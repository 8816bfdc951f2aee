//! Tables that units walk, and second-level tables: the pages that one domain reaches. [VT-d-4.1 3.7, 9.8]

use crate::address::PhysicalAddress;

/// Words of a table, which is one page.
pub const ENTRIES: usize = 512;

const PAGE: u64 = 4096;
const READ: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// A page that a unit reads, and that nothing else uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table(PhysicalAddress);

impl Table {
    /// Takes a page over.
    ///
    /// # Safety
    /// It is a zeroed page of RAM that nothing else uses as long as a copy of the value is used.
    pub const unsafe fn new(address: PhysicalAddress) -> Self {
        Self(address)
    }

    /// Where it is.
    pub const fn address(self) -> PhysicalAddress {
        self.0
    }
}

/// Where tables come from.
pub trait TableMemory {
    /// A new table; `None` when there is no memory for it.
    fn allocate(&mut self) -> Option<Table>;

    /// Takes a table back that [`TableMemory::allocate`] gave, and that no unit uses any more.
    fn release(&mut self, table: Table);

    /// Reads a word, as it stands in memory. `index` is below [`ENTRIES`].
    fn read(&self, table: Table, index: usize) -> u64;

    /// Writes a word whole. Every unit sees it before anything that is written later.
    fn write(&mut self, table: Table, index: usize, value: u64);
}

/// How many levels of second-level tables are walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Levels {
    /// 39 bits of address.
    Three,
    /// 48 bits of address.
    Four,
}

impl Levels {
    const fn count(self) -> u32 {
        match self {
            Self::Three => 3,
            Self::Four => 4,
        }
    }

    /// Bits of an address that the tables can hold.
    pub const fn address_bits(self) -> u8 {
        match self {
            Self::Three => 39,
            Self::Four => 48,
        }
    }

    /// As a context entry says it. [VT-d-4.1 9.3]
    pub(super) const fn address_width(self) -> u64 {
        match self {
            Self::Three => 1,
            Self::Four => 2,
        }
    }
}

/// The second-level tables of one domain.
#[derive(Debug)]
pub(super) struct SecondLevel<M: TableMemory> {
    memory: M,
    top: Table,
    levels: Levels,
}

/// There is no memory for another table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OutOfMemory;

/// Position of an address's entry in the table of a level; level 1 holds pages.
const fn index(address: u64, level: u32) -> usize {
    // Nine bits.
    (address >> (12 + 9 * (level - 1))) as usize % ENTRIES
}

impl<M: TableMemory> SecondLevel<M> {
    /// Tables that reach nothing.
    pub(super) fn new(mut memory: M, levels: Levels) -> Result<Self, OutOfMemory> {
        let top = memory.allocate().ok_or(OutOfMemory)?;
        Ok(Self { memory, top, levels })
    }

    /// The table that the walk starts at.
    pub(super) const fn top(&self) -> Table {
        self.top
    }

    /// Lets pages be read and written. All addresses are page-aligned and inside what the levels hold, and the pages were not
    /// reached before. On an error none of them is.
    pub(super) fn map(&mut self, bus: u64, physical: PhysicalAddress, pages: u64) -> Result<(), OutOfMemory> {
        for page in 0..pages {
            self.leaf(bus + page * PAGE)?;
        }
        for page in 0..pages {
            let address = bus + page * PAGE;
            let table = self.leaf(address)?;
            let entry = (physical.0 + page * PAGE) & ADDRESS | READ | WRITE;
            self.memory.write(table, index(address, 1), entry);
        }
        Ok(())
    }

    /// The lowest table of an address, made where it is missing.
    fn leaf(&mut self, address: u64) -> Result<Table, OutOfMemory> {
        let mut table = self.top;
        for level in (2..=self.levels.count()).rev() {
            let place = index(address, level);
            table = match child(&self.memory, table, place) {
                Some(child) => child,
                None => {
                    let child = self.memory.allocate().ok_or(OutOfMemory)?;
                    self.memory.write(table, place, child.address().0 & ADDRESS | READ | WRITE);
                    child
                }
            };
        }
        Ok(table)
    }

    fn release(&mut self, table: Table, level: u32) {
        if level > 1 {
            for place in 0..ENTRIES {
                if let Some(child) = child(&self.memory, table, place) {
                    self.release(child, level - 1);
                }
            }
        }
        self.memory.release(table);
    }
}

/// The table that an entry of a level above 1 leads to.
fn child(memory: &impl TableMemory, table: Table, place: usize) -> Option<Table> {
    let entry = memory.read(table, place);
    // SAFETY: entries above level 1 are written by `leaf` alone, and name tables that belong to this domain.
    (entry & READ != 0).then(|| unsafe { Table::new(PhysicalAddress(entry & ADDRESS)) })
}

impl<M: TableMemory> Drop for SecondLevel<M> {
    fn drop(&mut self) {
        self.release(self.top, self.levels.count());
    }
}
