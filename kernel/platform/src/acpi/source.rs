//! Tables as checked bytes: nothing is read past what the memory map, the header and the checksum vouch for.

use core::fmt;
use core::mem::MaybeUninit;

use ::acpi::rsdp::Rsdp;
use ::acpi::sdt::SdtHeader;
use ::acpi::sdt::fadt::Fadt;
use ::acpi::sdt::hpet::HpetTable;
use ::acpi::sdt::madt::{
    InterruptSourceOverrideEntry, IoApicEntry, LocalApicAddressOverrideEntry, LocalApicEntry,
    LocalApicNmiEntry, LocalX2ApicEntry, Madt, X2ApicNmiEntry,
};
use ::acpi::sdt::mcfg::{Mcfg, McfgEntry};

use super::TableDescription;
use crate::address::{PhysicalAddress, PhysicalMemory};

/// Longest table that is read; real ones, DSDT apart, have some KiB.
const MAXIMUM_LENGTH: usize = 4 << 20;
/// Most tables that the root table may list.
const MAXIMUM_ENTRIES: usize = 256;
/// Bytes of the root pointer's first version, which its first checksum covers. [ACPI-6.5 table 5.3]
const ROOT_POINTER_V1_LENGTH: usize = 20;

/// What is wrong with a table; always the firmware's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TableError {
    /// It is not in RAM or firmware memory.
    OutsideMemory(PhysicalAddress, usize),
    /// It does not start with the expected signature.
    WrongSignature(PhysicalAddress),
    /// Its length is impossible.
    WrongLength(PhysicalAddress, u32),
    /// Its bytes do not add up to 0.
    WrongChecksum(PhysicalAddress),
}

impl fmt::Display for TableError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::OutsideMemory(address, length) => {
                write!(formatter, "{length} bytes at {address} are not in RAM or firmware memory")
            }
            Self::WrongSignature(address) => write!(formatter, "wrong signature at {address}"),
            Self::WrongLength(address, length) => {
                write!(formatter, "impossible length {length} of the table at {address}")
            }
            Self::WrongChecksum(address) => write!(formatter, "wrong checksum of the table at {address}"),
        }
    }
}

/// Structures that are made of integers alone, so that any bytes are a value of them.
///
/// # Safety
/// Every bit pattern, zero padding included, is a valid value.
pub(super) unsafe trait Plain {}

macro_rules! plain {
    ($($type:ty),*) => { $(
        // SAFETY: a packed structure of integers, byte arrays and transparent wrappers of them. [acpi 6.1, sdt]
        unsafe impl Plain for $type {}
    )* };
}

plain!(LocalApicNmiEntry, X2ApicNmiEntry, Rsdp, SdtHeader, Fadt, HpetTable, Madt, Mcfg, McfgEntry);
plain!(
    LocalApicEntry,
    LocalX2ApicEntry,
    IoApicEntry,
    InterruptSourceOverrideEntry,
    LocalApicAddressOverrideEntry
);

/// The structure at the start of `bytes`; `None` when they are too few.
pub(super) fn read<T: Plain>(bytes: &[u8]) -> Option<T> {
    if bytes.len() < size_of::<T>() {
        return None;
    }
    // SAFETY: the bytes are there, `Plain` allows any of them, and the read does not need alignment.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// The structure at the start of `bytes`, with zeros for what they lack.
fn read_padded<T: Plain>(bytes: &[u8]) -> T {
    let mut value = MaybeUninit::<T>::zeroed();
    let length = bytes.len().min(size_of::<T>());
    // SAFETY: `length` bytes fit both sides, which do not overlap; `Plain` allows any bytes, and those not copied are zero.
    unsafe {
        core::ptr::copy_nonoverlapping(bytes.as_ptr(), value.as_mut_ptr().cast::<u8>(), length);
        value.assume_init()
    }
}

/// Bytes of firmware memory.
pub(super) fn bytes<M: PhysicalMemory>(
    address: PhysicalAddress,
    length: usize,
    memory: &M,
) -> Result<&[u8], TableError> {
    let outside = TableError::OutsideMemory(address, length);
    let pointer = memory.ram(address, length).ok_or(outside)?;
    // SAFETY: `ram` gives readable memory that stays. Nothing writes to it: the kernel does not, and at
    // this point of the boot no other processor and no driver runs.
    Ok(unsafe { core::slice::from_raw_parts(pointer.as_ptr(), length) })
}

/// A table whose length and checksum hold.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    header: SdtHeader,
    bytes: &'a [u8],
}

impl<'a> Table<'a> {
    pub(super) fn header(&self) -> &SdtHeader {
        &self.header
    }

    pub(super) fn signature(&self) -> [u8; 4] {
        self.bytes.first_chunk().copied().unwrap_or_default()
    }

