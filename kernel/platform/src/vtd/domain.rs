//! A domain: what one claimed function reaches.
//!
//! Pages are at their physical addresses for the function too. Addresses of the domain's own would hide where they are, and
//! protect nothing more; but a paravirtual device that goes around the IOMMU (virtio without `VIRTIO_F_ACCESS_PLATFORM`)
//! would take them for physical ones and write to others' memory.

use core::fmt;

use super::capability::Capability;
use super::tables::{Levels, SecondLevel, Table, TableMemory};
use crate::address::PhysicalAddress;

const PAGE: u64 = 4096;

/// An address as a function uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BusAddress(pub u64);

/// Why a domain cannot take more memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DomainError {
    /// The memory is not whole pages, or too high for the unit.
    Unreachable(PhysicalAddress),
    /// There is no memory for tables.
    OutOfMemory,
}

impl DomainError {
    /// The reason in words.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Unreachable(_) => "the IOMMU cannot reach the memory",
            Self::OutOfMemory => "no memory for the IOMMU's tables",
        }
    }
}

impl fmt::Display for DomainError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.reason())
    }
}

/// The memory of one claim. It only grows: all of it goes with the claim.
#[derive(Debug)]
pub struct Domain<M: TableMemory> {
    tables: SecondLevel<M>,
    levels: Levels,
    id: u16,
    address_bits: u8,
}

impl<M: TableMemory> Domain<M> {
    /// A domain that reaches nothing, with an id that no other has.
    pub fn new(memory: M, capability: &Capability, id: u16) -> Result<Self, DomainError> {
        let Capability { levels, address_bits, .. } = *capability;
        let tables = SecondLevel::new(memory, levels).map_err(|_| DomainError::OutOfMemory)?;
        Ok(Self { tables, levels, id, address_bits })
    }

    /// Its number in the units' caches.
    pub const fn id(&self) -> u16 {
        self.id
    }

    /// The table that walks start at.
    pub(super) const fn top(&self) -> Table {
        self.tables.top()
    }

    pub(super) const fn levels(&self) -> Levels {
        self.levels
    }

    /// Lets the function reach contiguous pages. The memory must be kept until the domain was detached.
    pub fn map(&mut self, start: PhysicalAddress, pages: u32) -> Result<BusAddress, DomainError> {
        let unreachable = DomainError::Unreachable(start);
        let end = start.checked_add(u64::from(pages) * PAGE).ok_or(unreachable)?;
        if !start.0.is_multiple_of(PAGE) || end.0 >> self.address_bits != 0 {
            return Err(unreachable);
        }
        self.tables.map(start.0, start, u64::from(pages)).map_err(|_| DomainError::OutOfMemory)?;
        Ok(BusAddress(start.0))
    }
}
