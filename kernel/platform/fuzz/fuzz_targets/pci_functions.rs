//! Enumerates, operates and resets functions whose registers are made of the input, and that take writes as the
//! input likes.
#![no_main]

use core::ptr::NonNull;

use libfuzzer_sys::fuzz_target;
use platform::acpi::PlatformTables;
use platform::pci::{
    ConfigurationSpace, Functions, InterruptMessage, PciAddress, ResetStep, Switch, Width, enumerate,
    start_reset,
};
use platform::{ApicId, PhysicalAddress, PhysicalMemory, PhysicalRange, Vector};

struct NoMemory;

impl PhysicalMemory for NoMemory {
    fn ram(&self, _: PhysicalAddress, _: usize) -> Option<NonNull<u8>> {
        None
    }

    fn map_mmio(&self, _: PhysicalAddress, _: usize) -> Option<NonNull<u8>> {
        None
    }

    fn overlaps_ram(&self, range: PhysicalRange) -> bool {
        range.start().0 < 0x4000_0000
    }
}

/// Functions take turns in 256-byte pieces of the input; a bit is writable when the piece's complement says so.
struct Space<'a> {
    input: &'a [u8],
    written: std::collections::HashMap<(u32, u16), u8>,
}

impl Space<'_> {
    fn byte(&self, address: PciAddress, offset: u16) -> u8 {
        let piece = address.to_bits() as usize % 61 * 256;
        let byte = self.input.get(piece + usize::from(offset)).copied().unwrap_or(0xff);
        self.written.get(&(address.to_bits(), offset)).map_or(byte, |written| written & !byte | byte & 0x0f)
    }
}

impl ConfigurationSpace for Space<'_> {
    fn read(&mut self, address: PciAddress, offset: u16, width: Width) -> u32 {
        assert!(offset + width.bytes() <= 256, "a read outside the header's space");
        (0..width.bytes()).rev().fold(0, |value, at| value << 8 | u32::from(self.byte(address, offset + at)))
    }

    fn write(&mut self, address: PciAddress, offset: u16, width: Width, value: u32) {
        assert!(offset + width.bytes() <= 256, "a write outside the header's space");
        for (at, byte) in (0..width.bytes()).zip(value.to_le_bytes()) {
            self.written.insert((address.to_bits(), offset + at), byte);
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let mut space = Space { input, written: Default::default() };
    let mut functions = Box::new(Functions::new());
    enumerate(&mut space, &PlatformTables::fallback(), &NoMemory, &mut functions);
    for function in functions.iter() {
        for range in function.bars.iter().filter_map(|bar| bar.memory()) {
            assert!(!NoMemory.overlaps_ram(range) && range.last().0 < 1 << 52);
        }
        if let Some(message) = InterruptMessage::new(ApicId(1), Vector(0x40)) {
            function.set_msi_message(&mut space, message);
        }
        function.unmask_msi(&mut space);
        function.mask_msi(&mut space);
        function.set_msix(&mut space, Switch::On);
        function.enable_decoding(&mut space);
        let Some(mut reset) = start_reset(&mut space, function) else { continue };
        let steps = (0..1000).find(|_| !matches!(reset.advance(&mut space), ResetStep::Wait(_)));
        assert!(steps.is_some(), "the reset does not end");
    }
});
