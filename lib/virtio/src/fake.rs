//! A virtio device in memory, for host tests: register files of both layouts, and the device's side of the queues.
//!
//! The fake reads and writes bus addresses just as a device would, misbehaviour included. An address that belongs to no
//! memory of [`FakeDevice::memory`] or [`FakeDevice::arena`] fails the test that gave it to the device.

use crate::{
    DmaMemory, LegacyTransport, ModernTransport, Msix, NO_VECTOR, PciTransport, Registers, dma, features,
};
use alloc::{boxed::Box, rc::Rc, vec, vec::Vec};
use core::{cell::RefCell, ptr::NonNull};
use ring::{HeapMemory, SharedMemory};
use spin::Mutex;
use virtio_drivers::transport::DeviceType;

/// Flags of a descriptor [VIRTIO-1.2 2.7.5].
const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// Bytes from one notification address of the fake to the next.
const NOTIFY_MULTIPLIER: u32 = 4;

/// One queue as the device sees it.
#[derive(Clone, Default)]
pub struct FakeQueue {
    /// Size that the device offers.
    pub offered: u16,
    /// Size that is in use.
    pub size: u16,
    /// Vector that the driver set.
    pub vector: u16,
    /// Whether the driver started it.
    pub enabled: bool,
    /// Where its notification address is, in units of the multiplier.
    pub notify_off: u16,
    /// How often it was notified.
    pub notified: u32,
    descriptors: u64,
    available: u64,
    used: u64,
    next_available: u16,
    next_used: u16,
}

/// What the test may look at and change.
#[derive(Default)]
pub struct FakeState {
    /// Features that the device offers.
    pub offered: u64,
    /// Features that the driver accepted.
    pub accepted: u64,
    /// Status register.
    pub status: u8,
    /// Device-specific configuration.
    pub config: Vec<u8>,
    /// Configuration generation.
    pub generation: u8,
    /// Whether each read of the configuration changes the generation, as of a device that never rests.
    pub restless: bool,
    /// Interrupt status.
    pub isr: u8,
    /// Vector for changes of the configuration.
    pub config_vector: u16,
    /// Number of vectors that the device can map.
    pub vectors: u16,
    /// Whether the device refuses FEATURES_OK.
    pub refuses_features: bool,
    /// How often the status still reads as not reset after a reset.
    pub slow_reset: u32,
    /// The queues.
    pub queues: Vec<FakeQueue>,
    resets_left: u32,
    queue_select: u16,
    device_feature_select: u32,
    driver_feature_select: u32,
}

/// A fake device; clones are the same device.
#[derive(Clone)]
pub struct FakeDevice {
    state: Rc<RefCell<FakeState>>,
}

/// A chain that the driver gave to the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeChain {
    /// The first descriptor, which names the chain.
    pub head: u16,
    /// Address, length and direction of each part: true for parts that the device writes.
    pub parts: Vec<(u64, u32, bool)>,
}

impl FakeDevice {
    /// A device with queues of these sizes, this configuration and these features (besides `VERSION_1`).
    pub fn new(queue_sizes: &[u16], config: &[u8], offered: u64) -> Self {
        let queues = queue_sizes
            .iter()
            .zip(0..)
            .map(|(&offered, notify_off)| FakeQueue {
                offered,
                size: offered,
                notify_off,
                ..FakeQueue::default()
            })
            .collect();
        let state =
            FakeState { offered, config: config.to_vec(), vectors: 2, queues, ..FakeState::default() };
        Self { state: Rc::new(RefCell::new(state)) }
    }

    /// Runs `f` on the device's state.
    pub fn with<R>(&self, f: impl FnOnce(&mut FakeState) -> R) -> R {
        f(&mut self.state.borrow_mut())
    }

