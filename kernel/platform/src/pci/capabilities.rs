//! The capability list: a linked list in the first 256 bytes of configuration space. [PCI-3.0 6.7]

use super::{ConfigurationSpace, PciAddress, register};

/// Capabilities that fit after the 64 bytes of the header; a longer list runs in circles.
const MAXIMUM_STEPS: usize = 48;
const FIRST_OFFSET: u8 = 0x40;
const STATUS_HAS_LIST: u16 = 1 << 4;

pub(super) const POWER_MANAGEMENT: u8 = 0x01;
pub(super) const MSI: u8 = 0x05;
pub(super) const EXPRESS: u8 = 0x10;
pub(super) const MSIX: u8 = 0x11;
pub(super) const ADVANCED_FEATURES: u8 = 0x13;

/// Bytes that the capabilities which this crate uses have at least.
const LENGTHS: [(u8, u16); 5] =
    [(POWER_MANAGEMENT, 8), (MSI, 10), (EXPRESS, 0x14), (MSIX, 12), (ADVANCED_FEATURES, 6)];

/// End of the space that capabilities lie in.
pub(super) const SPACE: u16 = 256;

/// One capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Its id.
    pub id: u8,
    /// Where it is, 0x40 to 0xfc.
    pub offset: u16,
}

/// How a function's reset is asked for, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetCapability {
    /// By the PCI Express capability at this offset. [PCIe-6.0 6.6.2]
    Express(u16),
    /// By the Advanced Features capability at this offset. [PCI-AF]
    AdvancedFeatures(u16),
    /// By leaving power state D0, with the power management capability at this offset. [PCI-PM-1.2 5.4]
    PowerState(u16),
}

/// The power management capability. [PCI-PM-1.2 3.2]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerManagement {
    /// Where it is.
    pub offset: u16,
}

impl Capability {
    /// Whether the fields that this crate uses lie inside the space.
    pub(super) fn fits(self) -> bool {
        let length = LENGTHS.iter().find(|(id, _)| *id == self.id).map_or(2, |(_, length)| *length);
        self.offset + length <= SPACE
    }
}

/// The capabilities of one function, in list order. Ends at an offset that is outside, or that was visited.
pub(super) struct Capabilities<'a, C> {
    configuration: &'a mut C,
    address: PciAddress,
    next: u8,
    visited: u64,
}

impl<'a, C: ConfigurationSpace> Capabilities<'a, C> {
    /// Starts at the head of the list of a function with a header of type 0 or 1.
    pub(super) fn new(configuration: &'a mut C, address: PciAddress) -> Self {
        let status = configuration.read_u16(address, register::STATUS);
        let next = if status & STATUS_HAS_LIST != 0 {
            configuration.read_u8(address, register::CAPABILITIES)
        } else {
            0
        };
        Self { configuration, address, next, visited: 0 }
    }
}

impl<C: ConfigurationSpace> Iterator for Capabilities<'_, C> {
    type Item = Capability;

    fn next(&mut self) -> Option<Capability> {
        // The low two bits are reserved and must be masked.
        let at = self.next & 0xfc;
        if at == 0 {
            return None;
        }
        let bit = 1u64 << (at >> 2);
        if at < FIRST_OFFSET || self.visited & bit != 0 {
            log::error!(
                "pci: {}: bad link {at:#x} in the capability list; the rest is left out",
                self.address
            );
            self.next = 0;
            return None;
        }
        self.visited |= bit;
        let [id, next] = self.configuration.read_u16(self.address, u16::from(at)).to_le_bytes();
        self.next = next;
        Some(Capability { id, offset: u16::from(at) })
    }
}

/// The next capability with an id after the one at `start`, or the first for 0; `None` when there is none.
pub fn find_capability(
    configuration: &mut impl ConfigurationSpace,
    address: PciAddress,
    id: u8,
    start: u16,
) -> Option<Capability> {
    let mut list = Capabilities::new(configuration, address).take(MAXIMUM_STEPS);
    if start != 0 {
        list.find(|capability| capability.offset == start)?;
    }
    list.find(|capability| capability.id == id)
}

const EXPRESS_DEVICE_CAPABILITIES: u16 = 0x04;
const EXPRESS_FUNCTION_LEVEL_RESET: u32 = 1 << 28;
const FEATURES_LENGTH: u16 = 0x02;
const FEATURES_CAPABILITIES: u16 = 0x03;
const FEATURES_BYTES: u8 = 6;
const FEATURES_PENDING_AND_RESET: u8 = 0b11;
const POWER_CONTROL: u16 = 0x04;
const POWER_NO_SOFT_RESET: u16 = 1 << 3;

/// How a function can be reset, by what its capabilities say.
pub(super) fn find_reset(
    configuration: &mut impl ConfigurationSpace,
    address: PciAddress,
    express: Option<u16>,
    power_management: Option<PowerManagement>,
) -> Option<ResetCapability> {
    if let Some(offset) = express {
        let abilities = configuration.read_u32(address, offset + EXPRESS_DEVICE_CAPABILITIES);
        if abilities & EXPRESS_FUNCTION_LEVEL_RESET != 0 {
            return Some(ResetCapability::Express(offset));
        }
    }
    let features = find_capability(configuration, address, ADVANCED_FEATURES, 0).filter(|found| found.fits());
    if let Some(Capability { offset, .. }) = features {
        let length = configuration.read_u8(address, offset + FEATURES_LENGTH);
        let abilities = configuration.read_u8(address, offset + FEATURES_CAPABILITIES);
        let offers_both = abilities & FEATURES_PENDING_AND_RESET == FEATURES_PENDING_AND_RESET;
        if length >= FEATURES_BYTES && offers_both {
            return Some(ResetCapability::AdvancedFeatures(offset));
        }
    }
    let PowerManagement { offset } = power_management?;
    let control = configuration.read_u16(address, offset + POWER_CONTROL);
    (control & POWER_NO_SOFT_RESET == 0).then_some(ResetCapability::PowerState(offset))
}
