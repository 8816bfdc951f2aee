//! A bus for host tests: memory that drivers use as [`DmaRegion`]s, and that fake devices reach by bus address.

use crate::DmaRegion;
use core::cell::RefCell;
use ring::{HeapMemory, SharedMemory};
use std::rc::Rc;
use std::vec::Vec;

/// Where the first memory of a bus lies, and the gap between two.
const FIRST: u64 = 0x10_0000;

/// All memory of one fake bus; clones are the same bus.
#[derive(Clone, Default)]
pub struct Bus {
    memories: Rc<RefCell<Vec<Placed>>>,
}

/// Memory with its bus address.
struct Placed {
    bus: u64,
    memory: Rc<HeapMemory>,
}

impl Placed {
    fn region(&self) -> DmaRegion {
        let memory = Rc::clone(&self.memory) as Rc<dyn SharedMemory>;
        DmaRegion::new(memory, self.bus).expect("page aligned, and not at 0")
    }
}

impl Bus {
    /// New zeroed memory of so many bytes.
    ///
    /// # Panics
    ///
    /// When the host has no such memory.
    pub fn memory(&self, bytes: u32) -> DmaRegion {
        let memory = Rc::new(HeapMemory::new(bytes as usize));
        let mut memories = self.memories.borrow_mut();
        // A page that belongs to nobody lies between two memories.
        let bus = memories.last().map_or(FIRST, |last| last.bus + last.memory.len() as u64 + 4096);
        let placed = Placed { bus, memory };
        let region = placed.region();
        memories.push(placed);
        region
    }

    /// What a device reads at a bus address; `None` when that is not all memory.
    pub fn read(&self, address: u64, bytes: usize) -> Option<Vec<u8>> {
        let mut target = std::vec![0; bytes];
        self.at(address, |region, offset| region.read(offset, &mut target))?;
        Some(target)
    }

    /// What a device writes at a bus address; `None`, with nothing done, when that is not all memory.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Option<()> {
        self.at(address, |region, offset| region.write(offset, bytes))
    }

    fn at<R>(&self, address: u64, f: impl FnOnce(&DmaRegion, u32) -> Option<R>) -> Option<R> {
        let memories = self.memories.borrow();
        let placed = memories
            .iter()
            .find(|placed| address >= placed.bus && address - placed.bus < placed.memory.len() as u64)?;
        // Below the memory's length, which a region keeps in 32 bits.
        f(&placed.region(), (address - placed.bus) as u32)
    }
}