    /// A modern transport to it, with all blocks of a real one.
    pub fn modern(&self, device_type: DeviceType) -> PciTransport {
        self.with(|state| state.offered |= features::VERSION_1);
        let block = |block| -> Box<dyn Registers> { Box::new(Block { device: self.clone(), block }) };
        let config = Some(block(BlockKind::Device));
        let (common, notify, isr) =
            (block(BlockKind::Common), block(BlockKind::Notify), block(BlockKind::Isr));
        PciTransport::Modern(ModernTransport::new(
            device_type,
            common,
            notify,
            NOTIFY_MULTIPLIER,
            isr,
            config,
        ))
    }

    /// A legacy transport to it.
    pub fn legacy(&self, device_type: DeviceType, msix: Msix) -> PciTransport {
        let registers = Box::new(Block { device: self.clone(), block: BlockKind::Legacy(msix) });
        PciTransport::Legacy(LegacyTransport::new(device_type, registers, msix))
    }

    /// Buffer memory that the fake can reach.
    pub fn memory(bytes: usize) -> DmaMemory {
        let (memory, bus) = BusMemory::new(bytes);
        DmaMemory::new(memory, bus).expect("room in the table of DMA memory")
    }

    /// The same as words, for drivers that read and write it themselves.
    pub fn region(bytes: u32) -> device::DmaRegion {
        let (memory, bus) = BusMemory::new(bytes as usize);
        device::DmaRegion::new(Rc::new(memory), bus).expect("page aligned")
    }

    /// Adds queue memory for all tests of the process.
    pub fn arena(pages: usize) {
        let (memory, bus) = BusMemory::new(pages * 4096);
        dma::add_arena(memory, bus).expect("room in the table of DMA memory");
    }

    /// Takes the next chain that the driver gave to a queue.
    pub fn take(&self, queue: usize) -> Option<FakeChain> {
        self.with(|state| {
            let queue = &mut state.queues[queue];
            if !queue.enabled || queue.next_available == load_u16(queue.available + 2) {
                return None;
            }
            let slot = u64::from(queue.next_available % queue.size);
            queue.next_available = queue.next_available.wrapping_add(1);
            let head = load_u16(queue.available + 4 + 2 * slot);
            let mut parts = Vec::new();
            let mut index = head;
            loop {
                assert!(index < queue.size, "descriptor {index} of {}", queue.size);
                let descriptor = queue.descriptors + 16 * u64::from(index);
                let flags = load_u16(descriptor + 12);
                parts.push((load_u64(descriptor), load_u32(descriptor + 8), flags & WRITE != 0));
                if flags & NEXT == 0 {
                    return Some(FakeChain { head, parts });
                }
                assert!(parts.len() <= usize::from(queue.size), "a chain that never ends");
                index = load_u16(descriptor + 14);
            }
        })
    }

    /// Marks a chain as used. The id may be any number, as from a hostile device.
    pub fn complete(&self, queue: usize, id: u32, written: u32) {
        self.with(|state| {
            let queue = &mut state.queues[queue];
            let slot = u64::from(queue.next_used % queue.size);
            store_u32(queue.used + 4 + 8 * slot, id);
            store_u32(queue.used + 8 + 8 * slot, written);
            queue.next_used = queue.next_used.wrapping_add(1);
            store_u16(queue.used + 2, queue.next_used);
        });
    }

    /// Moves the used index of a queue on by any number, without writing entries.
    pub fn jump_used(&self, queue: usize, by: u16) {
        self.with(|state| {
            let queue = &mut state.queues[queue];
            queue.next_used = queue.next_used.wrapping_add(by);
            store_u16(queue.used + 2, queue.next_used);
        });
    }

    /// Asks the driver to notify a queue no more, or again.
    pub fn suppress_notifications(&self, queue: usize, flag: u16) {
        self.with(|state| store_u16(state.queues[queue].used, flag));
    }

    /// Whether the driver wants interrupts for a queue.
    pub fn wants_interrupts(&self, queue: usize) -> bool {
        self.with(|state| load_u16(state.queues[queue].available) & 1 == 0)
    }
}

