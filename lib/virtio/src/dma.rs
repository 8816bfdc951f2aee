//! Memory that the device reaches, and the crate's hooks into it.
//!
//! The crate asks for queue memory, and for bus addresses, from static functions that cannot wait for a call. So a
//! driver opens what it needs beforehand: an *arena* that queue memory is cut from, and [`DmaMemory`] for
//! buffers. Both are noted in one table of the process; an address outside of them has no bus address.

use alloc::{boxed::Box, vec, vec::Vec};
use core::{
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};
use ring::SharedMemory;
use spin::Mutex;
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};

/// The most DMA ranges that a process can have at once.
const MAXIMUM_WINDOWS: usize = 64;

/// What an address that is not DMA memory translates to: the last page of the address space, where no bus
/// has memory. [`crate::Queue`] never lets it come to that.
const NOWHERE: PhysAddr = !0xfff;

static TABLE: Mutex<Table> = Mutex::new(Table { windows: [None; MAXIMUM_WINDOWS], arenas: Vec::new() });

/// Why memory cannot be used for DMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DmaError {
    /// The process has too many DMA ranges already.
    TooMany,
    /// The bus address is 0, not page aligned, or the range does not fit the bus address space.
    BusAddress(u64),
    /// The memory is empty or larger than 4 GiB.
    Size(usize),
    /// The memory does not start on a page.
    Unaligned,
}

/// One range of memory, here and on the bus.
#[derive(Clone, Copy)]
struct Window {
    start: NonNull<u8>,
    length: usize,
    bus: PhysAddr,
}

/// Queue memory, handed out in pages.
struct Arena {
    window: Window,
    taken: Vec<bool>,
}

struct Table {
    windows: [Option<Window>; MAXIMUM_WINDOWS],
    arenas: Vec<Arena>,
}

// SAFETY: the table holds addresses; who uses them answers for the access.
unsafe impl Send for Table {}

impl Window {
    fn new(memory: &(impl SharedMemory + ?Sized), bus: u64) -> Result<Self, DmaError> {
        let length = memory.len();
        if length == 0 || u32::try_from(length).is_err() {
            return Err(DmaError::Size(length));
        }
        if !memory.as_ptr().as_ptr().addr().is_multiple_of(PAGE_SIZE) {
            return Err(DmaError::Unaligned);
        }
        if bus == 0 || !bus.is_multiple_of(PAGE_SIZE as u64) || bus.checked_add(length as u64).is_none() {
            return Err(DmaError::BusAddress(bus));
        }
        Ok(Self { start: memory.as_ptr(), length, bus })
    }

    /// The bus address of `length` bytes from `address` on, if all of them are inside.
    fn translate(&self, address: usize, length: usize) -> Option<PhysAddr> {
        let offset = address.checked_sub(self.start.as_ptr().addr())?;
        (offset.checked_add(length)? <= self.length).then_some(self.bus + offset as PhysAddr)
    }
}

impl Table {
    fn insert(&mut self, window: Window) -> Result<(), DmaError> {
        let place = self.windows.iter_mut().find(|place| place.is_none()).ok_or(DmaError::TooMany)?;
        *place = Some(window);
        Ok(())
    }

    fn remove(&mut self, start: NonNull<u8>) {
        for place in &mut self.windows {
            if place.is_some_and(|window| window.start == start) {
                *place = None;
            }
        }
    }

    fn translate(&self, address: usize, length: usize) -> Option<PhysAddr> {
        self.windows.iter().flatten().find_map(|window| window.translate(address, length))
    }
}

impl Arena {
    /// Takes `pages` neighbouring pages.
    fn allocate(&mut self, pages: usize) -> Option<Window> {
        let first = self.taken.windows(pages).position(|run| run.iter().all(|taken| !taken))?;
        self.taken.get_mut(first..first + pages)?.fill(true);
        let offset = first * PAGE_SIZE;
        // SAFETY: `taken` has one entry for each page of the arena, so the run is inside it.
        let start = unsafe { self.window.start.byte_add(offset) };
        Some(Window { start, length: pages * PAGE_SIZE, bus: self.window.bus + offset as PhysAddr })
    }

