//! The kernel's half of every address space.
//!
//! | from | what |
//! |---|---|
//! | direct map offset | all RAM, 2 MiB pages, never executable |
//! | the image's link address | code, constants and data, each with its own protection |
//! | [`STACKS`] | kernel stacks, each with an unmapped guard page below |
//! | [`DEVICES`] | device registers, uncached, handed out upwards |
//!
//! All but the direct map lie close together, so that a walk through the tables touches few of them.

use super::page_table::{Access, MapError, Root};
use super::{PAGE, PhysicalAddress, frames};
use crate::sync::Lock;
use core::ptr::NonNull;
use limine::memmap;

/// Start of the kernel's stacks: in the same page table as the image, which the linker script keeps below.
pub const STACKS: u64 = 0xffff_ffff_8010_0000;
const STACKS_SIZE: u64 = 256 << 20;
/// Start of the kernel's device mappings: room for the configuration space of a thousand buses, and little else is large.
pub const DEVICES: u64 = STACKS + STACKS_SIZE;
const DEVICES_SIZE: u64 = 0xffff_ffff_ffff_f000 - DEVICES;
const LARGE_PAGE: u64 = 2 << 20;

struct KernelSpace {
    root: Root,
    next_device: u64,
    next_stack: u64,
}

static SPACE: Lock<Option<KernelSpace>> = Lock::new(None);

unsafe extern "C" {
    static __text_start: u8;
    static __text_end: u8;
    static __rodata_start: u8;
    static __rodata_end: u8;
    static __data_start: u8;
    static __data_end: u8;
}

/// Builds the kernel's page tables and switches to them.
///
/// # Safety
///
/// Called once, on the boot processor, with the boot loader's tables active; `physical_base` and `virtual_base` are
/// where the boot loader put the image.
pub unsafe fn init(map: &[&memmap::Entry], physical_base: u64, virtual_base: u64) -> Result<(), MapError> {
    let root = Root(frames::allocate_zeroed().ok_or(MapError::NoFrame)?);
    // SAFETY: the new tables are ours alone until the switch below.
    unsafe {
        map_ram(root, map)?;
        let image = [
            (&raw const __text_start, &raw const __text_end, Access::KERNEL_CODE),
            (&raw const __rodata_start, &raw const __rodata_end, Access::KERNEL_READ),
            (&raw const __data_start, &raw const __data_end, Access::KERNEL_DATA),
        ];
        for (start, end, access) in image {
            for address in (start as u64..end as u64).step_by(PAGE as usize) {
                let physical = PhysicalAddress(address - virtual_base + physical_base);
                root.map(address, physical, access, frames::allocate_zeroed)?;
            }
        }
        root.prepare(DEVICES, DEVICES_SIZE)?;
        root.prepare(STACKS, STACKS_SIZE)?;
        crate::arch::cpu::load_page_table(root);
    }
    *SPACE.lock() = Some(KernelSpace { root, next_device: DEVICES, next_stack: STACKS });
    Ok(())
}

/// Whether an entry of the memory map is RAM, or memory that firmware left tables in.
pub fn is_in_direct_map(entry: &memmap::Entry) -> bool {
    match entry.type_ {
        memmap::MEMMAP_USABLE
        | memmap::MEMMAP_ACPI_RECLAIMABLE
        | memmap::MEMMAP_ACPI_NVS
        | memmap::MEMMAP_BOOTLOADER_RECLAIMABLE
        | memmap::MEMMAP_EXECUTABLE_AND_MODULES => true,
        // Firmware that marks its tables reserved puts them near the end of low RAM, in small ranges.
        memmap::MEMMAP_RESERVED => entry.length <= 4 << 20 && entry.base < 0xc000_0000,
        _ => false,
    }
}

/// Maps everything that is RAM or that firmware left tables in.
///
/// # Safety
///
/// The root's tables must be the caller's.
unsafe fn map_ram(root: Root, map: &[&memmap::Entry]) -> Result<(), MapError> {
    let mut mapped_to = 0;
    for entry in map {
        let keep = is_in_direct_map(entry) || entry.base < LARGE_PAGE;
        if !keep {
            continue;
        }
        let start = (entry.base / LARGE_PAGE * LARGE_PAGE).max(mapped_to);
        let end = entry.base.saturating_add(entry.length).next_multiple_of(LARGE_PAGE);
        for physical in (start..end).step_by(LARGE_PAGE as usize) {
            let address = physical + super::direct_map();
            // SAFETY: as the caller says; RAM is mapped once, not executable.
            unsafe {
                root.map_large(
                    address,
                    PhysicalAddress(physical),
                    Access::KERNEL_DATA,
                    frames::allocate_zeroed,
                )?;
            }
        }
        mapped_to = mapped_to.max(end);
    }
    Ok(())
}

/// The kernel's root, whose upper half all others share.
pub fn root() -> Option<Root> {
    SPACE.lock().as_ref().map(|space| space.root)
}

/// Maps device registers, uncached; `None` when the kernel's device range or memory is used up.
pub fn map_device(physical: u64, length: usize) -> Option<NonNull<u8>> {
    let mut space = SPACE.lock();
    let space = space.as_mut()?;
    let offset = physical % PAGE;
    let pages = (offset + length as u64).div_ceil(PAGE);
    let start = space.next_device;
    let end = start.checked_add(pages.checked_mul(PAGE)?)?;
    if end > DEVICES + DEVICES_SIZE {
        return None;
    }
    for page in 0..pages {
        let frame = PhysicalAddress(physical - offset + page * PAGE);
        // SAFETY: the range is fresh, and the lock is held. Which registers they are is the caller's matter.
        unsafe {
            space
                .root
                .map(start + page * PAGE, frame, Access::KERNEL_DEVICE, frames::allocate_zeroed)
                .ok()?;
        }
    }
    space.next_device = end;
    NonNull::new((start + offset) as *mut u8)
}

/// Makes a kernel stack of `pages` pages with an unmapped page below it, and returns its top.
pub fn new_stack(pages: u64) -> Option<u64> {
    let mut space = SPACE.lock();
    let space = space.as_mut()?;
    let bottom = space.next_stack + PAGE;
    let top = bottom + pages * PAGE;
    if top > STACKS + STACKS_SIZE {
        return None;
    }
    for page in 0..pages {
        let frame = frames::allocate_zeroed()?;
        // SAFETY: the range is fresh, the frame new, and the lock is held.
        unsafe {
            space.root.map(bottom + page * PAGE, frame, Access::KERNEL_DATA, frames::allocate_zeroed).ok()?;
        }
    }
    space.next_stack = top;
    Some(top)
}

/// Whether an address lies in the mapped part of a kernel stack.
pub fn is_stack(address: u64) -> bool {
    (STACKS..STACKS + STACKS_SIZE).contains(&address) && {
        // A guard page between two stacks is not mapped.
        root().is_some_and(|root| root.is_mapped(address) && root.is_mapped(address + 15))
    }
}
