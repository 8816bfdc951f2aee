//! What touches the processor and physical memory.

use core::{arch::global_asm, slice};

use loader::{HHDM, PAGE_SIZE, PhysicalMemory, REACHABLE_END, memory_map::Range, plan::STACK_SIZE};
use x86_64::{
    instructions::{hlt, interrupts, port::Port},
    registers::model_specific::Msr,
};

global_asm!(include_str!("entry.s"), stack_size = const STACK_SIZE, hhdm_high = const HHDM >> 32);

unsafe extern "C" {
    static loader_start: u8;
    static loader_end: u8;
    static stack_top: u8;
    static hand_off_start: u8;
    fn switch_and_jump(page_tables: u64, entry: u64, stack: u64) -> !;
}

/// Page attributes that the protocol lays down: WB, WT, UC-, UC, WP, WC [LIMINE, caching]; [SDM 11.12.4].
const PAGE_ATTRIBUTES: u64 = 0x0000_0105_0007_0406;
const IA32_PAT: u32 = 0x277;

/// The memory that the loader can reach: all below 4 GiB, through the direct map of its own first page tables. There
/// address 0, where GRUB may put a module, is an address like any other.
pub struct Direct(());

impl Direct {
    /// The one view of memory; made before anything is written.
    pub const fn new() -> Self {
        Self(())
    }
}

impl PhysicalMemory for Direct {
    fn bytes(&self, address: u64, length: usize) -> Option<&[u8]> {
        let end = address.checked_add(u64::try_from(length).ok()?)?;
        if end > REACHABLE_END {
            return None;
        }
        // SAFETY: the range is in the direct map, and any bytes are valid. Nothing writes to what is read: the loader writes
        // only to what the plan found to be free of modules, and of boot information that is still used.
        Some(unsafe { slice::from_raw_parts((HHDM + address) as *const u8, length) })
    }
}

/// A range of physical memory as items; `None` if it is out of reach or not aligned for them.
///
/// # Safety
/// Nothing else may refer to the range, and any bytes must be a valid `T`.
pub unsafe fn claim<T>(range: Range) -> Option<&'static mut [T]> {
    let count = usize::try_from(range.length()).ok()?.checked_div(size_of::<T>())?;
    if range.end > REACHABLE_END {
        return None;
    }
    let start = (HHDM + range.start) as *mut T;
    // SAFETY: in the direct map and aligned; the caller answers for the rest.
    start.is_aligned().then(|| unsafe { slice::from_raw_parts_mut(start, count) })
}

/// The bytes of words.
pub fn as_bytes(words: &mut [u64]) -> &mut [u8] {
    // SAFETY: the same memory, borrowed for as long; bytes have no alignment and every value is valid for both.
    unsafe { slice::from_raw_parts_mut(words.as_mut_ptr().cast(), size_of_val(words)) }
}

/// Where the loader itself lies, with its stack and tables.
pub fn loader_range() -> Range {
    Range { start: (&raw const loader_start).addr() as u64, end: (&raw const loader_end).addr() as u64 }
}

/// The page whose code switches to the kernel's page tables.
pub fn hand_off_page() -> u64 {
    (&raw const hand_off_start).addr() as u64 & !(PAGE_SIZE - 1)
}

/// Brings the processor into the state that the protocol lays down, and enters the kernel.
pub fn hand_off(page_tables: u64, entry: u64) -> ! {
    // The legacy interrupt controllers stay silent [LIMINE, machine state at entry].
    for port in [0x21, 0xa1] {
        // SAFETY: masking interrupts that are off has no effect on memory.
        unsafe { Port::new(port).write(0xffu8) };
    }
    // SAFETY: every 64-bit processor has the register, and no mapping uses any entry but the first, which stays
    // write-back.
    unsafe { Msr::new(IA32_PAT).write(PAGE_ATTRIBUTES) };
    let stack = HHDM + (&raw const stack_top).addr() as u64;
    // SAFETY: the page tables map the hand-off page, the direct map with the stack and the descriptor table, and the
    // kernel, whose entry was checked to be executable.
    unsafe { switch_and_jump(page_tables, entry, stack) }
}

/// Stops the processor for ever.
pub fn halt() -> ! {
    interrupts::disable();
    loop {
        hlt();
    }
}