    /// Gives pages back. `None`, with nothing done, when they are not all of this arena.
    fn free(&mut self, start: NonNull<u8>, pages: usize) -> Option<()> {
        let offset = start.as_ptr().addr().checked_sub(self.window.start.as_ptr().addr())?;
        let first = offset / PAGE_SIZE;
        self.taken.get_mut(first..first.checked_add(pages)?)?.fill(false);
        Some(())
    }
}

/// Gives memory to the process's queues, for as long as the process lives. `bus` is the address of its first byte for the
/// device; the memory is contiguous there. See [`crate::arena_pages`] for how much a queue takes.
pub fn add_arena(memory: impl SharedMemory + 'static, bus: u64) -> Result<(), DmaError> {
    let window = Window::new(&memory, bus)?;
    let mut table = TABLE.lock();
    table.insert(window)?;
    table.arenas.push(Arena { window, taken: vec![false; window.length / PAGE_SIZE] });
    // Queues keep addresses of it, so it stays mapped for ever.
    core::mem::forget(memory);
    Ok(())
}

/// Memory for buffers that the device reaches. A [`crate::Queue`] holds it while the device may use it.
pub struct DmaMemory {
    window: Window,
    _memory: Box<dyn SharedMemory>,
}

impl DmaMemory {
    /// Notes memory whose first byte is at `bus` for the device, and that is contiguous there.
    pub fn new(memory: impl SharedMemory + 'static, bus: u64) -> Result<Self, DmaError> {
        let window = Window::new(&memory, bus)?;
        TABLE.lock().insert(window)?;
        Ok(Self { window, _memory: Box::new(memory) })
    }

    /// Length in bytes.
    pub fn size(&self) -> u32 {
        // `new` refused more than a u32.
        self.window.length as u32
    }

    /// Overwrites all of it with zeros, as before another process gets it.
    pub fn clear(&self) {
        // SAFETY: the memory is mapped read-write while `self` lives, and nobody here holds a reference into it.
        unsafe { self.window.start.write_bytes(0, self.window.length) }
    }

    /// Reads eight bytes that the device may change. What lies outside, or not at a multiple of eight, is zero.
    pub fn read_u64(&self, offset: u32) -> u64 {
        // Relaxed: the queue's index, which covers what the device wrote, was loaded before with more.
        self.word(offset).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Writes eight bytes that the device may read. Nothing is written outside, or not at a multiple of eight.
    pub fn write_u64(&self, offset: u32, value: u64) {
        if let Some(word) = self.word(offset) {
            // Relaxed: the queue's index, which covers what the device is to read, is stored afterwards with more.
            word.store(value, Ordering::Relaxed);
        }
    }

    fn word(&self, offset: u32) -> Option<&AtomicU64> {
        let start = self.bytes(offset, 8).filter(|_| offset.is_multiple_of(8))?;
        // SAFETY: inside the memory (checked), mapped while `self` lives, aligned since the memory starts on a page; an
        // atomic is valid for every bit pattern and for changes by the device.
        Some(unsafe { start.cast::<AtomicU64>().as_ref() })
    }

    /// Address of `length` bytes from `offset` on, if they are all inside and not none.
    pub(crate) fn bytes(&self, offset: u32, length: u32) -> Option<NonNull<[u8]>> {
        if length == 0 || offset.checked_add(length)? > self.size() {
            return None;
        }
        // SAFETY: `offset` is inside the memory, by the check above.
        let start = unsafe { self.window.start.byte_add(offset as usize) };
        Some(NonNull::slice_from_raw_parts(start, length as usize))
    }
}

impl Drop for DmaMemory {
    fn drop(&mut self) {
        TABLE.lock().remove(self.window.start);
    }
}

/// The crate's hooks for a driver process.
pub(crate) struct ProcessHal;

// SAFETY: `dma_alloc` hands out zeroed, page-aligned pages of arenas that stay mapped for ever, each page once until
// it comes back by `dma_dealloc`. No MMIO is mapped through the hooks.
unsafe impl Hal for ProcessHal {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let run = TABLE.lock().arenas.iter_mut().find_map(|arena| arena.allocate(pages));
        match run {
            Some(run) => {
                // SAFETY: the run is mapped read-write and nobody else has it.
                unsafe { run.start.write_bytes(0, run.length) };
                (run.bus, run.start)
            }
            // The crate takes a bus address of 0 for "no memory".
            None => (0, NonNull::dangling()),
        }
    }