impl FakeChain {
    /// All bytes of the parts that the device may read.
    pub fn read(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for &(address, length, _) in self.parts.iter().filter(|part| !part.2) {
            bytes.extend((0..u64::from(length)).map(|offset| load_u8(address + offset)));
        }
        bytes
    }

    /// Writes `bytes` over the parts that the device may write; returns how many fit.
    pub fn write(&self, bytes: &[u8]) -> u32 {
        let places = self.parts.iter().filter(|part| part.2);
        let places = places
            .flat_map(|&(address, length, _)| (0..u64::from(length)).map(move |offset| address + offset));
        let mut written = 0;
        for (place, &byte) in places.zip(bytes) {
            store_u8(place, byte);
            written += 1;
        }
        written
    }
}

/// One register block of the fake.
struct Block {
    device: FakeDevice,
    block: BlockKind,
}

#[derive(Clone, Copy)]
enum BlockKind {
    Common,
    Notify,
    Isr,
    Device,
    Legacy(Msix),
}

impl FakeState {
    fn reset(&mut self) {
        self.status = 0;
        self.accepted = 0;
        self.isr = 0;
        self.config_vector = NO_VECTOR;
        self.resets_left = self.slow_reset;
        for queue in &mut self.queues {
            let FakeQueue { offered, notify_off, .. } = *queue;
            *queue =
                FakeQueue { offered, size: offered, notify_off, vector: NO_VECTOR, ..FakeQueue::default() };
        }
    }

    fn queue(&mut self) -> Option<&mut FakeQueue> {
        self.queues.get_mut(usize::from(self.queue_select))
    }

    fn write_status(&mut self, value: u8) {
        if value == 0 {
            self.reset();
            return;
        }
        self.status = value;
        if self.refuses_features {
            self.status &= !8;
        }
    }

    fn read_status(&mut self) -> u8 {
        if self.resets_left > 0 {
            self.resets_left -= 1;
            return 0x40;
        }
        self.status
    }

    fn take_isr(&mut self) -> u8 {
        core::mem::take(&mut self.isr)
    }

    /// The vector as the device keeps it: none where it cannot map it.
    fn mapped(&self, vector: u16) -> u16 {
        if vector < self.vectors { vector } else { NO_VECTOR }
    }

    fn read_config(&mut self, offset: u32) -> u8 {
        if self.restless {
            self.generation = self.generation.wrapping_add(1);
            if let Some(byte) = self.config.first_mut() {
                *byte = byte.wrapping_add(1);
            }
        }
        self.config.get(offset as usize).copied().unwrap_or(0xff)
    }

    fn read_common(&mut self, offset: u32) -> u32 {
        match offset {
            4 => (self.offered >> (32 * self.device_feature_select.min(1))) as u32,
            16 => u32::from(self.config_vector),
            18 => self.queues.len() as u32,
            20 => u32::from(self.read_status()),
            21 => u32::from(self.generation),
            24 => self.queue().map_or(0, |queue| u32::from(queue.size)),
            26 => self.queue().map_or(0, |queue| u32::from(queue.vector)),
            28 => self.queue().map_or(0, |queue| u32::from(queue.enabled)),
            30 => self.queue().map_or(0, |queue| u32::from(queue.notify_off)),
            _ => u32::MAX,
        }
    }

    fn write_common(&mut self, offset: u32, value: u32) {
        let mapped = self.mapped(value as u16);
        match offset {
            0 => self.device_feature_select = value,
            8 => self.driver_feature_select = value,
            12 => {
                let shift = 32 * self.driver_feature_select.min(1);
                self.accepted = self.accepted & !(0xffff_ffff << shift) | u64::from(value) << shift;
            }
            16 => self.config_vector = mapped,
            20 => self.write_status(value as u8),
            22 => self.queue_select = value as u16,
            _ => {
                let Some(queue) = self.queue() else { return };
                let low = |old: u64| old & !0xffff_ffff | u64::from(value);
                let high = |old: u64| old & 0xffff_ffff | u64::from(value) << 32;
                match offset {
                    24 => queue.size = value as u16,
                    26 => queue.vector = mapped,
                    28 => queue.enabled = value == 1,
                    32 => queue.descriptors = low(queue.descriptors),
                    36 => queue.descriptors = high(queue.descriptors),
                    40 => queue.available = low(queue.available),
                    44 => queue.available = high(queue.available),
                    48 => queue.used = low(queue.used),
                    52 => queue.used = high(queue.used),
                    _ => {}
                }
            }
        }
    }

