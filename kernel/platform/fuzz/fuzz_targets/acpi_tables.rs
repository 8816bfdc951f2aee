//! Reads tables made of the input: a list of tables, each a length, a kind and contents, with right headers and
//! checksums, so that the contents are reached.
#![no_main]

use core::ptr::NonNull;

use libfuzzer_sys::fuzz_target;
use platform::{PhysicalAddress, PhysicalMemory, PhysicalRange, acpi};

const ROOT_POINTER: u64 = 0xe_0000;
const ROOT_TABLE: u64 = 0x10_0000;
const TABLES: u64 = 0x20_0000;
const SIGNATURES: [&[u8; 4]; 7] = [b"APIC", b"FACP", b"MCFG", b"HPET", b"DSDT", b"SSDT", b"DMAR"];

/// Each region is an allocation of its own, so that the address sanitizer sees a read past it.
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

fn table(signature: &[u8; 4], revision: u8, contents: &[u8]) -> Box<[u8]> {
    let mut bytes = signature.to_vec();
    bytes.extend_from_slice(&(36 + contents.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&[revision, 0]);
    bytes.resize(36, 0);
    bytes.extend_from_slice(contents);
    checked(bytes, 9)
}

fuzz_target!(|input: &[u8]| {
    let mut memory = Memory(Vec::new());
    let (mut rest, mut entries) = (input, Vec::new());
    while let [kind, revision, low, high, tail @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(tail.len());
        let (contents, after) = tail.split_at(length);
        let address = TABLES + memory.0.len() as u64 * 0x2_0000;
        let mut contents = contents.to_vec();
        let signature = SIGNATURES[usize::from(*kind) % SIGNATURES.len()];
        // An FADT finds its DSDT right behind it.
        if signature == b"FACP" && contents.len() >= 8 {
            contents[4..8].copy_from_slice(&((address + 0x2_0000) as u32).to_le_bytes());
        }
        memory.0.push((address, table(signature, *revision, &contents)));
        entries.extend_from_slice(&(address as u32).to_le_bytes());
        rest = after;
    }
    memory.0.push((ROOT_TABLE, table(b"RSDT", 1, &entries)));
    let mut pointer = b"RSD PTR \0FUZZED\0".to_vec();
    pointer.extend_from_slice(&(ROOT_TABLE as u32).to_le_bytes());
    memory.0.push((ROOT_POINTER, checked(pointer, 8)));
    acpi::read_tables(Some(PhysicalAddress(ROOT_POINTER)), &memory);
    // And the input as the root pointer itself, and whatever it leads to.
    let raw = Memory(vec![(ROOT_POINTER, input.into()), (0, input.into())]);
    acpi::read_tables(Some(PhysicalAddress(ROOT_POINTER)), &raw);
});
