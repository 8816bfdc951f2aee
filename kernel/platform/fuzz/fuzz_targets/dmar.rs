//! Reads an IOMMU table made of the input, and asks which unit each function is behind.
#![no_main]

use core::ptr::NonNull;

use libfuzzer_sys::fuzz_target;
use platform::pci::{Bar, Function, FunctionKind, MAXIMUM_BARS, PciAddress};
use platform::vtd::{Coverage, coverage, io_apic_source};
use platform::{PhysicalAddress, PhysicalMemory, PhysicalRange, acpi};

const ROOT_POINTER: u64 = 0xe_0000;
const ROOT_TABLE: u64 = 0x10_0000;
const DMAR: u64 = 0x20_0000;

struct Memory(Vec<(u64, Box<[u8]>)>);

impl PhysicalMemory for Memory {
    fn ram(&self, physical: PhysicalAddress, length: usize) -> Option<NonNull<u8>> {
        self.0.iter().find_map(|(start, bytes)| {
            let offset = usize::try_from(physical.0.checked_sub(*start)?).ok()?;
            bytes.get(offset..offset.checked_add(length)?).map(|slice| NonNull::from(slice).cast())
        })
    }

    fn map_mmio(&self, _: PhysicalAddress, _: usize) -> Option<NonNull<u8>> {
        None
    }

    fn overlaps_ram(&self, range: PhysicalRange) -> bool {
        range.start().0 < 0x4000_0000
    }
}

fn checked(mut bytes: Vec<u8>, at: usize) -> Box<[u8]> {
    bytes[at] = 0;
    bytes[at] = bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_sub(byte));
    bytes.into()
}

fn table(signature: &[u8; 4], contents: &[u8]) -> Box<[u8]> {
    let mut bytes = signature.to_vec();
    bytes.extend_from_slice(&(36 + contents.len() as u32).to_le_bytes());
    bytes.resize(36, 0);
    bytes.extend_from_slice(contents);
    checked(bytes, 9)
}

fn function(bus: u8, device: u8, kind: FunctionKind, express: Option<u16>) -> Option<Function> {
    Some(Function {
        address: PciAddress::new(0, bus, device, 0)?,
        vendor: 0,
        device: 0,
        subsystem_vendor: 0,
        subsystem: 0,
        class: 0,
        revision: 0,
        kind,
        bars: [Bar::NONE; MAXIMUM_BARS],
        interrupt_pin: None,
        interrupt_line: 0,
        msi: None,
        msix: None,
        reset: None,
        power_management: None,
        express,
    })
}

fuzz_target!(|input: &[u8]| {
    let mut pointer = b"RSD PTR \0FUZZED\0".to_vec();
    pointer.extend_from_slice(&(ROOT_TABLE as u32).to_le_bytes());
    let memory = Memory(vec![
        (DMAR, table(b"DMAR", input)),
        (ROOT_TABLE, table(b"RSDT", &(DMAR as u32).to_le_bytes())),
        (ROOT_POINTER, checked(pointer, 8)),
    ]);
    let remapping = acpi::read_tables(Some(PhysicalAddress(ROOT_POINTER)), &memory).dma_remapping;
    let bridge = |secondary, subordinate| FunctionKind::Bridge { secondary, subordinate };
    let functions: Vec<Function> = [
        function(0, 1, FunctionKind::Endpoint, None),
        function(0, 2, bridge(1, 2), Some(0x40)),
        function(1, 0, bridge(2, 2), None),
        function(2, 0, FunctionKind::Endpoint, Some(0x40)),
    ]
    .into_iter()
    .flatten()
    .collect();
    for function in &functions {
        match coverage(&remapping, &functions, function) {
            Coverage::Direct => {}
            Coverage::Unit(unit) | Coverage::Shared(unit) => assert!(unit < remapping.units.len()),
        }
    }
    for id in 0..=u8::MAX {
        io_apic_source(&remapping, &functions, id);
    }
});