    fn read_legacy(&mut self, offset: u32, msix: Msix) -> u32 {
        match offset {
            0 => self.offered as u32,
            8 => self.queue().map_or(0, |queue| (queue.descriptors >> 12) as u32),
            12 => self.queue().map_or(0, |queue| u32::from(queue.offered)),
            18 => u32::from(self.read_status()),
            19 => u32::from(self.take_isr()),
            20 if msix == Msix::On => u32::from(self.config_vector),
            22 if msix == Msix::On => self.queue().map_or(0, |queue| u32::from(queue.vector)),
            _ => u32::MAX,
        }
    }

    fn write_legacy(&mut self, offset: u32, value: u32, msix: Msix) {
        let mapped = self.mapped(value as u16);
        match offset {
            4 => self.accepted = u64::from(value),
            8 => {
                let Some(queue) = self.queue() else { return };
                // [VIRTIO-1.2 2.7.2]: the used ring starts on the next multiple of 4096.
                let size = u64::from(queue.offered);
                queue.descriptors = u64::from(value) << 12;
                queue.available = queue.descriptors + 16 * size;
                queue.used = (queue.available + 6 + 2 * size).next_multiple_of(4096);
                queue.enabled = value != 0;
            }
            14 => self.queue_select = value as u16,
            16 => {
                if let Some(queue) = self.queues.get_mut(value as usize) {
                    queue.notified += 1;
                }
            }
            18 => self.write_status(value as u8),
            20 if msix == Msix::On => self.config_vector = mapped,
            22 if msix == Msix::On => {
                if let Some(queue) = self.queue() {
                    queue.vector = mapped;
                }
            }
            _ => {}
        }
    }
}

impl Block {
    fn config_base(&self) -> u32 {
        match self.block {
            BlockKind::Legacy(Msix::On) => 24,
            BlockKind::Legacy(Msix::Off) => 20,
            _ => 0,
        }
    }

    fn read(&self, offset: u32, bytes: u32) -> u32 {
        self.device.with(|state| match self.block {
            BlockKind::Common => state.read_common(offset),
            BlockKind::Notify => u32::MAX,
            BlockKind::Isr => u32::from(state.take_isr()),
            BlockKind::Legacy(msix) if offset < self.config_base() => state.read_legacy(offset, msix),
            BlockKind::Device | BlockKind::Legacy(_) => {
                let base = offset - self.config_base();
                (0..bytes)
                    .rev()
                    .fold(0, |value, index| value << 8 | u32::from(state.read_config(base + index)))
            }
        })
    }

    fn write(&self, offset: u32, value: u32) {
        self.device.with(|state| match self.block {
            BlockKind::Common => state.write_common(offset, value),
            BlockKind::Notify => {
                let notify_off = (offset / NOTIFY_MULTIPLIER) as u16;
                for queue in state.queues.iter_mut().filter(|queue| queue.notify_off == notify_off) {
                    queue.notified += 1;
                }
            }
            BlockKind::Legacy(msix) => state.write_legacy(offset, value, msix),
            BlockKind::Isr | BlockKind::Device => {}
        });
    }
}

impl Registers for Block {
    fn size(&self) -> u32 {
        match self.block {
            BlockKind::Common => 56,
            BlockKind::Notify => 64,
            BlockKind::Isr => 1,
            BlockKind::Device | BlockKind::Legacy(_) => {
                self.config_base() + self.device.with(|state| state.config.len() as u32)
            }
        }
    }

