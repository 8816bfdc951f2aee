//! The DMAR table: Intel's IOMMUs and what is behind each. [VT-d-4.1 8]

use ::acpi::sdt::SdtHeader;
use arrayvec::ArrayVec;

use super::source::Table;
use super::{PlatformTables, push};
use crate::address::{PhysicalAddress, PhysicalMemory, PhysicalRange};

/// Most remapping units that are used.
pub const MAXIMUM_UNITS: usize = 8;
/// Most device scopes of a unit.
const MAXIMUM_SCOPES: usize = 16;
/// Most steps of a path: a bridge for each but the last.
const MAXIMUM_STEPS: usize = 4;

/// Bytes between the header and the first structure: host address width, flags, reserved. [VT-d-4.1 8.1]
const FIXED_BYTES: usize = 12;
/// The platform can remap interrupts.
const FLAG_INTERRUPT_REMAPPING: u8 = 1 << 0;

/// Types of remapping structures. [VT-d-4.1 8.2]
const TYPE_UNIT: u16 = 0;
const TYPE_RESERVED_MEMORY: u16 = 1;

/// Offsets in a DRHD structure. [VT-d-4.1 8.3]
const UNIT_FLAGS: usize = 4;
const UNIT_SEGMENT: usize = 6;
const UNIT_ADDRESS: usize = 8;
const UNIT_SCOPES: usize = 16;
/// The unit has all functions of the segment that no other unit lists.
const FLAG_INCLUDE_ALL: u8 = 1 << 0;

/// Bytes of a device scope before its path. [VT-d-4.1 8.3.1]
const SCOPE_BYTES: usize = 6;

/// What the DMAR says; empty without one.
#[derive(Clone, Debug, Default)]
pub struct DmaRemapping {
    /// The remapping units.
    pub units: ArrayVec<UnitDescription, MAXIMUM_UNITS>,
    /// Whether firmware allows interrupt remapping.
    pub interrupts: InterruptRemapping,
    /// Memory regions that firmware wants mapped for devices of its own. They are not: every function is silenced at boot.
    pub reserved_regions: u32,
}

impl DmaRemapping {
    /// No IOMMU.
    pub const fn none() -> Self {
        Self {
            units: ArrayVec::new_const(),
            interrupts: InterruptRemapping::Unsupported,
            reserved_regions: 0,
        }
    }
}

/// Whether the platform can remap interrupts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InterruptRemapping {
    /// It cannot.
    #[default]
    Unsupported,
    /// It can, if the units can.
    Supported,
}

/// One remapping unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitDescription {
    /// The PCI segment of all that is behind it.
    pub segment: u16,
    /// Where its registers are.
    pub address: PhysicalAddress,
    /// Which PCI functions are behind it.
    pub scope: UnitScope,
    /// What is listed for it: the functions, if its scope is a list, and I/O APICs in any case.
    pub listed: ArrayVec<Scope, MAXIMUM_SCOPES>,
}

impl UnitDescription {
    /// The first page of its registers. The fault and IOTLB registers may be further on; [`crate::vtd`] looks there.
    pub fn range(&self) -> Option<PhysicalRange> {
        PhysicalRange::new(self.address, 4096)
    }
}

/// Which PCI functions are behind a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitScope {
    /// Those that are listed.
    Listed,
    /// All of the segment that no other unit lists.
    Rest,
}

/// One device, or all devices behind a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// What it is.
    pub kind: ScopeKind,
    /// The bus where the path starts.
    pub bus: u8,
    /// Bridges from there on, and last the device. Never empty.
    pub path: ArrayVec<PathStep, MAXIMUM_STEPS>,
}

/// What a device scope names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeKind {
    /// A PCI function.
    Endpoint,
    /// A bridge and all that is behind it.
    Hierarchy,
    /// The I/O APIC with this id in the MADT.
    IoApic(u8),
    /// A timer that raises message interrupts, or a device that only ACPI names: not used.
    Other,
}

/// A device and function on the bus that the path has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathStep {
    /// 0 to 31.
    pub device: u8,
    /// 0 to 7.
    pub function: u8,
}

