//! Memory that a device reaches, as words that are read and written one by one.

use alloc::rc::Rc;
use core::{
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};
use ring::SharedMemory;

/// Why memory cannot be used for DMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionError {
    /// The bus address is 0, not page aligned, or the range does not fit the bus's address space.
    BusAddress(u64),
    /// The memory is empty or larger than 4 GiB, or does not start on a page.
    Memory(usize),
}

/// Memory that is contiguous for the device, and stays mapped while this lives.
///
/// The device can change it at any time, so each access is one load or store of a whole word. What is outside of it
/// reads as zero and is not written: the offsets are the driver's own, so this is a second line of defence.
pub struct DmaRegion {
    start: NonNull<u8>,
    length: u32,
    bus: u64,
    _memory: Rc<dyn SharedMemory>,
}

impl DmaRegion {
    /// Memory whose first byte is at `bus` for the device.
    pub fn new(memory: Rc<dyn SharedMemory>, bus: u64) -> Result<Self, RegionError> {
        let (start, bytes) = (memory.as_ptr(), memory.len());
        let length = u32::try_from(bytes).ok().filter(|length| *length != 0);
        let length = length.ok_or(RegionError::Memory(bytes))?;
        if !start.as_ptr().addr().is_multiple_of(crate::PAGE_BYTES as usize) {
            return Err(RegionError::Memory(bytes));
        }
        let aligned = bus != 0 && bus.is_multiple_of(crate::PAGE_BYTES.into());
        if !aligned || bus.checked_add(length.into()).is_none() {
            return Err(RegionError::BusAddress(bus));
        }
        Ok(Self { start, length, bus, _memory: memory })
    }

    /// A part of it: `length` bytes from `offset` on, whole pages or not. `None` when they are not all there.
    pub fn part(&self, offset: u32, length: u32) -> Option<Self> {
        if length == 0 || offset.checked_add(length)? > self.length || !offset.is_multiple_of(64) {
            return None;
        }
        // SAFETY: `offset` is inside the memory, by the check above.
        let start = unsafe { self.start.byte_add(offset as usize) };
        Some(Self { start, length, bus: self.bus + u64::from(offset), _memory: Rc::clone(&self._memory) })
    }

    /// Length in bytes.
    pub fn size(&self) -> u32 {
        self.length
    }

    /// Address of the first byte for the device.
    pub fn bus(&self) -> u64 {
        self.bus
    }

    /// The word at `offset`, if it is inside and aligned.
    fn word<T>(&self, offset: u32) -> Option<NonNull<T>> {
        let size = size_of::<T>() as u32;
        if offset.checked_add(size)? > self.length || !offset.is_multiple_of(size) {
            return None;
        }
        // SAFETY: inside the memory, by the check above.
        Some(unsafe { self.start.byte_add(offset as usize) }.cast())
    }

    /// Reads four bytes. What the device wrote before them is seen by all later reads.
    #[inline]
    pub fn read_u32(&self, offset: u32) -> u32 {
        let Some(word) = self.word::<AtomicU32>(offset) else { return 0 };
        // SAFETY: inside the memory, mapped while `_memory` lives, aligned (`word` checked, and the start is to 64); an atomic
        // is valid for every bit pattern and for changes by the device.
        // Acquire, partner of the device's ordered writes: it writes what a phase or index covers before that.
        unsafe { word.as_ref() }.load(Ordering::Acquire)
    }

    /// Reads eight bytes.
    #[inline]
    pub fn read_u64(&self, offset: u32) -> u64 {
        let Some(word) = self.word::<AtomicU64>(offset) else { return 0 };
        // SAFETY: as in `read_u32`.
        unsafe { word.as_ref() }.load(Ordering::Acquire)
    }

    /// Writes four bytes, after all earlier writes.
    #[inline]
    pub fn write_u32(&self, offset: u32, value: u32) {
        if let Some(word) = self.word::<AtomicU32>(offset) {
            // SAFETY: as in `read_u32`.
            unsafe { word.as_ref() }.store(value, Ordering::Release);
        }
    }

