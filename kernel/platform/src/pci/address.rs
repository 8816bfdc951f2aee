//! Where a function is.

use core::fmt;

/// Segment, bus, device and function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciAddress {
    segment: u16,
    bus: u8,
    device: u8,
    function: u8,
}

impl PciAddress {
    /// Devices on a bus.
    pub const DEVICES: u8 = 32;
    /// Functions of a device.
    pub const FUNCTIONS: u8 = 8;

    /// An address; `None` for a device past 31 or a function past 7.
    pub const fn new(segment: u16, bus: u8, device: u8, function: u8) -> Option<Self> {
        if device < Self::DEVICES && function < Self::FUNCTIONS {
            Some(Self { segment, bus, device, function })
        } else {
            None
        }
    }

    /// The segment: one configuration space of 256 buses.
    pub const fn segment(self) -> u16 {
        self.segment
    }

    /// The bus.
    pub const fn bus(self) -> u8 {
        self.bus
    }

    /// The device, 0 to 31.
    pub const fn device(self) -> u8 {
        self.device
    }

    /// The function, 0 to 7.
    pub const fn function(self) -> u8 {
        self.function
    }

    /// Device and function as configuration space counts them, 0 to 255.
    pub(super) const fn device_function(self) -> u8 {
        self.device << 3 | self.function
    }

    /// What the function's requests carry on their way to memory: bus, device and function. [PCIe-6.0 2.2.6.2]
    pub const fn requester(self) -> u16 {
        (self.bus as u16) << 8 | self.device_function() as u16
    }

    /// Segment, bus, device and function in one number: 16, 8, 5 and 3 bits.
    pub const fn to_bits(self) -> u32 {
        (self.segment as u32) << 16 | (self.bus as u32) << 8 | self.device_function() as u32
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04x}:{:02x}:{:02x}.{}", self.segment, self.bus, self.device, self.function)
    }
}
