//! Access to configuration space: memory-mapped (ECAM) where the MCFG offers it, else by the ports 0xCF8 and
//! 0xCFC. [PCIe-6.0 7.2.2] [PCI-3.0 3.2.2.3.2]

use arrayvec::ArrayVec;

use super::{PciAddress, register};
use crate::acpi::{EcamRegion, MAXIMUM_ECAM_REGIONS, PlatformTables};
use crate::address::PhysicalMemory;
use crate::ports;
use crate::registers::Registers;

/// Width of an access; accesses are naturally aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// 1 byte.
    Byte,
    /// 2 bytes.
    Word,
    /// 4 bytes.
    Double,
}

impl Width {
    /// Bytes of the access.
    pub const fn bytes(self) -> u16 {
        match self {
            Self::Byte => 1,
            Self::Word => 2,
            Self::Double => 4,
        }
    }
}

/// Reads and writes configuration registers. What does not exist reads as all ones of its width.
pub trait ConfigurationSpace {
    /// Reads a register. An unaligned offset reads as all ones.
    fn read(&mut self, address: PciAddress, offset: u16, width: Width) -> u32;

    /// Writes a register. A write to an unaligned offset does nothing.
    fn write(&mut self, address: PciAddress, offset: u16, width: Width, value: u32);

    /// Reads 8 bits.
    fn read_u8(&mut self, address: PciAddress, offset: u16) -> u8 {
        self.read(address, offset, Width::Byte) as u8
    }

    /// Reads 16 bits.
    fn read_u16(&mut self, address: PciAddress, offset: u16) -> u16 {
        self.read(address, offset, Width::Word) as u16
    }

    /// Reads 32 bits.
    fn read_u32(&mut self, address: PciAddress, offset: u16) -> u32 {
        self.read(address, offset, Width::Double)
    }

    /// Writes 8 bits.
    fn write_u8(&mut self, address: PciAddress, offset: u16, value: u8) {
        self.write(address, offset, Width::Byte, u32::from(value));
    }

    /// Writes 16 bits.
    fn write_u16(&mut self, address: PciAddress, offset: u16, value: u16) {
        self.write(address, offset, Width::Word, u32::from(value));
    }

    /// Writes 32 bits.
    fn write_u32(&mut self, address: PciAddress, offset: u16, value: u32) {
        self.write(address, offset, Width::Double, value);
    }
}

const BUS_LENGTH: usize = 1 << 20;
/// Bytes of configuration space that the ports reach.
const PORT_SPACE: u16 = 256;
/// Most buses that are mapped; a bus is mapped when it is first accessed.
const MAXIMUM_MAPPED_BUSES: usize = 64;

/// The machine's configuration space.
#[derive(Debug)]
pub struct Configuration<M> {
    memory: M,
    regions: ArrayVec<EcamRegion, MAXIMUM_ECAM_REGIONS>,
    mapped: ArrayVec<MappedBus, MAXIMUM_MAPPED_BUSES>,
}

#[derive(Clone, Copy, Debug)]
struct MappedBus {
    segment: u16,
    bus: u8,
    /// `None` when the kernel could not map it.
    registers: Option<Registers>,
}

/// How a bus is reached.
enum Path {
    Memory(Registers),
    Ports,
    Nothing,
}

impl<M: PhysicalMemory> Configuration<M> {
    /// Takes over the regions of the tables, without those of segment 0 that show other functions than the
    /// ports do.
    ///
    /// # Safety
    /// The processor runs in ring 0, and nothing else uses configuration space while a method runs.
    pub unsafe fn new(tables: &PlatformTables, memory: M) -> Self {
        let mut configuration = Self { memory, regions: ArrayVec::new(), mapped: ArrayVec::new() };
        for region in &tables.ecam_regions {
            if region.segment == 0 && !configuration.agrees_with_ports(region) {
                log::error!("pci: {region:x?} shows other functions than the ports do; not used");
                configuration.mapped.retain(|known| known.segment != 0 || known.bus != region.first_bus);
                continue;
            }
            // Both tables have the same capacity.
            let _ = configuration.regions.try_push(*region);
        }
        configuration
    }

    fn agrees_with_ports(&mut self, region: &EcamRegion) -> bool {
        let Some(mapped) = self.map(region, region.first_bus) else { return false };
        (0..PciAddress::DEVICES).all(|device| {
            PciAddress::new(0, region.first_bus, device, 0).is_none_or(|address| {
                let by_memory = mapped.read_u32(usize::from(address.device_function()) << 12);
                by_memory == read_by_ports(address, register::VENDOR, Width::Double)
            })
        })
    }