    /// Writes eight bytes, after all earlier writes.
    #[inline]
    pub fn write_u64(&self, offset: u32, value: u64) {
        if let Some(word) = self.word::<AtomicU64>(offset) {
            // SAFETY: as in `read_u32`.
            unsafe { word.as_ref() }.store(value, Ordering::Release);
        }
    }

    /// Copies bytes out, as they stand at some time. `None`, with nothing done, when they are not all there.
    pub fn read(&self, offset: u32, target: &mut [u8]) -> Option<()> {
        let end = offset.checked_add(u32::try_from(target.len()).ok()?)?;
        if end > self.length {
            return None;
        }
        // SAFETY: the source is inside the memory (checked) and mapped; the target is a reference to other memory, since
        // nobody has references into DMA memory. Bytes have no invalid values.
        unsafe {
            let source = self.start.byte_add(offset as usize);
            source.as_ptr().copy_to_nonoverlapping(target.as_mut_ptr(), target.len());
        }
        Some(())
    }

    /// Copies bytes in. `None`, with nothing done, when they do not fit.
    pub fn write(&self, offset: u32, source: &[u8]) -> Option<()> {
        let end = offset.checked_add(u32::try_from(source.len()).ok()?)?;
        if end > self.length {
            return None;
        }
        // SAFETY: as in `read`, the other way.
        unsafe {
            let target = self.start.byte_add(offset as usize);
            target.as_ptr().copy_from_nonoverlapping(source.as_ptr(), source.len());
        }
        Some(())
    }

    /// Overwrites all of it with zeros.
    pub fn clear(&self) {
        // SAFETY: the memory is mapped read-write while `self` lives, and nobody has a reference into it.
        unsafe { self.start.write_bytes(0, self.length as usize) }
    }
}

// SAFETY: the range is part of mapped memory that `_memory` keeps; it starts on a multiple of 64, since the whole is page
// aligned and parts start on multiples of 64; only raw and atomic accesses are made.
unsafe impl SharedMemory for DmaRegion {
    fn as_ptr(&self) -> NonNull<u8> {
        self.start
    }

    fn len(&self) -> usize {
        self.length as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::HeapMemory;

    fn region(bytes: usize) -> DmaRegion {
        DmaRegion::new(Rc::new(HeapMemory::new(bytes)), 0x1000).expect("good memory")
    }

    #[test]
    fn words_are_checked() {
        let region = region(4096);
        region.write_u64(4088, 0x0102_0304_0506_0708);
        assert_eq!((region.read_u64(4088), region.read_u32(4088)), (0x0102_0304_0506_0708, 0x0506_0708));
        region.write_u64(4092, u64::MAX);
        region.write_u32(4096, 1);
        region.write_u32(u32::MAX, 1);
        assert_eq!((region.read_u64(4092), region.read_u32(4096), region.read_u32(u32::MAX)), (0, 0, 0));
        assert_eq!(region.read_u64(4088), 0x0102_0304_0506_0708, "nothing outside was written");
        assert_eq!((region.write(4090, &[1; 7]), region.read(4096, &mut [0])), (None, None));
        assert_eq!(region.write(4090, &[1; 6]), Some(()));
        region.clear();
        assert_eq!(region.read_u64(4088), 0);
    }

    #[test]
    fn parts_lie_inside() {
        let region = region(8192);
        let part = region.part(4096, 128).expect("inside");
        assert_eq!((part.bus(), part.size()), (0x2000, 128));
        part.write_u32(0, 7);
        assert_eq!(region.read_u32(4096), 7);
        assert!(region.part(8192, 64).is_none() && region.part(0, 8193).is_none());
        assert!(region.part(u32::MAX - 63, 128).is_none() && region.part(32, 64).is_none());
    }

    #[test]
    fn bad_bus_addresses_are_refused() {
        for bus in [0, 0x1001, !0xfff] {
            let refused = DmaRegion::new(Rc::new(HeapMemory::new(4096)), bus).map(|_| ());
            assert_eq!(refused, Err(RegionError::BusAddress(bus)));
        }
    }
}
