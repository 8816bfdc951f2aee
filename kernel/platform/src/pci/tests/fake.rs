//! A configuration space made of registers with settable bits.

use std::collections::BTreeMap;

use super::super::*;
use crate::acpi::PlatformTables;
use crate::address::{PhysicalAddress, PhysicalMemory, PhysicalRange};
use core::ptr::NonNull;

/// A function's 256 bytes, and which bits of them can be set.
#[derive(Clone)]
pub struct FakeFunction {
    pub bytes: [u8; 256],
    pub writable: [u8; 256],
    /// Configuration reads that answer "not yet" after a reset was asked for.
    pub silent_reads: u32,
    /// What a reset puts back.
    reset_bytes: [u8; 256],
}

#[derive(Default)]
pub struct FakeSpace {
    pub functions: BTreeMap<PciAddress, FakeFunction>,
    pub reads: u64,
    /// Writes to command registers, in order.
    pub commands: Vec<(PciAddress, u16)>,
}

pub fn at(bus: u8, device: u8, function: u8) -> PciAddress {
    PciAddress::new(0, bus, device, function).unwrap()
}

/// 128 MiB of RAM, and nothing mapped.
pub struct FakeMemory;

impl PhysicalMemory for FakeMemory {
    fn ram(&self, _: PhysicalAddress, _: usize) -> Option<NonNull<u8>> {
        None
    }

    fn map_mmio(&self, _: PhysicalAddress, _: usize) -> Option<NonNull<u8>> {
        None
    }

    fn overlaps_ram(&self, range: PhysicalRange) -> bool {
        range.start().0 < 0x800_0000
    }
}

impl FakeFunction {
    pub fn new(vendor: u16, device: u16, class: u32) -> Self {
        let mut function =
            Self { bytes: [0; 256], writable: [0; 256], silent_reads: 0, reset_bytes: [0; 256] };
        function.set(0, &[vendor.to_le_bytes(), device.to_le_bytes()].concat());
        function.set(8, &(class << 8 | 7).to_le_bytes());
        function.set(0x2c, &[0x34, 0x12, 0x78, 0x56]);
        function.writable[4..6].copy_from_slice(&0x0547u16.to_le_bytes());
        function.set(4, &[0b111, 0]);
        function.writable[0x3c] = 0xff;
        function
    }

    /// A bridge with the given buses that forwards 0xc0000000 to 0xcfffffff and ports 0xc000 to 0xcfff.
    pub fn bridge(secondary: u8, subordinate: u8) -> Self {
        let mut function = Self::new(0x1b36, 0x000c, 0x06_0400);
        function.set(0x0e, &[1]);
        function.set(0x18, &[0, secondary, subordinate, 0]);
        function.set(0x1c, &[0xc0, 0xc0]);
        function.set(0x20, &[0x00, 0xc0, 0xf0, 0xcf]);
        // No prefetchable window: the base is above the limit.
        function.set(0x24, &[0xf0, 0xff, 0, 0]);
        function
    }

    pub fn set(&mut self, offset: usize, bytes: &[u8]) {
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// A BAR with the given low bits, address and size.
    pub fn with_bar(mut self, index: usize, flags: u32, address: u64, size: u64) -> Self {
        let offset = 0x10 + 4 * index;
        let mask = !(size - 1);
        let low_bits = if flags & 1 == 1 { 0b11 } else { 0b1111 };
        self.set(offset, &(address as u32 | flags).to_le_bytes());
        self.writable[offset..offset + 4].copy_from_slice(&(mask as u32 & !low_bits).to_le_bytes());
        if flags & 0b101 == 0b100 {
            self.set(offset + 4, &((address >> 32) as u32).to_le_bytes());
            self.writable[offset + 4..offset + 8].copy_from_slice(&((mask >> 32) as u32).to_le_bytes());
        }
        self
    }

    /// Puts a capability at the head of the list.
    pub fn with_capability(mut self, offset: u8, contents: &[u8]) -> Self {
        self.bytes[6] |= 1 << 4;
        let mut bytes = contents.to_vec();
        bytes[1] = self.bytes[0x34];
        self.set(usize::from(offset), &bytes);
        self.bytes[0x34] = offset;
        self
    }

    pub fn word(&self, offset: usize) -> u16 {
        u16::from_le_bytes([self.bytes[offset], self.bytes[offset + 1]])
    }

    /// Forgets what was set up, as after a reset.
    fn reset(&mut self) {
        self.reset_bytes = self.bytes;
        for (byte, writable) in self.bytes.iter_mut().zip(self.writable) {
            *byte &= !writable;
        }
        self.silent_reads = 5;
    }
}

impl FakeSpace {
    pub fn add(&mut self, address: PciAddress, function: FakeFunction) -> &mut Self {
        self.functions.insert(address, function);
        self
    }

    pub fn get(&self, address: PciAddress) -> &FakeFunction {
        &self.functions[&address]
    }

    pub fn enumerate(&mut self) -> Box<Functions> {
        let mut functions = Box::new(Functions::new());
        enumerate(self, &PlatformTables::fallback(), &FakeMemory, &mut functions);
        functions
    }
}

impl ConfigurationSpace for FakeSpace {
    fn read(&mut self, address: PciAddress, offset: u16, width: Width) -> u32 {
        self.reads += 1;
        assert!(offset + width.bytes() <= 256, "a read outside the space of the ports");
        assert!(self.reads < 2_000_000, "the walk does not end");
        let ones = u32::MAX >> (32 - 8 * width.bytes());
        let Some(function) = self.functions.get_mut(&address) else { return ones };
        if function.silent_reads > 0 {
            function.silent_reads -= 1;
            return ones;
        }
        if !offset.is_multiple_of(width.bytes()) {
            return ones;
        }
        let bytes = function.bytes.iter().skip(usize::from(offset)).take(usize::from(width.bytes()));
        bytes.rev().fold(0, |value, &byte| value << 8 | u32::from(byte))
    }

    fn write(&mut self, address: PciAddress, offset: u16, width: Width, value: u32) {
        assert!(offset + width.bytes() <= 256, "a write outside the space of the ports");
        let Some(function) = self.functions.get_mut(&address) else { return };
        if offset == 4 {
            self.commands.push((address, value as u16));
        }
        for (at, byte) in (usize::from(offset)..).zip(value.to_le_bytes()).take(usize::from(width.bytes())) {
            if let (Some(old), Some(mask)) = (function.bytes.get_mut(at), function.writable.get(at)) {
                *old = *old & !mask | byte & mask;
            }
        }
        let express = function.bytes[0x34];
        let is_control = function.bytes[usize::from(express)] == 0x10 && offset == u16::from(express) + 8;
        if is_control && value & 1 << 15 != 0 {
            function.reset();
        }
    }
}
