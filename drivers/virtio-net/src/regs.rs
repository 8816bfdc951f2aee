//! The device's configuration, read and checked.

use crate::offload;
use crate::spec::{
    DEFAULT_MTU, MAXIMUM_MTU, MINIMUM_MTU, STATUS_LINK_UP,
    config::{MAC, MTU, STATUS},
    feature,
};
use virtio::{PciTransport, SetupError, features, read_stable};

/// Whether a cable is plugged in, so to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Frames can pass.
    Up,
    /// They cannot.
    Down,
}

/// What a device said about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Features that were accepted.
    pub features: u64,
    /// MAC address; `None` when the device has none and the driver is to pick one.
    pub mac: Option<[u8; 6]>,
    /// Largest IP packet in bytes.
    pub mtu: u16,
    /// Link status; always up when the device does not say.
    pub link: Link,
}

/// What this driver can do of what the device offers.
pub fn choose(transport: &PciTransport, offered: u64) -> u64 {
    let mut supported = feature::MAC
        | feature::STATUS
        | offload::choose(offered)
        | features::ACCESS_PLATFORM
        | features::ORDER_PLATFORM;
    // Who accepts the MTU must take packets of that size [VIRTIO-1.2 5.1.4.2].
    if offered & feature::MTU != 0
        && transport.config_u16(MTU).is_some_and(|mtu| (MINIMUM_MTU..=MAXIMUM_MTU).contains(&mtu))
    {
        supported |= feature::MTU;
    }
    supported
}

/// Reads everything; the features are the accepted ones.
pub fn read_facts(transport: &PciTransport, features: u64) -> Result<Facts, SetupError> {
    read_stable(transport, |transport| {
        let mac = match features & feature::MAC {
            0 => None,
            _ => Some(read_mac(transport)?),
        };
        let mtu = match features & feature::MTU {
            0 => DEFAULT_MTU,
            // It may have changed since it was looked at in `choose`.
            _ => transport.config_u16(MTU)?.clamp(MINIMUM_MTU, MAXIMUM_MTU),
        };
        Some(Facts { features, mac, mtu, link: read_link(transport, features)? })
    })
}

/// Reads the link status.
pub fn read_link(transport: &PciTransport, features: u64) -> Option<Link> {
    if features & feature::STATUS == 0 {
        return Some(Link::Up);
    }
    let status = transport.config_u16(STATUS)?;
    Some(if status & STATUS_LINK_UP == 0 { Link::Down } else { Link::Up })
}

fn read_mac(transport: &PciTransport) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    for (byte, offset) in mac.iter_mut().zip(MAC..) {
        *byte = transport.config_u8(offset)?;
    }
    Some(mac)
}
