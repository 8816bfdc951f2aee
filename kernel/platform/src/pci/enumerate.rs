//! Finding all functions: each bus once, from the root buses down through the bridges.

use super::bars::{self, Surroundings, Windows};
use super::capabilities::{self, Capabilities};
use super::message::{MsiCapability, MsixCapability};
use super::{
    Bar, ConfigurationSpace, Function, FunctionKind, Functions, MAXIMUM_BARS, MAXIMUM_FUNCTIONS, PciAddress,
    PowerManagement, Switch, command, register,
};
use crate::acpi::PlatformTables;
use crate::address::PhysicalMemory;

const NO_VENDOR: u16 = 0xffff;
const MULTIPLE_FUNCTIONS: u8 = 1 << 7;
const HEADER_LAYOUT: u8 = 0x7f;
const PRIMARY_BUS: u16 = 0x18;
const BRIDGE_TO_PCI: u32 = 0x06_0400;
/// The bridge also forwards what no other device takes.
const SUBTRACTIVE_BRIDGE_TO_PCI: u32 = 0x06_0401;

/// Finds all functions that can be reached, in order of bus, and silences the endpoints: none can start DMA or interrupt
/// afterwards. Bridges are made to forward.
pub fn enumerate(
    configuration: &mut impl ConfigurationSpace,
    tables: &PlatformTables,
    memory: &impl PhysicalMemory,
    functions: &mut Functions,
) {
    functions.clear();
    scan_segment(configuration, tables, memory, functions, 0, 0);
    for region in &tables.ecam_regions {
        let (segment, bus) = (region.segment, region.first_bus);
        let known =
            functions.iter().any(|found| found.address.segment() == segment && found.address.bus() == bus);
        if !known && (segment, bus) != (0, 0) {
            scan_segment(configuration, tables, memory, functions, segment, bus);
        }
    }
    if functions.is_full() {
        log::error!("pci: more than {MAXIMUM_FUNCTIONS} functions; the rest is left out");
    }
}

/// Buses of one segment, a bit each.
#[derive(Default)]
struct BusSet([u64; 4]);

impl BusSet {
    fn contains(&self, bus: u8) -> bool {
        self.0.get(usize::from(bus >> 6)).is_some_and(|word| word >> (bus & 63) & 1 == 1)
    }

    fn insert(&mut self, bus: u8) {
        if let Some(word) = self.0.get_mut(usize::from(bus >> 6)) {
            *word |= 1 << (bus & 63);
        }
    }
}

/// Scans a root bus and all buses behind its bridges. A bus behind a bridge has a higher number than the bus that the
/// bridge is on, so counting up meets each one after its bridge, and a loop cannot be written down.
fn scan_segment(
    configuration: &mut impl ConfigurationSpace,
    tables: &PlatformTables,
    memory: &impl PhysicalMemory,
    functions: &mut Functions,
    segment: u16,
    root: u8,
) {
    let mut buses = BusSet::default();
    buses.insert(root);
    for bus in root..=u8::MAX {
        if !buses.contains(bus) {
            continue;
        }
        let bridge = functions.iter().copied().find(|function| {
            let behind = matches!(function.kind, FunctionKind::Bridge { secondary, .. } if secondary == bus);
            behind && function.address.segment() == segment && bus != root
        });
        let last = match bridge.map(|bridge| bridge.kind) {
            Some(FunctionKind::Bridge { subordinate, .. }) => subordinate,
            _ => u8::MAX,
        };
        let windows = bridge
            .filter(|bridge| bridge.class != SUBTRACTIVE_BRIDGE_TO_PCI)
            .map(|bridge| Windows::read(configuration, bridge.address));
        for device in 0..PciAddress::DEVICES {
            for function in 0..PciAddress::FUNCTIONS {
                let Some(address) = PciAddress::new(segment, bus, device, function) else { continue };
                let vendor = configuration.read_u16(address, register::VENDOR);
                if vendor != NO_VENDOR && vendor != 0 {
                    let surroundings = Surroundings { tables, memory, known: functions.as_slice(), windows };
                    let mut found = read_function(configuration, address, &surroundings);
                    if let FunctionKind::Bridge { secondary, subordinate } = &mut found.kind {
                        let sane = *secondary > bus
                            && *secondary <= *subordinate
                            && *subordinate <= last
                            && !buses.contains(*secondary);
                        if sane {
                            buses.insert(*secondary);
                        } else {
                            log::error!(
                                "pci: {address}: bridge to impossible buses {secondary:#x} to {subordinate:#x}; not followed"
                            );
                            (*secondary, *subordinate) = (0, 0);
                        }
                    }
                    prepare(configuration, &found, memory);
                    if functions.try_push(found).is_err() {
                        return;
                    }
                }
                // Only function 0 says whether there are others.
                let header = configuration.read_u8(address, register::HEADER_TYPE);
                if function == 0 && (vendor == NO_VENDOR || header & MULTIPLE_FUNCTIONS == 0) {
                    break;
                }
            }
        }
    }
}

