//! Frames as tables that units walk.

use crate::error::Error;
use crate::memory::{PAGE, PhysicalAddress, frames, zero_page};
use crate::object::account::{Account, Charge};
use alloc::sync::Arc;
use core::arch::asm;
use platform::vtd::{ENTRIES, Table, TableMemory};

/// Tables that the kernel pays for.
#[derive(Clone, Copy, Debug)]
pub struct KernelTables;

/// Bytes that one flush reaches, on every processor that capOS runs on.
const CACHE_LINE: u64 = 64;

/// Makes memory hold what the processor's cache does: a unit need not look there. [VT-d-4.1 6.8]
fn flush(pointer: *const u64) {
    // SAFETY: the flush of a mapped address changes no memory's contents; the callers pass pointers into the direct map.
    unsafe { asm!("clflush [{0}]", "mfence", in(reg) pointer, options(nostack, preserves_flags)) };
}

fn adopt(frame: PhysicalAddress) -> Table {
    // SAFETY: the frame was just taken.
    unsafe { zero_page(frame) };
    for line in (frame.0..frame.0 + PAGE).step_by(CACHE_LINE as usize) {
        flush(PhysicalAddress(line).pointer());
    }
    // SAFETY: zeroed, and nobody else has it.
    unsafe { Table::new(platform::PhysicalAddress(frame.0)) }
}

fn word(table: Table, index: usize) -> *mut u64 {
    debug_assert!(index < ENTRIES);
    PhysicalAddress(table.address().0 + (index % ENTRIES * 8) as u64).pointer()
}

impl TableMemory for KernelTables {
    fn allocate(&mut self) -> Option<Table> {
        frames::allocate_for_kernel().map(adopt)
    }

    fn release(&mut self, table: Table) {
        // SAFETY: it came from `allocate`, and the caller says that no unit uses it.
        unsafe { frames::release(PhysicalAddress(table.address().0), 1) };
    }

    fn read(&self, table: Table, index: usize) -> u64 {
        // SAFETY: inside the table, which is RAM in the direct map; a unit may write to it meanwhile, hence volatile.
        unsafe { word(table, index).read_volatile() }
    }

    fn write(&mut self, table: Table, index: usize, value: u64) {
        let word = word(table, index);
        // SAFETY: as for reading; the table belongs to whoever has the value.
        unsafe { word.write_volatile(value) };
        flush(word);
    }
}

/// Tables that a process pays for, from its quota of frames.
#[derive(Debug)]
pub struct ChargedTables(Charge);

impl ChargedTables {
    /// None yet.
    pub fn new(account: &Arc<Account>) -> Result<Self, Error> {
        Charge::frames(account, 0).map(Self)
    }
}

impl TableMemory for ChargedTables {
    fn allocate(&mut self) -> Option<Table> {
        if !frames::available(1) {
            return None;
        }
        self.0.add_frame().ok()?;
        KernelTables.allocate()
    }

    fn release(&mut self, table: Table) {
        // The charge goes as a whole, with the domain.
        KernelTables.release(table);
    }

    fn read(&self, table: Table, index: usize) -> u64 {
        KernelTables.read(table, index)
    }

    fn write(&mut self, table: Table, index: usize, value: u64) {
        KernelTables.write(table, index, value);
    }
}
