//! Bringing a device up: reset, features, ready.
//!
//! ```text
//!   any --begin_reset--> resetting --is_reset--> reset --negotiate--> negotiated --(queues)--finish--> live
//!                                                                          \--give_up--> failed
//! ```
//!
//! [VIRTIO-1.2 3.1.1]; the crate's `begin_init` is not used, since it does not check that the device took the
//! features, and neither is its `read_consistent`, which a device can keep busy for ever.

use crate::transport::PciTransport;
use core::fmt;
use virtio_drivers::transport::{DeviceStatus, Transport};

/// Feature bits of all devices [VIRTIO-1.2 6].
pub mod features {
    /// A legacy device takes chains whose parts are cut at any place.
    pub const ANY_LAYOUT: u64 = 1 << 27;
    /// Virtio 1.0 and later; every modern device offers it and every modern driver accepts it.
    pub const VERSION_1: u64 = 1 << 32;
    /// The device reaches memory through an IOMMU, by the bus addresses that the DMA pool gives.
    pub const ACCESS_PLATFORM: u64 = 1 << 33;
    /// Memory is ordered as for a hardware device; on x86 the same barriers do.
    pub const ORDER_PLATFORM: u64 = 1 << 36;
}

/// How often a changing configuration is read again.
const READ_ATTEMPTS: u32 = 16;

/// Why a device cannot be brought up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetupError {
    /// It does not answer: all registers read as ones.
    Gone,
    /// It did not come out of reset in time.
    ResetTimeout,
    /// A modern device without [`features::VERSION_1`].
    NotModern,
    /// It refused features that it offers itself.
    FeaturesRefused(u64),
    /// Its configuration is too small, or keeps changing while it is read.
    Configuration,
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => write!(f, "the device does not answer"),
            Self::ResetTimeout => write!(f, "the device does not reset"),
            Self::NotModern => write!(f, "a modern device without VIRTIO_F_VERSION_1"),
            Self::FeaturesRefused(features) => write!(f, "the device refused its own features {features:#x}"),
            Self::Configuration => write!(f, "the device's configuration cannot be read"),
        }
    }
}

impl core::error::Error for SetupError {}

/// Starts a reset; the device stops using memory at the latest when [`is_reset`] says so.
pub fn begin_reset(transport: &mut PciTransport) {
    transport.set_status(DeviceStatus::empty());
}

/// Whether the reset is done [VIRTIO-1.2 4.1.4.3.2]. To be asked again after a pause, up to a deadline.
pub fn is_reset(transport: &PciTransport) -> bool {
    transport.get_status() == DeviceStatus::empty()
}

/// Takes a reset device through negotiation and returns the features that both sides have.
///
/// `choose` gets what the device offers and says what the driver can do; it may read the configuration to find out
/// [VIRTIO-1.2 3.1.1]. What was not offered is never accepted.
pub fn negotiate(
    transport: &mut PciTransport,
    choose: impl FnOnce(&PciTransport, u64) -> u64,
) -> Result<u64, SetupError> {
    let mut status = DeviceStatus::ACKNOWLEDGE;
    transport.set_status(status);
    status |= DeviceStatus::DRIVER;
    transport.set_status(status);
    if transport.get_status() != status {
        return Err(SetupError::Gone);
    }
    // Of a legacy device's features only the low 32 bits exist, and its transport offers no more.
    let offered = transport.read_device_features();
    let accepted = offered & (choose(transport, offered) | features::VERSION_1);
    if let PciTransport::Modern(_) = transport {
        if accepted & features::VERSION_1 == 0 {
            give_up(transport);
            return Err(SetupError::NotModern);
        }
        transport.write_driver_features(accepted);
        status |= DeviceStatus::FEATURES_OK;
        transport.set_status(status);
        if !transport.get_status().contains(DeviceStatus::FEATURES_OK) {
            give_up(transport);
            return Err(SetupError::FeaturesRefused(accepted));
        }
    } else {
        // A legacy device has no FEATURES_OK [VIRTIO-1.2 3.1.2].
        transport.write_driver_features(accepted);
    }
    Ok(accepted)
}

/// Lets a negotiated device with its queues set up start.
pub fn finish(transport: &mut PciTransport) {
    let status = transport.get_status() | DeviceStatus::DRIVER_OK;
    transport.set_status(status);
}

/// Tells the device that the driver cannot use it.
pub fn give_up(transport: &mut PciTransport) {
    let status = transport.get_status() | DeviceStatus::FAILED;
    transport.set_status(status);
}

