//! The numbers of the platform as types, and the memory that the kernel lends to this crate.

use core::fmt;
use core::ptr::NonNull;

/// An address on the processor's bus: RAM, firmware memory or device registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct PhysicalAddress(pub u64);

impl PhysicalAddress {
    /// The address `bytes` further on; `None` past the end of the address space.
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(address) => Some(Self(address)),
            None => None,
        }
    }
}

impl fmt::Display for PhysicalAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#x}", self.0)
    }
}

/// A run of physical addresses, not empty, whose end does not wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhysicalRange {
    start: u64,
    last: u64,
}

impl PhysicalRange {
    /// `length` bytes from `start`; `None` when that is nothing or wraps.
    pub const fn new(start: PhysicalAddress, length: u64) -> Option<Self> {
        if length == 0 {
            return None;
        }
        match start.0.checked_add(length - 1) {
            Some(last) => Some(Self { start: start.0, last }),
            None => None,
        }
    }

    /// From address 0 to `last`, which belongs to the range.
    pub const fn from_zero(last: u64) -> Self {
        Self { start: 0, last }
    }

    /// First address.
    pub const fn start(self) -> PhysicalAddress {
        PhysicalAddress(self.start)
    }

    /// Last address, which belongs to the range.
    pub const fn last(self) -> PhysicalAddress {
        PhysicalAddress(self.last)
    }

    /// Whether the two share an address.
    pub const fn overlaps(self, other: Self) -> bool {
        self.start <= other.last && other.start <= self.last
    }

    /// Whether all of `other` is inside.
    pub const fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.last <= self.last
    }
}

impl fmt::Display for PhysicalRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#x}-{:#x}", self.start, self.last)
    }
}

/// A local APIC's identifier: 8 bits in xAPIC mode, 32 bits in x2APIC mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct ApicId(pub u32);

/// A global system interrupt: an input pin, counted over all I/O APICs. [ACPI-6.5 5.2.13]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Gsi(pub u32);

/// An entry of the interrupt descriptor table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Vector(pub u8);

/// What the kernel lends to this crate: its view of physical memory.
pub trait PhysicalMemory {
    /// A readable pointer to `length` bytes of RAM or firmware memory that stays valid for ever; `None` for
    /// what the memory map does not know. Firmware keeps its tables in memory of any type, reserved memory and the
    /// BIOS area below 1 MiB included.
    fn ram(&self, physical: PhysicalAddress, length: usize) -> Option<NonNull<u8>>;

    /// A pointer through which `length` bytes of device registers are accessed uncached, for ever.
    /// `None` when there is no room, or when that would be RAM.
    fn map_mmio(&self, physical: PhysicalAddress, length: usize) -> Option<NonNull<u8>>;

    /// Whether any byte of the range is RAM by the memory map: free, in use by the kernel or its loader, or kept by ACPI. What
    /// the map only calls reserved does not count: that is where device registers are, ECAM regions for one.
    fn overlaps_ram(&self, range: PhysicalRange) -> bool;
}

impl<M: PhysicalMemory + ?Sized> PhysicalMemory for &M {
    fn ram(&self, physical: PhysicalAddress, length: usize) -> Option<NonNull<u8>> {
        (**self).ram(physical, length)
    }

    fn map_mmio(&self, physical: PhysicalAddress, length: usize) -> Option<NonNull<u8>> {
        (**self).map_mmio(physical, length)
    }

    fn overlaps_ram(&self, range: PhysicalRange) -> bool {
        (**self).overlaps_ram(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, length: u64) -> PhysicalRange {
        PhysicalRange::new(PhysicalAddress(start), length).unwrap()
    }

    #[test]
    fn a_range_never_wraps_and_is_never_empty() {
        assert!(PhysicalRange::new(PhysicalAddress(5), 0).is_none());
        assert!(PhysicalRange::new(PhysicalAddress(u64::MAX), 2).is_none());
        assert_eq!(range(u64::MAX, 1).last(), PhysicalAddress(u64::MAX));
    }

    #[test]
    fn ranges_that_touch_do_not_overlap() {
        assert!(!range(0x1000, 0x1000).overlaps(range(0x2000, 1)));
        assert!(range(0x1000, 0x1001).overlaps(range(0x2000, 1)));
        assert!(range(0x1000, 0x1000).contains(range(0x1fff, 1)));
        assert!(!range(0x1000, 0x1000).contains(range(0x1fff, 2)));
    }
}
