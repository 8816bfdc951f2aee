//! Physical frames, the kernel heap and page tables.

pub mod frames;
pub mod heap;
pub mod kernel_space;
pub mod page_table;

use core::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a page and of a frame.
pub const PAGE: u64 = abi::PAGE_SIZE as u64;

/// An address in physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct PhysicalAddress(pub u64);

static DIRECT_MAP: AtomicU64 = AtomicU64::new(0);

/// Tells where the boot loader mapped all of physical memory. Called once, before anything else here.
pub fn set_direct_map(offset: u64) {
    DIRECT_MAP.store(offset, Ordering::Relaxed);
}

/// Where the direct map starts.
pub fn direct_map() -> u64 {
    DIRECT_MAP.load(Ordering::Relaxed)
}

impl PhysicalAddress {
    /// The address in the direct map. Valid for RAM and firmware tables, not for device registers.
    #[inline]
    pub fn pointer<T>(self) -> *mut T {
        (self.0 + direct_map()) as *mut T
    }

    /// The frame that holds this address.
    pub const fn frame(self) -> u64 {
        self.0 / PAGE
    }
}

/// Zeroes one page of RAM.
///
/// # Safety
///
/// The page must be owned by the caller.
pub unsafe fn zero_page(page: PhysicalAddress) {
    // SAFETY: the caller owns the page, and the direct map covers it. Eight bytes a step: a byte-wise fill
    // costs eight times as many steps of the string instruction.
    unsafe {
        core::arch::asm!("rep stosq", inout("rcx") 512_u64 => _, inout("rdi") page.pointer::<u8>() => _,
            in("rax") 0_u64, options(nostack, preserves_flags));
    }
}
