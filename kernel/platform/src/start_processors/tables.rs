//! The trampoline's page tables: its code page where it is, and the page of the entry stub.
//!
//! ```text
//! page 1  level 4:  [0] -> page 2     [stub] -> page 5
//! page 2  level 3:  [0] -> page 3     page 5  level 3:  [stub] -> page 6
//! page 3  level 2:  [0] -> page 4     page 6  level 2:  [stub] -> page 7
//! page 4  level 1:  [code] = page 0   page 7  level 1:  [stub] = page of the stub
//! ```

use super::{PAGE, TRAMPOLINE_PAGES, TrampolineMemory};
use crate::address::PhysicalAddress;

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const ENTRIES: u64 = 512;

/// Whether an address shares its level 4 entry with the trampoline's code page, where the tables have room for one only.
pub(super) const fn is_beside_low_memory(address: u64) -> bool {
    address >> 39 & (ENTRIES - 1) == 0
}

/// Writes the tables; gives the root's address, which is below 4 GiB.
pub(super) fn write(memory: &mut TrampolineMemory, stub: u64, stub_physical: PhysicalAddress) -> u32 {
    for page in 1..TRAMPOLINE_PAGES as u64 {
        for index in 0..ENTRIES {
            set(memory, page, index, 0);
        }
    }
    let physical = memory.physical;
    let table = |page: u64| (physical + page * PAGE) | PRESENT | WRITABLE;
    let index = |level: u32| stub >> (12 + 9 * level) & (ENTRIES - 1);

    set(memory, 1, 0, table(2));
    set(memory, 2, 0, table(3));
    set(memory, 3, 0, table(4));
    set(memory, 4, physical / PAGE, table(0));

    // The caller checked that the index at level 4 is not 0.
    set(memory, 1, index(3), table(5));
    set(memory, 5, index(2), table(6));
    set(memory, 6, index(1), table(7));
    set(memory, 7, index(0), stub_physical.0 & !(PAGE - 1) | PRESENT);

    // `TrampolineMemory::new` checked that it is below 640 KiB.
    (physical + PAGE) as u32
}

fn set(memory: &mut TrampolineMemory, page: u64, index: u64, entry: u64) {
    let offset = (page * PAGE + index * 8) as usize;
    // SAFETY: `page` is below `TRAMPOLINE_PAGES` and `index` below 512 (9 bits, or a page number below 160), so the entry lies in
    // the memory that the value owns, and `new` checked its alignment.
    unsafe { memory.pointer.add(offset).cast::<u64>().write_volatile(entry) }
}
