//! Tables in a fake physical memory.

use core::ptr::NonNull;

use crate::address::{PhysicalAddress, PhysicalMemory, PhysicalRange};

/// Where the root pointer is.
pub const ROOT_POINTER: u64 = 0xf_5ac0;
/// Where tables are put, one after the other.
const TABLES: u64 = 0x7fe_1000;
const HEADER: usize = 36;

/// Physical memory that holds nothing but a machine's tables, each between bytes that must not be read.
#[derive(Clone, Default)]
pub struct Machine {
    regions: Vec<(u64, Vec<u8>)>,
    next: u64,
}

impl PhysicalMemory for Machine {
    fn ram(&self, physical: PhysicalAddress, length: usize) -> Option<NonNull<u8>> {
        self.regions.iter().find_map(|(start, bytes)| {
            let offset = usize::try_from(physical.0.checked_sub(*start)?).ok()?;
            // A slice of exactly the bytes that were asked for: a tool that watches memory sees a read past them.
            let slice = bytes.get(offset..offset.checked_add(length)?)?;
            Some(NonNull::from(slice).cast())
        })
    }

    fn map_mmio(&self, _: PhysicalAddress, _: usize) -> Option<NonNull<u8>> {
        None
    }

    fn overlaps_ram(&self, range: PhysicalRange) -> bool {
        let ram = PhysicalRange::new(PhysicalAddress(0), 0x800_0000).unwrap();
        ram.overlaps(range)
    }
}

/// Signatures of the tables that were kept for the inventory.
pub fn signatures(tables: &super::super::PlatformTables) -> Vec<[u8; 4]> {
    tables.inventory.iter().map(|table| table.signature).collect()
}

/// Makes all bytes add up to 0 by the one at `at`.
pub fn fix_checksum(bytes: &mut [u8], at: usize) {
    bytes[at] = 0;
    bytes[at] = bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_sub(byte));
}

/// A table: header and contents, with a right length and checksum.
pub fn table(signature: &[u8; 4], revision: u8, contents: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(signature);
    bytes.extend_from_slice(&((HEADER + contents.len()) as u32).to_le_bytes());
    bytes.extend_from_slice(&[revision, 0]);
    bytes.extend_from_slice(b"CAPOS TESTING \x01\0\0\0TEST\x01\0\0\0");
    bytes.extend_from_slice(contents);
    assert_eq!(bytes.len(), HEADER + contents.len());
    fix_checksum(&mut bytes, 9);
    bytes
}

impl Machine {
    /// Puts bytes somewhere; gives their address.
    pub fn put(&mut self, bytes: Vec<u8>) -> u64 {
        let address = TABLES + self.next;
        self.next += (bytes.len() as u64 + 64) & !15;
        self.put_at(address, bytes);
        address
    }

    pub fn put_at(&mut self, address: u64, bytes: Vec<u8>) {
        self.regions.push((address, bytes));
    }

    /// Puts tables and a first-version root pointer with an RSDT.
    pub fn with_rsdt(tables: &[Vec<u8>]) -> Self {
        let mut machine = Self::default();
        let addresses: Vec<u64> = tables.iter().map(|table| machine.put(table.clone())).collect();
        machine.root_by_rsdt(&addresses);
        machine
    }

    /// Puts a root pointer of revision 0 and an RSDT that lists `addresses`.
    pub fn root_by_rsdt(&mut self, addresses: &[u64]) {
        let entries: Vec<u8> = addresses.iter().flat_map(|&address| (address as u32).to_le_bytes()).collect();
        let rsdt = self.put(table(b"RSDT", 1, &entries));
        self.put_at(ROOT_POINTER, root_pointer(rsdt));
    }

    /// Puts a root pointer of revision 2, an XSDT that lists `addresses`, and a good RSDT that lists nothing.
    pub fn root_by_xsdt(&mut self, addresses: &[u64]) {
        let entries: Vec<u8> = addresses.iter().flat_map(|address| address.to_le_bytes()).collect();
        let xsdt = self.put(table(b"XSDT", 1, &entries));
        let rsdt = self.put(table(b"RSDT", 1, &[]));
        self.put_at(ROOT_POINTER, root_pointer_2(rsdt, xsdt));
    }

    /// All bytes of all regions, to spoil them.
    pub fn bytes_mut(&mut self) -> impl Iterator<Item = &mut u8> {
        self.regions.iter_mut().flat_map(|(_, bytes)| bytes.iter_mut())
    }

    /// Makes the checksums of all tables right again, so that a spoiled byte gets further.
    pub fn fix_checksums(&mut self) {
        for (address, bytes) in &mut self.regions {
            match *address {
                ROOT_POINTER => {
                    fix_checksum(&mut bytes[..20], 8);
                    if bytes.len() > 32 {
                        fix_checksum(bytes, 32);
                    }
                }
                _ => fix_checksum(bytes, 9),
            }
        }
    }
}

