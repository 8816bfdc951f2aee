//! Finding all functions: each bus once, from the root buses down through the bridges.

use super::bars::{self, Surroundings, Windows};
use super::capabilities::{self, Capabilities};
use super::message::{MsiCapability, MsixCapability};
use super::{
    Bar, ConfigurationSpace, Function, FunctionKind, Functions, MAXIMUM_BARS, MAXIMUM_FUNCTIONS, PciAddress,
    PowerManagement, Switch, command, register,
};
use crate::acpi::PlatformTables;
use crate::address::{PhysicalMemory, PhysicalRange};
use crate::processor;

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
    let mut walk =
        Walk { configuration, tables, memory, address_space: processor::address_space(), functions };
    walk.segment(0, 0);
    for region in &tables.ecam_regions {
        if !walk.knows_bus(region.segment, region.first_bus) {
            walk.segment(region.segment, region.first_bus);
        }
    }
    if functions.is_full() {
        log::error!("pci: more than {MAXIMUM_FUNCTIONS} functions; the rest is left out");
    }
}

/// The walk from the root buses down.
struct Walk<'a, C, M> {
    configuration: &'a mut C,
    tables: &'a PlatformTables,
    memory: &'a M,
    address_space: PhysicalRange,
    functions: &'a mut Functions,
}

/// A bus that is walked.
struct Bus {
    segment: u16,
    number: u8,
    /// Last bus that a bridge on this one may lead to.
    last: u8,
    /// What reaches the bus; `None` for everything.
    windows: Option<Windows>,
}

impl<C: ConfigurationSpace, M: PhysicalMemory> Walk<'_, C, M> {
    fn knows_bus(&self, segment: u16, bus: u8) -> bool {
        self.functions.iter().any(|known| known.address.segment() == segment && known.address.bus() == bus)
    }

    /// Walks a root bus and all buses behind its bridges. A bus behind a bridge has a higher number than the bus that
    /// the bridge is on, so counting up meets each one after its bridge, and a loop cannot be written down.
    fn segment(&mut self, segment: u16, root: u8) {
        let mut found = BusSet::default();
        found.insert(root);
        for number in root..=u8::MAX {
            if !found.contains(number) || number != root && self.knows_bus(segment, number) {
                continue;
            }
            let bridge = self.functions.iter().find_map(|bridge| match bridge.kind {
                FunctionKind::Bridge { secondary, subordinate }
                    if secondary == number && number != root && bridge.address.segment() == segment =>
                {
                    Some((bridge.address, bridge.class, subordinate))
                }
                _ => None,
            });
            let (last, windows) = match bridge {
                None => (u8::MAX, None),
                Some((_, SUBTRACTIVE_BRIDGE_TO_PCI, subordinate)) => (subordinate, None),
                Some((address, _, subordinate)) => {
                    (subordinate, Some(Windows::read(self.configuration, address)))
                }
            };
            self.bus(&Bus { segment, number, last, windows }, &mut found);
        }
    }

    /// Walks the devices of one bus, and adds the buses that its bridges lead to.
    fn bus(&mut self, bus: &Bus, found: &mut BusSet) {
        for device in 0..PciAddress::DEVICES {
            for function in 0..PciAddress::FUNCTIONS {
                let Some(address) = PciAddress::new(bus.segment, bus.number, device, function) else {
                    continue;
                };
                let vendor = self.configuration.read_u16(address, register::VENDOR);
                let is_present = vendor != NO_VENDOR && vendor != 0;
                if is_present && !self.function(address, bus, found) {
                    return;
                }
                // Only function 0 says whether there are others.
                if function == 0 && !(is_present && self.has_more_functions(address)) {
                    break;
                }
            }
        }
    }

    fn has_more_functions(&mut self, first: PciAddress) -> bool {
        self.configuration.read_u8(first, register::HEADER_TYPE) & MULTIPLE_FUNCTIONS != 0
    }

    /// Adds one function; false when there is no room for more.
    fn function(&mut self, address: PciAddress, bus: &Bus, found: &mut BusSet) -> bool {
        if self.functions.is_full() {
            return false;
        }
        let surroundings = Surroundings {
            tables: self.tables,
            memory: self.memory,
            known: self.functions.as_slice(),
            address_space: self.address_space,
            windows: bus.windows,
        };
        let mut function = read_function(self.configuration, address, &surroundings);
        if let FunctionKind::Bridge { secondary, subordinate } = function.kind {
            let is_sane = secondary > bus.number
                && secondary <= subordinate
                && subordinate <= bus.last
                && !found.contains(secondary);
            if is_sane {
                found.insert(secondary);
            } else {
                log::error!(
                    "pci: {address}: bridge to impossible buses {secondary:#x} to {subordinate:#x}; not followed"
                );
                function.kind = FunctionKind::Bridge { secondary: 0, subordinate: 0 };
            }
        }
        prepare(self.configuration, &function, self.memory);
        self.functions.push(function);
        true
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
        if !found.fits() {
            log::error!("pci: {address}: {found:x?} runs past the space; left out");
            continue;
        }
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