/// Endpoints are silenced; bridges forward what is behind them.
fn prepare(configuration: &mut impl ConfigurationSpace, found: &Function, memory: &impl PhysicalMemory) {
    match found.kind {
        FunctionKind::Endpoint => found.silence(configuration),
        FunctionKind::Bridge { secondary: 0, .. } | FunctionKind::Unknown => {
            found.set_bus_master(configuration, Switch::Off);
        }
        FunctionKind::Bridge { .. } => {
            let windows = Windows::read(configuration, found.address);
            let covers_memory = [windows.memory, windows.prefetchable]
                .into_iter()
                .flatten()
                .any(|window| memory.overlaps_ram(window));
            let memory_decode = if covers_memory { 0 } else { command::MEMORY_DECODE };
            let decode = command::IO_DECODE | memory_decode | command::BUS_MASTER;
            found.update_command(configuration, decode, 0);
        }
    }
}

fn read_function<M: PhysicalMemory>(
    configuration: &mut impl ConfigurationSpace,
    address: PciAddress,
    surroundings: &Surroundings<'_, M>,
) -> Function {
    let [_, class_low, class_middle, class_high] =
        configuration.read_u32(address, register::REVISION_AND_CLASS).to_le_bytes();
    let class = u32::from_le_bytes([class_low, class_middle, class_high, 0]);
    let layout = configuration.read_u8(address, register::HEADER_TYPE) & HEADER_LAYOUT;
    let kind = match layout {
        0 => FunctionKind::Endpoint,
        1 if class == BRIDGE_TO_PCI || class == SUBTRACTIVE_BRIDGE_TO_PCI => {
            let [_, secondary, subordinate, _] = configuration.read_u32(address, PRIMARY_BUS).to_le_bytes();
            FunctionKind::Bridge { secondary, subordinate }
        }
        _ => FunctionKind::Unknown,
    };
    let mut function = Function {
        address,
        vendor: configuration.read_u16(address, register::VENDOR),
        device: configuration.read_u16(address, register::VENDOR + 2),
        subsystem_vendor: 0,
        subsystem: 0,
        class,
        revision: configuration.read_u8(address, register::REVISION_AND_CLASS),
        kind,
        bars: [Bar::NONE; MAXIMUM_BARS],
        interrupt_pin: None,
        interrupt_line: 0,
        msi: None,
        msix: None,
        reset: None,
        power_management: None,
        express: None,
    };
    if kind == FunctionKind::Unknown {
        return function;
    }
    if kind == FunctionKind::Endpoint {
        function.subsystem_vendor = configuration.read_u16(address, register::SUBSYSTEM);
        function.subsystem = configuration.read_u16(address, register::SUBSYSTEM + 2);
    }
    function.bars = bars::read_all(configuration, address, kind, surroundings);
    let pin = configuration.read_u8(address, register::INTERRUPT_PIN);
    function.interrupt_pin = (1..=4).contains(&pin).then_some(pin);
    function.interrupt_line = configuration.read_u8(address, register::INTERRUPT_LINE);
    read_capabilities(configuration, &mut function);
    function
}

fn read_capabilities(configuration: &mut impl ConfigurationSpace, function: &mut Function) {
    let address = function.address;
    let mut offsets = [None; 4];
    let wanted =
        [capabilities::POWER_MANAGEMENT, capabilities::EXPRESS, capabilities::MSI, capabilities::MSIX];
    for found in Capabilities::new(configuration, address) {
        for (slot, id) in offsets.iter_mut().zip(wanted) {
            // Of two with one id the first counts.
            if found.id == id && slot.is_none() {
                *slot = Some(found.offset);
            }
        }
    }
    let [power_management, express, msi, msix] = offsets;
    function.power_management = power_management.map(|offset| PowerManagement { offset });
    function.express = express;
    function.reset = capabilities::find_reset(configuration, address, express, function.power_management);
    if function.kind == FunctionKind::Endpoint {
        function.msi = msi.and_then(|offset| MsiCapability::read(configuration, address, offset));
        function.msix =
            msix.and_then(|offset| MsixCapability::read(configuration, address, offset, &function.bars));
    }
}