    /// What the inventory keeps of this table at `address`.
    pub(super) fn description(&self, address: PhysicalAddress) -> TableDescription {
        let Self { header, .. } = *self;
        TableDescription {
            signature: self.signature(),
            address,
            length: header.length,
            revision: header.revision,
        }
    }

    /// The structure that the table starts with; `None` when the table is shorter.
    pub(super) fn fixed_part<T: Plain>(&self) -> Option<T> {
        read(self.bytes)
    }

    /// The structure that the table starts with, with zeros for fields that the table's version does not have.
    pub(super) fn padded_part<T: Plain>(&self) -> T {
        read_padded(self.bytes)
    }

    /// The bytes after the structure `T`.
    pub(super) fn after<T: Plain>(&self) -> &'a [u8] {
        self.bytes.get(size_of::<T>()..).unwrap_or_default()
    }
}

/// Reads and checks the table at an address.
pub(super) fn read_table<M: PhysicalMemory>(
    address: PhysicalAddress,
    memory: &M,
) -> Result<Table<'_>, TableError> {
    let start = bytes(address, size_of::<SdtHeader>(), memory)?;
    let header: SdtHeader = read_padded(start);
    let length = header.length as usize;
    if !(size_of::<SdtHeader>()..=MAXIMUM_LENGTH).contains(&length) {
        return Err(TableError::WrongLength(address, header.length));
    }
    // The signature type of the `acpi` crate can be printed only when it is text.
    if !header_is_text(start) {
        return Err(TableError::WrongSignature(address));
    }
    let bytes = bytes(address, length, memory)?;
    if !sums_to_zero(bytes) {
        return Err(TableError::WrongChecksum(address));
    }
    Ok(Table { header, bytes })
}

fn header_is_text(start: &[u8]) -> bool {
    start.first_chunk::<4>().is_some_and(|signature| signature.iter().all(u8::is_ascii_graphic))
}

fn sums_to_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)) == 0
}

/// The table that lists the others.
pub(super) struct Root<'a> {
    table: Table<'a>,
    entry_size: usize,
}

impl Root<'_> {
    /// Addresses of the listed tables, at most [`MAXIMUM_ENTRIES`], without empty ones.
    pub(super) fn entries(&self) -> impl Iterator<Item = PhysicalAddress> {
        let entries = self.table.after::<SdtHeader>();
        if entries.len() / self.entry_size > MAXIMUM_ENTRIES {
            log::error!("acpi: more than {MAXIMUM_ENTRIES} tables; the rest is left out");
        }
        entries
            .chunks_exact(self.entry_size)
            .take(MAXIMUM_ENTRIES)
            .map(|entry| entry.iter().rev().fold(0u64, |address, &byte| address << 8 | u64::from(byte)))
            .filter(|&address| address != 0)
            .map(PhysicalAddress)
    }
}

/// Follows the root pointer to the XSDT, or where that cannot be used, to the RSDT.
pub(super) fn read_root<M: PhysicalMemory>(
    root_pointer: PhysicalAddress,
    memory: &M,
) -> Result<Root<'_>, TableError> {
    let start = bytes(root_pointer, ROOT_POINTER_V1_LENGTH, memory)?;
    let first: Rsdp = read_padded(start);
    if first.signature() != *b"RSD PTR " {
        return Err(TableError::WrongSignature(root_pointer));
    }
    if !sums_to_zero(start) {
        return Err(TableError::WrongChecksum(root_pointer));
    }
    if first.revision() >= 2 {
        match read_xsdt(root_pointer, memory) {
            Ok(root) => return Ok(root),
            Err(error) => log::error!("acpi: {error}; the RSDT is used instead of the XSDT"),
        }
    }
    let table = read_table(PhysicalAddress(u64::from(first.rsdt_address())), memory)?;
    if table.signature() != *b"RSDT" {
        return Err(TableError::WrongSignature(PhysicalAddress(u64::from(first.rsdt_address()))));
    }
    Ok(Root { table, entry_size: 4 })
}

fn read_xsdt<M: PhysicalMemory>(root_pointer: PhysicalAddress, memory: &M) -> Result<Root<'_>, TableError> {
    let start = bytes(root_pointer, size_of::<Rsdp>(), memory)?;
    let pointer: Rsdp = read_padded(start);
    if pointer.revision() < 2 {
        return Err(TableError::WrongSignature(root_pointer));
    }
    // Its length field may be larger than the structure of this version, but not smaller.
    let length = pointer.length() as usize;
    if !(size_of::<Rsdp>()..=4096).contains(&length) {
        return Err(TableError::WrongLength(root_pointer, pointer.length()));
    }
    if !sums_to_zero(bytes(root_pointer, length, memory)?) {
        return Err(TableError::WrongChecksum(root_pointer));
    }
    let address = PhysicalAddress(pointer.xsdt_address());
    let table = read_table(address, memory)?;
    if table.signature() != *b"XSDT" {
        return Err(TableError::WrongSignature(address));
    }
    Ok(Root { table, entry_size: 8 })
}