    unsafe fn dma_dealloc(_bus: PhysAddr, start: NonNull<u8>, pages: usize) -> i32 {
        let freed = TABLE.lock().arenas.iter_mut().find_map(|arena| arena.free(start, pages));
        // The crate panics on anything but 0. The run came from an arena, and arenas stay.
        debug_assert!(freed.is_some());
        0
    }

    unsafe fn mmio_phys_to_virt(_address: PhysAddr, _size: usize) -> NonNull<u8> {
        // Only the crate's own PCI transport calls this, and it is not used here.
        NonNull::dangling()
    }

    unsafe fn share(buffer: NonNull<[u8]>, _direction: BufferDirection) -> PhysAddr {
        TABLE.lock().translate(buffer.cast::<u8>().as_ptr().addr(), buffer.len()).unwrap_or(NOWHERE)
    }

    unsafe fn unshare(_address: PhysAddr, _buffer: NonNull<[u8]>, _direction: BufferDirection) {
        // DMA memory is coherent on x86 and stays mapped for the device.
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::HeapMemory;

    fn translate(start: NonNull<u8>, offset: usize, length: usize) -> PhysAddr {
        let start = NonNull::new(start.as_ptr().wrapping_add(offset)).expect("not null");
        // SAFETY: the hook only computes with the address.
        unsafe {
            ProcessHal::share(NonNull::slice_from_raw_parts(start, length), BufferDirection::DriverToDevice)
        }
    }

    #[test]
    fn only_dma_memory_has_bus_addresses() {
        let memory = HeapMemory::new(8192);
        let start = memory.as_ptr();
        let dma = DmaMemory::new(memory, 0x1234_5000).expect("room in the table");
        assert_eq!(translate(start, 0, 1), 0x1234_5000);
        assert_eq!(translate(start, 8000, 192), 0x1234_5000 + 8000);
        assert_eq!(translate(start, 8000, 193), NOWHERE, "one byte too long");
        assert_eq!(translate(start, usize::MAX, 1), NOWHERE, "one byte before");
        drop(dma);
        assert_eq!(translate(start, 0, 1), NOWHERE, "after it was dropped");
    }

    #[test]
    fn bytes_are_checked() {
        let dma = DmaMemory::new(HeapMemory::new(4096), 0x1000).expect("room in the table");
        assert_eq!(dma.bytes(4095, 1).map(|bytes| bytes.len()), Some(1));
        assert!(
            dma.bytes(4095, 2).is_none() && dma.bytes(0, 0).is_none() && dma.bytes(u32::MAX, 2).is_none()
        );
    }

    #[test]
    fn words_are_read_and_written_inside_alone() {
        let dma = DmaMemory::new(HeapMemory::new(4096), 0x2000).expect("room in the table");
        for (offset, value) in [(0, 7), (4088, 7), (4, 0), (4092, 0), (4096, 0), (u32::MAX, 0)] {
            dma.write_u64(offset, 7);
            assert_eq!(dma.read_u64(offset), value, "{offset}");
        }
    }

    #[test]
    fn bad_bus_addresses_are_refused() {
        for bus in [0, 0x1001, !0xfff] {
            let result = DmaMemory::new(HeapMemory::new(4096), bus).map(|_| ());
            assert_eq!(result, Err(DmaError::BusAddress(bus)));
        }
    }

    #[test]
    fn arenas_reuse_pages() {
        let memory = HeapMemory::new(4 * PAGE_SIZE);
        let window = Window::new(&memory, 0x10_0000).expect("valid");
        let mut arena = Arena { window, taken: vec![false; 4] };
        let first = arena.allocate(2).expect("two of four");
        let second = arena.allocate(2).expect("the other two");
        assert_eq!((first.bus, second.bus), (0x10_0000, 0x10_2000));
        assert!(arena.allocate(1).is_none());
        assert_eq!(arena.free(first.start, 2), Some(()));
        assert!(arena.allocate(3).is_none());
        assert_eq!(arena.allocate(1).map(|run| run.bus), Some(0x10_0000));
        assert_eq!(arena.free(NonNull::dangling(), 1), None);
    }
}
