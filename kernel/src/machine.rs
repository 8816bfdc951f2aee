//! The machine as found at boot: memory map, firmware tables, PCI functions, I/O APICs, power control.

use crate::memory::{PAGE, kernel_space};
use crate::sync::Lock;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use limine::memmap;
use platform::acpi::PlatformTables;
use platform::io_apic::IoApics;
use platform::pci::Configuration;
use platform::power::PowerControl;
use platform::{PhysicalAddress, PhysicalMemory, PhysicalRange};
use spin::Once;

/// Most ranges of RAM that are remembered.
const MAXIMUM_RANGES: usize = 128;

/// One range of the memory map that the direct map covers.
#[derive(Clone, Copy)]
struct Range {
    start: u64,
    end: u64,
}

static RANGES: Once<[Range; MAXIMUM_RANGES]> = Once::new();
static IMAGE_OFFSET: AtomicU64 = AtomicU64::new(0);

/// Configuration space; one user at a time.
pub static CONFIGURATION: Once<Lock<Configuration<KernelMemory>>> = Once::new();
/// The I/O APICs.
pub static IO_APICS: Lock<IoApics> = Lock::new(IoApics::none());
/// The firmware tables.
pub static TABLES: Once<PlatformTables> = Once::new();
/// How to restart and to switch off.
pub static POWER: Once<PowerControl> = Once::new();
/// What inventories say of the machine.
pub static DESCRIPTION: Once<Description> = Once::new();

/// Facts for people.
pub struct Description {
    /// Name and version of the boot loader.
    pub boot_loader: &'static str,
    /// Where the clock rate comes from.
    pub clock_source: &'static str,
    /// Processor brand.
    pub processor: platform::processor::Text<48>,
}

/// Remembers what is RAM or firmware memory, and where the image lies.
pub fn remember(map: &[&memmap::Entry], physical_base: u64, virtual_base: u64) {
    IMAGE_OFFSET.store(virtual_base.wrapping_sub(physical_base), Ordering::Relaxed);
    RANGES.call_once(|| {
        let mut ranges = [Range { start: 0, end: 0 }; MAXIMUM_RANGES];
        let mapped = map.iter().filter(|entry| kernel_space::is_in_direct_map(entry));
        for (range, entry) in ranges.iter_mut().zip(mapped) {
            *range = Range { start: entry.base, end: entry.base.saturating_add(entry.length) };
        }
        ranges
    });
}

fn ranges() -> &'static [Range] {
    RANGES.get().map_or(&[], |ranges| ranges)
}

/// The physical address of a byte of the kernel's image.
pub fn image_physical(address: u64) -> Option<PhysicalAddress> {
    Some(PhysicalAddress(address.wrapping_sub(IMAGE_OFFSET.load(Ordering::Relaxed))))
}

/// The kernel's view of physical memory, for the platform crate.
#[derive(Clone, Copy, Debug)]
pub struct KernelMemory;

impl PhysicalMemory for KernelMemory {
    fn ram(&self, physical: PhysicalAddress, length: usize) -> Option<NonNull<u8>> {
        let end = physical.0.checked_add(length as u64)?;
        let known = ranges().iter().any(|range| range.start <= physical.0 && end <= range.end);
        // Firmware leaves tables in low memory that no map mentions.
        if known || end <= 0x10_0000 {
            NonNull::new(crate::memory::PhysicalAddress(physical.0).pointer())
        } else {
            None
        }
    }

    fn map_mmio(&self, physical: PhysicalAddress, length: usize) -> Option<NonNull<u8>> {
        let range = PhysicalRange::new(physical, length as u64)?;
        if self.overlaps_ram(range) { None } else { kernel_space::map_device(physical.0, length) }
    }

    fn overlaps_ram(&self, range: PhysicalRange) -> bool {
        ranges().iter().any(|ram| ram.start <= range.last().0 && range.start().0 < ram.end)
    }
}

/// Number of pages that a range of bytes touches.
pub const fn pages_touched(address: u64, length: u64) -> u64 {
    (address % PAGE + length).div_ceil(PAGE)
}
