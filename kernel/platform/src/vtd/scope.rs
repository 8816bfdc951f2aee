//! Which unit a function is behind, and whether its requests can be told from others'.

use crate::acpi::{DmaRemapping, Scope, ScopeKind, UnitDescription, UnitScope};
use crate::pci::{Function, FunctionKind, PciAddress};

/// What is between a function and memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// Nothing.
    Direct,
    /// The unit with this index, by the function's own requester id.
    Unit(usize),
    /// The unit with this index, but behind a bridge that puts its own requester id in place of the function's, so that
    /// the function cannot be told from its neighbours. [VT-d-4.1 3.4.1, PCIe-to-PCI bridge spec 2.3]
    Shared(usize),
}

/// What is between a function and memory.
pub fn coverage(remapping: &DmaRemapping, functions: &[Function], function: &Function) -> Coverage {
    let address = function.address;
    let of_segment = |unit: &UnitDescription| unit.segment == address.segment();
    let lists = |unit: &UnitDescription| {
        of_segment(unit)
            && unit.scope == UnitScope::Listed
            && unit.listed.iter().any(|scope| contains(scope, address, functions))
    };
    let takes_rest = |unit: &UnitDescription| of_segment(unit) && unit.scope == UnitScope::Rest;
    let unit = remapping.units.iter().position(lists);
    match unit.or_else(|| remapping.units.iter().position(takes_rest)) {
        None => Coverage::Direct,
        Some(unit) if has_own_id(function, functions) => Coverage::Unit(unit),
        Some(unit) => Coverage::Shared(unit),
    }
}

/// The unit and the requester id of an I/O APIC, by its id in the MADT.
pub fn io_apic_source(remapping: &DmaRemapping, functions: &[Function], id: u8) -> Option<(usize, u16)> {
    remapping.units.iter().enumerate().find_map(|(index, unit)| {
        let scope = unit.listed.iter().find(|scope| scope.kind == ScopeKind::IoApic(id))?;
        let target = resolve(scope, unit.segment, functions)?;
        Some((index, target.requester()))
    })
}

fn contains(scope: &Scope, address: PciAddress, functions: &[Function]) -> bool {
    let Some(target) = resolve(scope, address.segment(), functions) else { return false };
    match scope.kind {
        ScopeKind::Endpoint => target == address,
        ScopeKind::Hierarchy => {
            target == address
                || behind(target, functions)
                    .is_some_and(|(first, last)| first != 0 && (first..=last).contains(&address.bus()))
        }
        ScopeKind::IoApic(_) | ScopeKind::Other => false,
    }
}

/// Follows a path through the bridges.
fn resolve(scope: &Scope, segment: u16, functions: &[Function]) -> Option<PciAddress> {
    let (last, bridges) = scope.path.split_last()?;
    let mut bus = scope.bus;
    for step in bridges {
        let bridge = PciAddress::new(segment, bus, step.device, step.function)?;
        bus = behind(bridge, functions)?.0;
    }
    PciAddress::new(segment, bus, last.device, last.function)
}

/// First and last bus behind a bridge.
fn behind(address: PciAddress, functions: &[Function]) -> Option<(u8, u8)> {
    let bridge = functions.iter().find(|function| function.address == address)?;
    match bridge.kind {
        FunctionKind::Bridge { secondary, subordinate } => Some((secondary, subordinate)),
        _ => None,
    }
}

/// Whether nothing on the way to the root bus speaks for the function: below the root, it and all bridges are PCI Express.
fn has_own_id(function: &Function, functions: &[Function]) -> bool {
    let bridges = functions.iter().filter(|bridge| {
        bridge.address.segment() == function.address.segment()
            && matches!(bridge.kind, FunctionKind::Bridge { secondary, subordinate }
                if secondary != 0 && (secondary..=subordinate).contains(&function.address.bus()))
    });
    let mut below_root = false;
    for bridge in bridges {
        below_root = true;
        if bridge.express.is_none() {
            return false;
        }
    }
    !below_root || function.express.is_some()
}
