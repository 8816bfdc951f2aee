//! The parts of the loader that do not touch the machine: reading what multiboot and the kernel's file
//! say, and building the memory map, the page tables and the answers to the kernel's requests.
//!
//! The loader is a *multiboot 1 and 2 to Limine boot protocol adapter*. GRUB (multiboot 2) or QEMU's
//! `-kernel` (multiboot 1) loads it with two modules, the kernel and the boot package; it hands the
//! machine over as the Limine boot protocol says, so that the kernel speaks one protocol only.
//!
//! Sources: MB1 is the Multiboot Specification 0.6.96, MB2 the Multiboot2 Specification 2.0, LIMINE the Limine Boot
//! Protocol, ELF-64 the ELF-64 Object File Format 1.5, SDM the Intel 64 manual's volume 3.
#![cfg_attr(not(test), no_std)]
// Only the tests, which read answers through the `limine` crate as a kernel would, need more.
#![cfg_attr(not(test), forbid(unsafe_code))]

pub mod boot_info;
pub mod image;
pub mod memory_map;
pub mod multiboot1;
pub mod multiboot2;
pub mod page_table;
pub mod plan;
pub mod requests;
pub mod responses;
pub mod rsdp;

/// Bytes of a page, the unit of all mappings.
pub const PAGE_SIZE: u64 = 4096;

/// Where all physical memory is mapped (the higher half direct map).
pub const HHDM: u64 = 0xffff_8000_0000_0000;

/// End of the addresses that the loader itself can reach: it maps 4 GiB, and multiboot gives 32-bit
/// addresses only.
pub const REACHABLE_END: u64 = 1 << 32;

/// The machine's physical memory, as boot information points into it.
pub trait PhysicalMemory {
    /// The bytes at an address; `None` where the loader cannot read.
    fn bytes(&self, address: u64, length: usize) -> Option<&[u8]>;
}

/// The little-endian 32-bit number at `offset`.
fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let field = bytes.get(offset..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*field))
}

/// The little-endian 64-bit number at `offset`.
fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    let field = bytes.get(offset..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*field))
}