/// Reads several fields of the device-specific configuration as they stood at one time.
///
/// A modern device counts changes; of a legacy one the fields are read until they read twice the same
/// [VIRTIO-1.2 2.5.4].
pub fn read_stable<T: PartialEq>(
    transport: &PciTransport,
    read: impl Fn(&PciTransport) -> Option<T>,
) -> Result<T, SetupError> {
    let mut before = (transport.read_config_generation(), read(transport).ok_or(SetupError::Configuration)?);
    for _ in 0..READ_ATTEMPTS {
        let after = (transport.read_config_generation(), read(transport).ok_or(SetupError::Configuration)?);
        if before == after {
            return Ok(after.1);
        }
        before = after;
    }
    Err(SetupError::Configuration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Msix, fake::FakeDevice};
    use virtio_drivers::transport::DeviceType;

    const WANTED: u64 = 1 << 5 | 1 << 16;

    #[test]
    fn only_what_both_sides_know_is_accepted() {
        let device = FakeDevice::new(&[], &[], 1 << 5 | 1 << 15 | 1 << 34 | features::ACCESS_PLATFORM);
        let mut transport = device.modern(DeviceType::Network);
        begin_reset(&mut transport);
        assert!(is_reset(&transport));
        assert_eq!(negotiate(&mut transport, |_, _| WANTED), Ok(1 << 5 | features::VERSION_1));
        assert_eq!(
            device.with(|state| (state.accepted, state.status)),
            (1 << 5 | features::VERSION_1, 0b1011)
        );
        finish(&mut transport);
        assert_eq!(device.with(|state| state.status), 0b1111);
    }

    #[test]
    fn a_legacy_device_has_no_features_ok() {
        let device = FakeDevice::new(&[], &[], u64::MAX);
        let mut transport = device.legacy(DeviceType::Network, Msix::Off);
        begin_reset(&mut transport);
        assert_eq!(negotiate(&mut transport, |_, _| WANTED | 1 << 40), Ok(WANTED));
        assert_eq!(device.with(|state| (state.accepted, state.status)), (WANTED, 0b0011));
    }

    #[test]
    fn a_device_that_refuses_or_is_too_old_is_given_up() {
        let device = FakeDevice::new(&[], &[], WANTED);
        let mut transport = device.modern(DeviceType::Network);
        device.with(|state| state.refuses_features = true);
        assert_eq!(
            negotiate(&mut transport, |_, _| WANTED),
            Err(SetupError::FeaturesRefused(WANTED | features::VERSION_1))
        );
        assert_eq!(device.with(|state| state.status & 0x80), 0x80, "failed");
        device.with(|state| state.offered = WANTED);
        assert_eq!(negotiate(&mut transport, |_, _| WANTED), Err(SetupError::NotModern));
    }

    #[test]
    fn a_slow_reset_is_seen() {
        let device = FakeDevice::new(&[], &[], 0);
        let mut transport = device.modern(DeviceType::Network);
        device.with(|state| state.slow_reset = 2);
        begin_reset(&mut transport);
        assert!(!is_reset(&transport) && !is_reset(&transport) && is_reset(&transport));
    }

    #[test]
    fn a_restless_configuration_is_an_error() {
        let device = FakeDevice::new(&[], &[1, 2, 3, 4], 0);
        for transport in [device.modern(DeviceType::Network), device.legacy(DeviceType::Network, Msix::Off)] {
            let read = |transport: &PciTransport| Some((transport.config_u8(0)?, transport.config_u16(2)?));
            device.with(|state| (state.restless, state.config[0]) = (false, 1));
            assert_eq!(read_stable(&transport, read), Ok((1, 0x0403)));
            device.with(|state| state.restless = true);
            assert_eq!(read_stable(&transport, read), Err(SetupError::Configuration));
        }
    }

    #[test]
    fn the_configuration_ends_where_it_ends() {
        let device = FakeDevice::new(&[], &[1, 2, 3], 0);
        for transport in [device.modern(DeviceType::Network), device.legacy(DeviceType::Network, Msix::On)] {
            assert_eq!((transport.config_u8(2), transport.config_u8(3)), (Some(3), None));
            assert_eq!((transport.config_u16(1), transport.config_u16(2)), (Some(0x0302), None));
            assert_eq!(transport.config_u16(u32::MAX), None);
        }
    }
}
