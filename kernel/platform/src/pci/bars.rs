//! Base address registers: how large the register range behind each is, and whether it can be handed out. [PCI-3.0 6.2.5]

use super::{ConfigurationSpace, Function, FunctionKind, PciAddress, command, register};
use crate::acpi::PlatformTables;
use crate::address::{PhysicalAddress, PhysicalMemory, PhysicalRange};

/// Base address registers of an endpoint. A bridge has two.
pub const MAXIMUM_BARS: usize = 6;

const IO: u32 = 1 << 0;
const TYPE: u32 = 0b11 << 1;
const TYPE_64_BIT: u32 = 0b10 << 1;
const TYPE_RESERVED: u32 = 0b11 << 1;
const PREFETCHABLE: u32 = 1 << 3;
const MEMORY_ADDRESS: u32 = !0xf;
const IO_ADDRESS: u32 = !0x3;
/// End of the ports that x86 has.
const IO_SPACE: u64 = 0x1_0000;

/// What a BAR gives access to. [schema/device.capnp, BarKind]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarKind {
    /// Nothing: not implemented, or the upper half of the 64-bit BAR before it.
    None,
    /// Memory, by a 32-bit address.
    Memory32,
    /// Memory, by a 64-bit address that takes this BAR and the next.
    Memory64,
    /// I/O ports.
    Io,
}

/// Whether reads have side effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefetch {
    /// Reads have none.
    Allowed,
    /// Reads may have some.
    Forbidden,
}

/// Whether a BAR's range can be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarState {
    /// There is no range.
    Absent,
    /// The range is sound.
    Usable,
    /// Firmware gave it no address.
    Unassigned,
    /// The range could do harm.
    Refused(BarFault),
}

/// What is wrong with a BAR's range; the device's or firmware's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarFault {
    /// The bits that can be set are not those of a power of two.
    ImpossibleSize,
    /// The type bits have a reserved value, or a 64-bit BAR has no upper half.
    ImpossibleType,
    /// The range wraps, is not aligned to its size, or leaves the processor's address space.
    ImpossibleAddress,
    /// It overlaps RAM or firmware memory.
    OverlapsMemory,
    /// It overlaps registers or ports of the kernel.
    OverlapsKernel,
    /// It overlaps a BAR of this function.
    OverlapsFunction(PciAddress),
    /// The bridge above does not forward it.
    OutsideWindow,
}

/// One base address register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// What it gives access to.
    pub kind: BarKind,
    /// Whether its range can be handed out. Nothing else may be relied on unless it is [`BarState::Usable`].
    pub state: BarState,
    /// Whether reads have side effects.
    pub prefetch: Prefetch,
    /// First address or port.
    pub address: u64,
    /// Bytes or ports, a power of two.
    pub size: u64,
}

impl Bar {
    /// The BAR that is not there.
    pub const NONE: Self = Self {
        kind: BarKind::None,
        state: BarState::Absent,
        prefetch: Prefetch::Forbidden,
        address: 0,
        size: 0,
    };

    /// The addresses of a usable memory BAR.
    pub fn memory(&self) -> Option<PhysicalRange> {
        match (self.state, self.kind) {
            (BarState::Usable, BarKind::Memory32 | BarKind::Memory64) => {
                PhysicalRange::new(PhysicalAddress(self.address), self.size)
            }
            _ => None,
        }
    }

    /// First port and number of ports of a usable I/O BAR.
    pub fn ports(&self) -> Option<(u16, u32)> {
        match (self.state, self.kind) {
            (BarState::Usable, BarKind::Io) => {
                Some((u16::try_from(self.address).ok()?, u32::try_from(self.size).ok()?))
            }
            _ => None,
        }
    }
}

/// What a bridge forwards to the bus behind it. [PCI-BRIDGE-1.2 3.2.5]
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    pub(super) memory: Option<PhysicalRange>,
    pub(super) prefetchable: Option<PhysicalRange>,
    pub(super) io: Option<PhysicalRange>,
}

const IO_BASE_LIMIT: u16 = 0x1c;
const MEMORY_BASE_LIMIT: u16 = 0x20;
const PREFETCHABLE_BASE_LIMIT: u16 = 0x24;
const PREFETCHABLE_BASE_UPPER: u16 = 0x28;
const PREFETCHABLE_LIMIT_UPPER: u16 = 0x2c;
const IO_UPPER: u16 = 0x30;