    fn path(&mut self, address: PciAddress) -> Path {
        let (segment, bus) = (address.segment(), address.bus());
        let known = self.mapped.iter().find(|known| known.segment == segment && known.bus == bus);
        let registers = match known {
            Some(known) => known.registers,
            None => {
                let region = self.regions.iter().copied().find(|region| {
                    region.segment == segment && (region.first_bus..=region.last_bus).contains(&bus)
                });
                region.and_then(|region| self.map(&region, bus))
            }
        };
        match registers {
            Some(registers) => Path::Memory(registers),
            None if segment == 0 => Path::Ports,
            None => Path::Nothing,
        }
    }

    fn map(&mut self, region: &EcamRegion, bus: u8) -> Option<Registers> {
        if self.mapped.is_full() {
            return None;
        }
        let base = region
            .base
            .checked_add(u64::from(bus) << 20)
            .and_then(|address| self.memory.map_mmio(address, BUS_LENGTH));
        // SAFETY: the kernel mapped the registers for ever; `acpi` checked that no RAM is there.
        let registers = base.map(|base| unsafe { Registers::new(base, BUS_LENGTH) });
        if registers.is_none() {
            log::error!("pci: bus {bus:#x} of {region:x?} cannot be mapped");
        }
        self.mapped.push(MappedBus { segment: region.segment, bus, registers });
        registers
    }
}

impl<M: PhysicalMemory> ConfigurationSpace for Configuration<M> {
    fn read(&mut self, address: PciAddress, offset: u16, width: Width) -> u32 {
        let ones = u32::MAX >> (32 - 8 * width.bytes());
        if !offset.is_multiple_of(width.bytes()) {
            return ones;
        }
        match self.path(address) {
            Path::Memory(registers) => {
                let Some(at) = memory_offset(address, offset) else { return ones };
                match width {
                    Width::Byte => u32::from(registers.read_u8(at)),
                    Width::Word => u32::from(registers.read_u16(at)),
                    Width::Double => registers.read_u32(at),
                }
            }
            Path::Ports if offset < PORT_SPACE => read_by_ports(address, offset, width),
            Path::Ports | Path::Nothing => ones,
        }
    }

    fn write(&mut self, address: PciAddress, offset: u16, width: Width, value: u32) {
        if !offset.is_multiple_of(width.bytes()) {
            return;
        }
        match self.path(address) {
            Path::Memory(registers) => {
                let Some(at) = memory_offset(address, offset) else { return };
                match width {
                    Width::Byte => registers.write_u8(at, value as u8),
                    Width::Word => registers.write_u16(at, value as u16),
                    Width::Double => registers.write_u32(at, value),
                }
            }
            Path::Ports if offset < PORT_SPACE => write_by_ports(address, offset, width, value),
            Path::Ports | Path::Nothing => {}
        }
    }
}

/// Where a register is in the memory of its bus; `None` past the function's 4 KiB.
fn memory_offset(address: PciAddress, offset: u16) -> Option<usize> {
    (offset < 4096).then(|| usize::from(address.device_function()) << 12 | usize::from(offset))
}

const SELECT: u16 = 0xcf8;
const DATA: u16 = 0xcfc;

fn select(address: PciAddress, offset: u16) {
    let selection = 1 << 31
        | u32::from(address.bus()) << 16
        | u32::from(address.device_function()) << 8
        | u32::from(offset & 0xfc);
    // SAFETY: `Configuration::new` was promised ring 0 and that nothing else uses the ports; selecting has no other effect.
    unsafe { ports::write_u32(SELECT, selection) }
}

fn read_by_ports(address: PciAddress, offset: u16, width: Width) -> u32 {
    select(address, offset);
    let port = DATA + (offset & 3);
    // SAFETY: as for selecting; reading configuration space does not write memory.
    unsafe {
        match width {
            Width::Byte => u32::from(ports::read_u8(port)),
            Width::Word => u32::from(ports::read_u16(port)),
            Width::Double => ports::read_u32(port),
        }
    }
}

fn write_by_ports(address: PciAddress, offset: u16, width: Width, value: u32) {
    select(address, offset);
    let port = DATA + (offset & 3);
    // SAFETY: as for selecting; what this module's callers write is theirs to justify: they enable DMA only where the kernel asks.
    unsafe {
        match width {
            Width::Byte => ports::write_u8(port, value as u8),
            Width::Word => ports::write_u16(port, value as u16),
            Width::Double => ports::write_u32(port, value),
        }
    }
}