/// Takes over what the DMAR says; `None` when it is too short.
pub(super) fn read_dmar(
    table: &Table<'_>,
    memory: &impl PhysicalMemory,
    tables: &mut PlatformTables,
) -> Option<()> {
    let body = table.after::<SdtHeader>();
    let (fixed, structures) = body.split_at_checked(FIXED_BYTES)?;
    let remapping = &mut tables.dma_remapping;
    if fixed.get(1)? & FLAG_INTERRUPT_REMAPPING != 0 {
        remapping.interrupts = InterruptRemapping::Supported;
    }
    for structure in Chunks::new(structures, 2) {
        let Some(structure) = structure else {
            log::error!("acpi: structure of impossible length in the DMAR; the rest is left out");
            break;
        };
        match structure.first_chunk().map(|kind| u16::from_le_bytes(*kind)) {
            Some(TYPE_UNIT) => match read_unit(structure, memory) {
                Some(unit) if !contradicts(&remapping.units, &unit) => {
                    push("remapping units", &mut remapping.units, unit);
                }
                _ => log::error!("acpi: unusable remapping unit in the DMAR; left out"),
            },
            Some(TYPE_RESERVED_MEMORY) => remapping.reserved_regions += 1,
            _ => {}
        }
    }
    Some(())
}

fn contradicts(known: &[UnitDescription], new: &UnitDescription) -> bool {
    known.iter().any(|known| {
        let both_rest = known.scope == UnitScope::Rest && new.scope == UnitScope::Rest;
        known.address == new.address || both_rest && known.segment == new.segment
    })
}

fn read_unit(bytes: &[u8], memory: &impl PhysicalMemory) -> Option<UnitDescription> {
    let segment = u16::from_le_bytes(*bytes.get(UNIT_SEGMENT..)?.first_chunk()?);
    let address = PhysicalAddress(u64::from_le_bytes(*bytes.get(UNIT_ADDRESS..)?.first_chunk()?));
    let page = PhysicalRange::new(address, 4096)?;
    if address.0 == 0 || !address.0.is_multiple_of(4096) || memory.overlaps_ram(page) {
        return None;
    }
    let all = bytes.get(UNIT_FLAGS)? & FLAG_INCLUDE_ALL != 0;
    let scope = if all { UnitScope::Rest } else { UnitScope::Listed };
    let mut listed = ArrayVec::new();
    for scope in Chunks::new(bytes.get(UNIT_SCOPES..)?, 1) {
        // A device that is left out would be behind no unit, or behind the wrong one.
        listed.try_push(read_scope(scope?)?).ok()?;
    }
    Some(UnitDescription { segment, address, scope, listed })
}

fn read_scope(bytes: &[u8]) -> Option<Scope> {
    let (&[kind, _, _, _, id, bus], path) = bytes.split_first_chunk::<SCOPE_BYTES>()?;
    let kind = match kind {
        1 => ScopeKind::Endpoint,
        2 => ScopeKind::Hierarchy,
        3 => ScopeKind::IoApic(id),
        _ => ScopeKind::Other,
    };
    let mut steps = ArrayVec::new();
    for step in path.chunks_exact(2) {
        let &[device, function] = step else { return None };
        if device > 31 || function > 7 {
            return None;
        }
        steps.try_push(PathStep { device, function }).ok()?;
    }
    (!steps.is_empty() && path.len() % 2 == 0).then_some(Scope { kind, bus, path: steps })
}

/// Structures that follow each other, each with its own length. It ends with `None` at the first whose length is impossible.
struct Chunks<'a> {
    rest: &'a [u8],
    /// Bytes of the type before the length, and of the length.
    width: usize,
}

impl<'a> Chunks<'a> {
    const fn new(rest: &'a [u8], width: usize) -> Self {
        Self { rest, width }
    }

    fn length(&self) -> usize {
        let field = self.rest.get(self.width..self.width * 2).unwrap_or_default();
        field.iter().rev().fold(0, |length, &byte| length << 8 | usize::from(byte))
    }
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let length = self.length();
        match self.rest.split_at_checked(length) {
            Some((chunk, rest)) if length >= 2 * self.width => {
                self.rest = rest;
                Some(Some(chunk))
            }
            _ => {
                self.rest = &[];
                Some(None)
            }
        }
    }
}