impl Windows {
    /// Reads a bridge's windows.
    pub(super) fn read(configuration: &mut impl ConfigurationSpace, bridge: PciAddress) -> Self {
        let mut read = |offset| u64::from(configuration.read_u32(bridge, offset));
        let io = read(IO_BASE_LIMIT);
        let io_upper = if io & 0xf == 1 { read(IO_UPPER) } else { 0 };
        let memory = read(MEMORY_BASE_LIMIT);
        let prefetchable = read(PREFETCHABLE_BASE_LIMIT);
        let (base_upper, limit_upper) = if prefetchable & 0xf == 1 {
            (read(PREFETCHABLE_BASE_UPPER), read(PREFETCHABLE_LIMIT_UPPER))
        } else {
            (0, 0)
        };
        let memory_base = |register: u64| (register & 0xfff0) << 16;
        let memory_last = |register: u64| (register >> 16 & 0xfff0) << 16 | 0xf_ffff;
        let window = |base: u64, last: u64| {
            PhysicalRange::new(PhysicalAddress(base), last.checked_sub(base)?.checked_add(1)?)
        };
        Self {
            memory: window(memory_base(memory), memory_last(memory)),
            prefetchable: window(
                base_upper << 32 | memory_base(prefetchable),
                limit_upper << 32 | memory_last(prefetchable),
            ),
            io: window(
                (io_upper & 0xffff) << 16 | (io & 0xf0) << 8,
                (io_upper >> 16) << 16 | (io >> 8 & 0xf0) << 8 | 0xfff,
            ),
        }
    }

    fn forward(&self, bar: &Bar, range: PhysicalRange) -> bool {
        let windows = match bar.kind {
            BarKind::Io => [self.io, None],
            _ => [self.memory, self.prefetchable],
        };
        windows.into_iter().flatten().any(|window| window.contains(range))
    }
}

/// What BARs are checked against.
pub(super) struct Surroundings<'a, M> {
    pub(super) tables: &'a PlatformTables,
    pub(super) memory: &'a M,
    pub(super) known: &'a [Function],
    /// All addresses that the processor has.
    pub(super) address_space: PhysicalRange,
    /// `None` on a root bus and behind a bridge that forwards what no one else takes.
    pub(super) windows: Option<Windows>,
}

/// Sizes and checks all BARs of a function. It does not answer at them meanwhile; its command register is
/// as before afterwards.
pub(super) fn read_all<M: PhysicalMemory>(
    configuration: &mut impl ConfigurationSpace,
    address: PciAddress,
    kind: FunctionKind,
    surroundings: &Surroundings<'_, M>,
) -> [Bar; MAXIMUM_BARS] {
    let mut bars = [Bar::NONE; MAXIMUM_BARS];
    let count = match kind {
        FunctionKind::Endpoint => MAXIMUM_BARS,
        FunctionKind::Bridge { .. } => 2,
        FunctionKind::Unknown => 0,
    };
    let before = configuration.read_u16(address, register::COMMAND);
    configuration.write_u16(
        address,
        register::COMMAND,
        before & !(command::IO_DECODE | command::MEMORY_DECODE),
    );
    let mut index = 0;
    while let Some(slots) = bars.get_mut(index..count).filter(|slots| !slots.is_empty()) {
        let bar = size(configuration, address, index, slots.len());
        index += if bar.kind == BarKind::Memory64 { 2 } else { 1 };
        if let Some(slot) = slots.first_mut() {
            *slot = bar;
        }
    }
    configuration.write_u16(address, register::COMMAND, before);
    check_all(&mut bars, address, surroundings);
    bars
}

/// Finds kind, address and size of the BAR at `index`, of which `left` are left.
fn size(configuration: &mut impl ConfigurationSpace, address: PciAddress, index: usize, left: usize) -> Bar {
    // `index` is below 6.
    let offset = register::FIRST_BAR + 4 * index as u16;
    let (low, low_mask) = probe(configuration, address, offset);
    if low_mask == 0 {
        return Bar::NONE;
    }
    if low & IO != 0 {
        // Devices may leave the upper 16 bits out, since x86 has no such ports.
        let mask = low_mask & IO_ADDRESS;
        let mask = if mask >> 16 == 0 { mask | 0xffff_0000 } else { mask };
        let (kind, prefetch) = (BarKind::Io, Prefetch::Forbidden);
        let bar = Bar { kind, prefetch, address: u64::from(low & IO_ADDRESS), ..Bar::NONE };
        return with_size(bar, u64::from(mask) | !u64::from(u32::MAX));
    }
    let prefetch = if low & PREFETCHABLE != 0 { Prefetch::Allowed } else { Prefetch::Forbidden };
    let (mut address_bits, mut mask) =
        (u64::from(low & MEMORY_ADDRESS), u64::from(low_mask & MEMORY_ADDRESS));
    let kind = match low & TYPE {
        TYPE_64_BIT if left > 1 => {
            let (high, high_mask) = probe(configuration, address, offset + 4);
            address_bits |= u64::from(high) << 32;
            mask |= u64::from(high_mask) << 32;
            BarKind::Memory64
        }
        TYPE_64_BIT | TYPE_RESERVED => {
            let state = BarState::Refused(BarFault::ImpossibleType);
            return Bar { kind: BarKind::Memory32, state, prefetch, ..Bar::NONE };
        }
        _ => {
            mask |= !u64::from(u32::MAX);
            BarKind::Memory32
        }
    };
    with_size(Bar { kind, prefetch, address: address_bits, ..Bar::NONE }, mask)
}