/// A root pointer of revision 0.
pub fn root_pointer(rsdt: u64) -> Vec<u8> {
    let mut bytes = b"RSD PTR \0CAPOS \0".to_vec();
    bytes.extend_from_slice(&(rsdt as u32).to_le_bytes());
    fix_checksum(&mut bytes, 8);
    bytes
}

/// A root pointer of revision 2.
pub fn root_pointer_2(rsdt: u64, xsdt: u64) -> Vec<u8> {
    let mut bytes = b"RSD PTR \0CAPOS \x02".to_vec();
    bytes.extend_from_slice(&(rsdt as u32).to_le_bytes());
    fix_checksum(&mut bytes, 8);
    bytes.extend_from_slice(&36u32.to_le_bytes());
    bytes.extend_from_slice(&xsdt.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    fix_checksum(&mut bytes, 32);
    bytes
}

pub fn local_apic(id: u8, flags: u32) -> Vec<u8> {
    [&[0, 8, id, id][..], &flags.to_le_bytes()].concat()
}

pub fn local_x2apic(id: u32, flags: u32) -> Vec<u8> {
    [&[9, 16, 0, 0][..], &id.to_le_bytes(), &flags.to_le_bytes(), &id.to_le_bytes()].concat()
}

pub fn io_apic(address: u32, first_gsi: u32) -> Vec<u8> {
    [&[1, 12, 0, 0][..], &address.to_le_bytes(), &first_gsi.to_le_bytes()].concat()
}

pub fn source_override(irq: u8, gsi: u32, flags: u16) -> Vec<u8> {
    [&[2, 10, 0, irq][..], &gsi.to_le_bytes(), &flags.to_le_bytes()].concat()
}

pub fn madt(entries: &[Vec<u8>]) -> Vec<u8> {
    let fixed = [0xfee0_0000u32.to_le_bytes(), 1u32.to_le_bytes()].concat();
    table(b"APIC", 1, &[fixed, entries.concat()].concat())
}

pub fn mcfg(regions: &[(u64, u16, u8, u8)]) -> Vec<u8> {
    let mut contents = vec![0; 8];
    for (base, segment, first, last) in regions {
        contents.extend_from_slice(&base.to_le_bytes());
        contents.extend_from_slice(&segment.to_le_bytes());
        contents.extend_from_slice(&[*first, *last, 0, 0, 0, 0]);
    }
    table(b"MCFG", 1, &contents)
}

pub fn hpet(space: u8, address: u64) -> Vec<u8> {
    let mut contents = 0x8086_a201u32.to_le_bytes().to_vec();
    contents.extend_from_slice(&[space, 64, 0, 0]);
    contents.extend_from_slice(&address.to_le_bytes());
    contents.extend_from_slice(&[0; 4]);
    table(b"HPET", 1, &contents)
}

/// A DSDT that says how to switch off by type 5, among other code.
pub fn dsdt() -> Vec<u8> {
    table(b"DSDT", 1, b"\x10\x08_SB_\x08_S5_\x12\x0a\x04\x0a\x05\x0a\x05\0\0\x5b\x82")
}

/// The parts of an FADT that tests vary.
pub struct FadtParts {
    pub revision: u8,
    pub length: usize,
    pub dsdt: u64,
    pub pm_timer: u32,
    pub pm1a_control: u32,
    pub flags: u32,
    pub reset: (u8, u64, u8),
}

impl FadtParts {
    pub fn build(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.length.max(244)];
        let mut put =
            |offset: usize, value: &[u8]| bytes[offset..offset + value.len()].copy_from_slice(value);
        put(40, &(self.dsdt as u32).to_le_bytes());
        put(46, &9u16.to_le_bytes());
        put(64, &self.pm1a_control.to_le_bytes());
        put(76, &self.pm_timer.to_le_bytes());
        put(88, &[4, 2, 0, 4]);
        put(112, &self.flags.to_le_bytes());
        put(116, &[self.reset.0, 8, 0, 0]);
        put(120, &self.reset.1.to_le_bytes());
        put(128, &[self.reset.2]);
        table(b"FACP", self.revision, &bytes[HEADER..self.length])
    }
}

/// A device scope of a remapping unit.
pub fn dmar_scope(kind: u8, id: u8, bus: u8, path: &[u8]) -> Vec<u8> {
    [&[kind, 6 + path.len() as u8, 0, 0, id, bus][..], path].concat()
}

/// A remapping unit.
pub fn dmar_unit(flags: u8, segment: u16, address: u64, scopes: &[Vec<u8>]) -> Vec<u8> {
    let scopes = scopes.concat();
    let length = 16 + scopes.len() as u16;
    let fixed = [&[0, 0][..], &length.to_le_bytes(), &[flags, 0], &segment.to_le_bytes()].concat();
    [fixed, address.to_le_bytes().to_vec(), scopes].concat()
}

pub fn dmar(flags: u8, structures: &[Vec<u8>]) -> Vec<u8> {
    let mut contents = vec![38, flags];
    contents.extend_from_slice(&[0; 10]);
    contents.extend_from_slice(&structures.concat());
    table(b"DMAR", 1, &contents)
}
