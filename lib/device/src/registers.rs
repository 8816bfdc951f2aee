//! Blocks of device registers, in memory or behind ports.

use alloc::rc::Rc;
use core::ptr::NonNull;
use rt::{Ports, memory::Mapping};

/// A block of registers, little-endian.
///
/// An access that is not inside the block, not aligned, or that fails because the device is gone reads as all ones and
/// writes nothing: the same as a PCI access that no device answers.
pub trait Registers {
    /// Bytes of the block.
    fn size(&self) -> u32;
    /// Reads one byte.
    fn read_u8(&self, offset: u32) -> u8;
    /// Reads two bytes.
    fn read_u16(&self, offset: u32) -> u16;
    /// Reads four bytes.
    fn read_u32(&self, offset: u32) -> u32;
    /// Writes one byte.
    fn write_u8(&self, offset: u32, value: u8);
    /// Writes two bytes.
    fn write_u16(&self, offset: u32, value: u16);
    /// Writes four bytes.
    fn write_u32(&self, offset: u32, value: u32);
}

/// Registers in a memory BAR.
pub struct MmioRegisters {
    start: NonNull<u8>,
    size: u32,
    _mapping: Rc<Mapping>,
}

impl MmioRegisters {
    /// The `size` bytes from `offset` on in a mapped BAR. `None` when they are not all there.
    pub fn new(mapping: &Rc<Mapping>, offset: u32, size: u32) -> Option<Self> {
        let end = offset.checked_add(size)?;
        if end as usize > mapping.len() {
            return None;
        }
        // SAFETY: `offset` is at most the length of the mapping, by the check above.
        let start = unsafe { mapping.as_ptr().byte_add(offset as usize) };
        Some(Self { start, size, _mapping: Rc::clone(mapping) })
    }

    /// The register at `offset`, if it is inside and aligned to its size.
    fn register<T>(&self, offset: u32) -> Option<NonNull<T>> {
        let end = offset.checked_add(size_of::<T>() as u32)?;
        if end > self.size {
            return None;
        }
        // SAFETY: inside the block, by the check above.
        let register = unsafe { self.start.byte_add(offset as usize) }.cast::<T>();
        register.is_aligned().then_some(register)
    }

    fn read<T>(&self, offset: u32, absent: T) -> T {
        match self.register(offset) {
            // SAFETY: the register is mapped while `_mapping` lives, inside and aligned (`register` checked), and
            // device registers are only accessed volatile, never through references.
            Some(register) => unsafe { register.read_volatile() },
            None => absent,
        }
    }

    fn write<T>(&self, offset: u32, value: T) {
        if let Some(register) = self.register(offset) {
            // SAFETY: as in `read`.
            unsafe { register.write_volatile(value) }
        }
    }
}

impl Registers for MmioRegisters {
    fn size(&self) -> u32 {
        self.size
    }

    fn read_u8(&self, offset: u32) -> u8 {
        self.read(offset, u8::MAX)
    }

    fn read_u16(&self, offset: u32) -> u16 {
        self.read(offset, u16::MAX)
    }

    fn read_u32(&self, offset: u32) -> u32 {
        self.read(offset, u32::MAX)
    }

    fn write_u8(&self, offset: u32, value: u8) {
        self.write(offset, value);
    }

    fn write_u16(&self, offset: u32, value: u16) {
        self.write(offset, value);
    }

    fn write_u32(&self, offset: u32, value: u32) {
        self.write(offset, value);
    }
}

/// Registers in an I/O BAR, accessed by system calls.
pub struct PortRegisters {
    ports: Ports,
    size: u32,
}

impl PortRegisters {
    /// A port range of `size` ports.
    pub fn new(ports: Ports, size: u32) -> Self {
        Self { ports, size }
    }
}

/// An offset as a port number; offsets past 16 bits are past every range and so is the last port.
fn port(offset: u32) -> u16 {
    u16::try_from(offset).unwrap_or(u16::MAX)
}

impl Registers for PortRegisters {
    fn size(&self) -> u32 {
        self.size
    }

    // The kernel checks the range at each access; its error means "outside" or "revoked".
    fn read_u8(&self, offset: u32) -> u8 {
        self.ports.read_u8(port(offset)).unwrap_or(u8::MAX)
    }

    fn read_u16(&self, offset: u32) -> u16 {
        self.ports.read_u16(port(offset)).unwrap_or(u16::MAX)
    }

    fn read_u32(&self, offset: u32) -> u32 {
        self.ports.read_u32(port(offset)).unwrap_or(u32::MAX)
    }

    fn write_u8(&self, offset: u32, value: u8) {
        let _gone = self.ports.write_u8(port(offset), value);
    }

    fn write_u16(&self, offset: u32, value: u16) {
        let _gone = self.ports.write_u16(port(offset), value);
    }

    fn write_u32(&self, offset: u32, value: u32) {
        let _gone = self.ports.write_u32(port(offset), value);
    }
}