    fn read_u8(&self, offset: u32) -> u8 {
        self.read(offset, 1) as u8
    }

    fn read_u16(&self, offset: u32) -> u16 {
        self.read(offset, 2) as u16
    }

    fn read_u32(&self, offset: u32) -> u32 {
        self.read(offset, 4)
    }

    fn write_u8(&self, offset: u32, value: u8) {
        self.write(offset, u32::from(value));
    }

    fn write_u16(&self, offset: u32, value: u16) {
        self.write(offset, u32::from(value));
    }

    fn write_u32(&self, offset: u32, value: u32) {
        self.write(offset, value);
    }
}

/// The fake bus: which of its addresses belong to which memory.
static BUS: Mutex<Bus> = Mutex::new(Bus { next: 1 << 32, ranges: Vec::new() });

struct Bus {
    /// The next free address; none is given out twice.
    next: u64,
    /// Bus address, first byte here, length.
    ranges: Vec<(u64, NonNull<u8>, usize)>,
}

// SAFETY: it holds addresses of memory that may be reached from any thread.
unsafe impl Send for Bus {}

/// Memory on the fake bus, for as long as it lives.
struct BusMemory(HeapMemory);

impl BusMemory {
    fn new(bytes: usize) -> (Self, u64) {
        let memory = HeapMemory::new(bytes);
        let mut bus = BUS.lock();
        let address = bus.next;
        // A page between two memories belongs to none.
        bus.next += memory.len() as u64 + 4096;
        bus.ranges.push((address, memory.as_ptr(), memory.len()));
        (Self(memory), address)
    }
}

impl Drop for BusMemory {
    fn drop(&mut self) {
        BUS.lock().ranges.retain(|range| range.1 != self.0.as_ptr());
    }
}

// SAFETY: as `HeapMemory`.
unsafe impl SharedMemory for BusMemory {
    fn as_ptr(&self) -> NonNull<u8> {
        self.0.as_ptr()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// Runs `f` on the memory behind a bus address, which stays while it runs.
fn on_bus<T, R>(address: u64, f: impl FnOnce(NonNull<T>) -> R) -> R {
    let bus = BUS.lock();
    let range = bus.ranges.iter().find_map(|&(start, pointer, length)| {
        let offset = usize::try_from(address.checked_sub(start)?).ok()?;
        // SAFETY: the offset is inside the memory, by the check before.
        (offset.checked_add(size_of::<T>())? <= length).then(|| unsafe { pointer.byte_add(offset) })
    });
    let place = range.unwrap_or_else(|| panic!("the driver gave the device the address {address:#x}")).cast();
    assert!(place.is_aligned(), "the driver gave the device the unaligned address {address:#x}");
    f(place)
}

/// Accessors of the fake bus.
macro_rules! bus_access {
    ($load:ident, $store:ident, $type:ty) => {
        #[allow(dead_code, reason = "not every width is used both ways")]
        fn $load(address: u64) -> $type {
            // SAFETY: inside memory that lives while the bus is locked, and aligned.
            on_bus(address, |place: NonNull<$type>| unsafe { place.read_volatile() })
        }

        #[allow(dead_code, reason = "not every width is used both ways")]
        fn $store(address: u64, value: $type) {
            // SAFETY: as above.
            on_bus(address, |place: NonNull<$type>| unsafe { place.write_volatile(value) })
        }
    };
}

bus_access!(load_u8, store_u8, u8);
bus_access!(load_u16, store_u16, u16);
bus_access!(load_u32, store_u32, u32);
bus_access!(load_u64, store_u64, u64);

/// A list of no parts, for chains that only read or only write.
pub const NO_PARTS: [crate::Part; 0] = [];

/// A frame of `length` bytes that count up from `first`.
pub fn pattern(first: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = first.wrapping_add(index as u8);
    }
    bytes
}