/// Reads a BAR and which of its bits can be set, and restores it.
fn probe(configuration: &mut impl ConfigurationSpace, address: PciAddress, offset: u16) -> (u32, u32) {
    let before = configuration.read_u32(address, offset);
    configuration.write_u32(address, offset, u32::MAX);
    let mask = configuration.read_u32(address, offset);
    configuration.write_u32(address, offset, before);
    (before, mask)
}

/// Fills in the size that the settable address bits tell: they are all from the size on upwards.
fn with_size(bar: Bar, mask: u64) -> Bar {
    // The addition wraps to 0 for a BAR without any settable address bit.
    let size = (!mask).wrapping_add(1);
    let state = if size.is_power_of_two() && mask != 0 {
        BarState::Usable
    } else {
        BarState::Refused(BarFault::ImpossibleSize)
    };
    Bar { size, state, ..bar }
}

/// Checks each BAR whose size is known, and says in the log what is wrong.
fn check_all<M: PhysicalMemory>(
    bars: &mut [Bar; MAXIMUM_BARS],
    address: PciAddress,
    surroundings: &Surroundings<'_, M>,
) {
    for index in 0..MAXIMUM_BARS {
        let Some((before, [bar, ..])) = bars.split_at_mut_checked(index) else { continue };
        if bar.state == BarState::Usable {
            bar.state = check(bar, before, address, surroundings);
        }
        match bar.state {
            BarState::Refused(fault) => log::error!(
                "pci: {address}: BAR {index} ({:#x} bytes at {:#x}) refused: {fault:?}",
                bar.size,
                bar.address
            ),
            BarState::Unassigned => log::warn!(
                "pci: {address}: BAR {index} ({:#x} bytes) has no address from the firmware",
                bar.size
            ),
            BarState::Usable | BarState::Absent => {}
        }
    }
}

fn check<M: PhysicalMemory>(
    bar: &Bar,
    earlier: &[Bar],
    address: PciAddress,
    surroundings: &Surroundings<'_, M>,
) -> BarState {
    if bar.address == 0 {
        return BarState::Unassigned;
    }
    let range = PhysicalRange::new(PhysicalAddress(bar.address), bar.size);
    let Some(range) = range.filter(|_| bar.address.is_multiple_of(bar.size)) else {
        return BarState::Refused(BarFault::ImpossibleAddress);
    };
    let fault = match bar.kind {
        BarKind::Io if range.last().0 >= IO_SPACE => Some(BarFault::ImpossibleAddress),
        // Both fit: the range ends below 64 Ki.
        BarKind::Io if surroundings.tables.overlaps_kernel_ports(bar.address as u16, bar.size as u32) => {
            Some(BarFault::OverlapsKernel)
        }
        BarKind::Io => None,
        _ if !surroundings.address_space.contains(range) => Some(BarFault::ImpossibleAddress),
        _ if surroundings.memory.overlaps_ram(range) => Some(BarFault::OverlapsMemory),
        _ if surroundings.tables.overlaps_kernel_registers(range) => Some(BarFault::OverlapsKernel),
        _ => None,
    };
    if let Some(fault) = fault {
        return BarState::Refused(fault);
    }
    let own = earlier.iter().map(|other| (address, other));
    let others = surroundings
        .known
        .iter()
        .flat_map(|function| function.bars.iter().map(move |other| (function.address, other)));
    for (owner, other) in others.chain(own) {
        if other.state == BarState::Usable
            && (other.kind == BarKind::Io) == (bar.kind == BarKind::Io)
            && PhysicalRange::new(PhysicalAddress(other.address), other.size)
                .is_some_and(|other| other.overlaps(range))
        {
            return BarState::Refused(BarFault::OverlapsFunction(owner));
        }
    }
    match surroundings.windows {
        Some(windows) if !windows.forward(bar, range) => BarState::Refused(BarFault::OutsideWindow),
        _ => BarState::Usable,
    }
}

/// The decode bits of the command register for kinds whose BARs are all usable.
pub(super) fn decode_bits(bars: &[Bar; MAXIMUM_BARS]) -> u16 {
    let all_usable = |is_kind: fn(&Bar) -> bool| {
        let mut present = bars.iter().filter(|bar| bar.kind != BarKind::None && is_kind(bar)).peekable();
        present.peek().is_some() && present.all(|bar| bar.state == BarState::Usable)
    };
    let memory = all_usable(|bar| bar.kind != BarKind::Io);
    let io = all_usable(|bar| bar.kind == BarKind::Io);
    (if memory { command::MEMORY_DECODE } else { 0 }) | (if io { command::IO_DECODE } else { 0 })
}
