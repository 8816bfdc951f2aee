//! Which PCI function a match rule picks.

use core::fmt;
use manifest::DeviceMatch;
use schema::device_capnp::{pci_address, pci_function_info};

/// Address of a PCI function, in the order in which functions are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Segment group.
    pub segment: u16,
    /// Bus.
    pub bus: u8,
    /// Device, 0 to 31.
    pub device: u8,
    /// Function, 0 to 7.
    pub function: u8,
}

impl Address {
    /// Writes it into a request.
    pub fn write(self, mut to: pci_address::Builder<'_>) {
        to.set_segment(self.segment);
        to.set_bus(self.bus);
        to.set_device(self.device);
        to.set_function(self.function);
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.segment != 0 {
            write!(formatter, "{:04x}:", self.segment)?;
        }
        write!(formatter, "{:02x}:{:02x}.{}", self.bus, self.device, self.function)
    }
}

/// What of a PCI function a match rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Where it is.
    pub address: Address,
    /// Vendor.
    pub vendor: u16,
    /// Device number.
    pub device: u16,
    /// Class, subclass and programming interface.
    pub class: u32,
    /// Whether an IOMMU keeps its DMA inside what it was given.
    pub isolated: bool,
    /// The kernel's number of the process that holds it, 0 for none.
    pub owner: u32,
    /// How much the IOMMU refused it since power-on.
    pub refused: u64,
}

impl Function {
    /// From the kernel's inventory.
    ///
    /// # Errors
    /// When the message is malformed.
    pub fn read(info: pci_function_info::Reader<'_>) -> capnp::Result<Self> {
        let address = info.get_address()?;
        let address = Address {
            segment: address.get_segment(),
            bus: address.get_bus(),
            device: address.get_device(),
            function: address.get_function(),
        };
        Ok(Self {
            address,
            vendor: info.get_vendor(),
            device: info.get_device(),
            owner: info.get_owner(),
            refused: info.get_refused(),
            class: info.get_class(),
            isolated: info.get_isolated(),
        })
    }
}

/// The function that a rule picks: of those that fit, in address order, the one that it counts to.
pub fn pick(functions: &mut [Function], rule: &DeviceMatch) -> Option<Function> {
    functions.sort_unstable_by_key(|function| function.address);
    let mut fitting = functions.iter().filter(|one| rule.fits(one.vendor, one.device, one.class));
    fitting.nth(rule.index.into()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use manifest::{DmaMode, Presence};

    fn function(bus: u8, device: u8, vendor: u16, number: u16, class: u32) -> Function {
        let address = Address { segment: 0, bus, device, function: 0 };
        Function { address, vendor, device: number, class, isolated: false, owner: 0, refused: 0 }
    }

    fn rule(vendor: Option<u16>, devices: &[u16], class: Option<u32>, index: u16) -> DeviceMatch {
        let devices = devices.to_vec();
        DeviceMatch { vendor, devices, class, index, presence: Presence::Required, dma: DmaMode::None }
    }

    fn picked(rule: &DeviceMatch) -> Option<String> {
        let mut functions = [
            function(1, 0, 0x1af4, 0x1041, 0x02_0000),
            function(0, 2, 0x1af4, 0x1000, 0x02_0000),
            function(0, 3, 0x8086, 0x1000, 0x02_0000),
            function(0, 0, 0x8086, 0x29c0, 0x06_0000),
        ];
        pick(&mut functions, rule).map(|function| function.address.to_string())
    }

    #[test]
    fn every_field_that_is_set_must_fit() {
        assert_eq!(picked(&rule(Some(0x1af4), &[0x1000, 0x1041], None, 0)).as_deref(), Some("00:02.0"));
        assert_eq!(picked(&rule(Some(0x1af4), &[0x1041], None, 0)).as_deref(), Some("01:00.0"));
        assert_eq!(picked(&rule(Some(0x8086), &[], Some(0x02_0000), 0)).as_deref(), Some("00:03.0"));
        assert_eq!(picked(&rule(Some(0x10ec), &[], None, 0)), None);
    }

    #[test]
    fn the_index_counts_in_address_order() {
        let of_class = |index| picked(&rule(None, &[], Some(0x02_0000), index));
        assert_eq!(of_class(1).as_deref(), Some("00:03.0"));
        assert_eq!(of_class(2).as_deref(), Some("01:00.0"));
        assert_eq!(of_class(3), None);
    }

    #[test]
    fn a_segment_is_shown_where_there_is_one() {
        let address = Address { segment: 1, bus: 0x20, device: 0x1f, function: 7 };
        assert_eq!(address.to_string(), "0001:20:1f.7");
    }
}
