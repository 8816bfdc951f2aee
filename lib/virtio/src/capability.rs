//! Where a modern device keeps its register blocks: its vendor capabilities, checked against the BARs.
//!
//! [VIRTIO-1.2 4.1.4]

use core::fmt;

/// Bytes of the largest capability that is read: `virtio_pci_notify_cap`.
pub const CAPABILITY_BYTES: usize = 20;

/// Smallest common configuration: up to `queue_device` [VIRTIO-1.2 4.1.4.3].
const COMMON_BYTES: u32 = 56;

/// The kind of block, `cfg_type`.
const COMMON: u8 = 1;
const NOTIFY: u8 = 2;
const ISR: u8 = 3;
const DEVICE: u8 = 4;

/// A part of a BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// BAR index, 0 to 5.
    pub bar: u8,
    /// First byte in the BAR.
    pub offset: u32,
    /// Bytes.
    pub length: u32,
}

/// One virtio capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VendorCapability {
    kind: u8,
    place: Place,
    notify_multiplier: u32,
}

impl VendorCapability {
    /// Reads a capability from configuration space. `None` when it is too short or of a kind or BAR that is
    /// reserved: those are to be skipped [VIRTIO-1.2 4.1.4.1].
    pub fn parse(bytes: &[u8; CAPABILITY_BYTES]) -> Option<Self> {
        let [_id, _next, length, kind, bar, _, _, _, rest @ ..] = *bytes;
        let [o0, o1, o2, o3, l0, l1, l2, l3, m0, m1, m2, m3] = rest;
        let smallest = if kind == NOTIFY { 20 } else { 16 };
        if length < smallest || bar > 5 || ![COMMON, NOTIFY, ISR, DEVICE].contains(&kind) {
            return None;
        }
        let place = Place {
            bar,
            offset: u32::from_le_bytes([o0, o1, o2, o3]),
            length: u32::from_le_bytes([l0, l1, l2, l3]),
        };
        Some(Self { kind, place, notify_multiplier: u32::from_le_bytes([m0, m1, m2, m3]) })
    }
}

/// Why the capabilities make no usable device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutFault {
    /// A block that every modern device has is missing; the device may be a legacy one.
    Missing(&'static str),
    /// A block is not inside its BAR, or is too small or unaligned.
    Bad(&'static str, Place),
    /// A multiplier that makes notification addresses unaligned.
    NotifyMultiplier(u32),
}

impl fmt::Display for LayoutFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(block) => write!(f, "the device has no {block} block"),
            Self::Bad(block, Place { bar, offset, length }) => {
                write!(f, "the device's {block} block cannot be {length} bytes at {offset:#x} of BAR {bar}")
            }
            Self::NotifyMultiplier(multiplier) => write!(f, "the device's notify multiplier is {multiplier}"),
        }
    }
}

impl core::error::Error for LayoutFault {}

/// The blocks of a modern device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModernLayout {
    /// Common configuration.
    pub common: Place,
    /// Notification addresses.
    pub notify: Place,
    /// Bytes from one notification address to the next.
    pub notify_multiplier: u32,
    /// Interrupt status.
    pub isr: Place,
    /// Device-specific configuration.
    pub device: Option<Place>,
}

impl ModernLayout {
    /// Picks the first capability of each kind, as the device prefers it [VIRTIO-1.2 4.1.4.1], and checks it
    /// against `bar_bytes`: the mapped length of each memory BAR, 0 for what is none.
    pub fn new(
        capabilities: impl IntoIterator<Item = VendorCapability>,
        bar_bytes: &[u64; 6],
    ) -> Result<Self, LayoutFault> {
        let mut first: [Option<VendorCapability>; 4] = [None; 4];
        for capability in capabilities {
            if let Some(place) = first.get_mut(usize::from(capability.kind.wrapping_sub(COMMON))) {
                place.get_or_insert(capability);
            }
        }
        let [common, notify, isr, device] = first;
        let check = |name, capability: Option<VendorCapability>, smallest: u32, alignment: u32| {
            let Some(VendorCapability { place, .. }) = capability else {
                return Err(LayoutFault::Missing(name));
            };
            let end = u64::from(place.offset) + u64::from(place.length);
            let bar = bar_bytes.get(usize::from(place.bar)).copied().unwrap_or(0);
            if place.length < smallest || end > bar || !place.offset.is_multiple_of(alignment) {
                return Err(LayoutFault::Bad(name, place));
            }
            Ok(place)
        };
        let notify_multiplier = notify.map_or(0, |capability| capability.notify_multiplier);
        // 0 (one address for all queues) or an even power of two [VIRTIO-1.2 4.1.4.4].
        if notify_multiplier != 0 && (!notify_multiplier.is_power_of_two() || notify_multiplier < 2) {
            return Err(LayoutFault::NotifyMultiplier(notify_multiplier));
        }
        Ok(Self {
            common: check("common", common, COMMON_BYTES, 4)?,
            notify: check("notify", notify, 2, 2)?,
            notify_multiplier,
            isr: check("interrupt status", isr, 1, 1)?,
            device: device.map(|device| check("device", Some(device), 1, 4)).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(
        length: u8,
        kind: u8,
        bar: u8,
        offset: u32,
        size: u32,
        multiplier: u32,
    ) -> [u8; CAPABILITY_BYTES] {
        let mut bytes = [0; CAPABILITY_BYTES];
        bytes[..5].copy_from_slice(&[9, 0, length, kind, bar]);
        bytes[8..12].copy_from_slice(&offset.to_le_bytes());
        bytes[12..16].copy_from_slice(&size.to_le_bytes());
        bytes[16..].copy_from_slice(&multiplier.to_le_bytes());
        bytes
    }

    fn capability(kind: u8, offset: u32, size: u32) -> VendorCapability {
        VendorCapability::parse(&bytes(20, kind, 4, offset, size, 4)).expect("valid")
    }

    /// The layout of QEMU's virtio-net-pci.
    fn qemu() -> [VendorCapability; 4] {
        [
            capability(1, 0, 0x1000),
            capability(3, 0x1000, 0x1000),
            capability(4, 0x2000, 0x1000),
            capability(2, 0x3000, 0x1000),
        ]
    }

    const BARS: [u64; 6] = [0, 4096, 0, 0, 16384, 0];

    #[test]
    fn a_common_device_is_understood() {
        let layout = ModernLayout::new(qemu(), &BARS).expect("valid");
        assert_eq!(layout.common, Place { bar: 4, offset: 0, length: 0x1000 });
        assert_eq!(layout.notify, Place { bar: 4, offset: 0x3000, length: 0x1000 });
        assert_eq!(layout.notify_multiplier, 4);
        assert_eq!(layout.device.map(|place| place.offset), Some(0x2000));
    }

    #[test]
    fn capabilities_that_are_reserved_or_short_are_skipped() {
        assert_eq!(VendorCapability::parse(&bytes(15, 1, 0, 0, 64, 0)), None);
        assert_eq!(VendorCapability::parse(&bytes(16, 2, 0, 0, 64, 0)), None, "notify needs its multiplier");
        assert_eq!(VendorCapability::parse(&bytes(16, 1, 6, 0, 64, 0)), None);
        assert_eq!(
            VendorCapability::parse(&bytes(20, 5, 0, 0, 64, 0)),
            None,
            "the configuration access window"
        );
        assert_eq!(VendorCapability::parse(&bytes(20, 0, 0, 0, 64, 0)), None);
        assert_eq!(VendorCapability::parse(&[0xff; CAPABILITY_BYTES]), None, "a device that is gone");
    }

    #[test]
    fn a_device_without_capabilities_is_no_modern_one() {
        assert_eq!(ModernLayout::new([], &BARS), Err(LayoutFault::Missing("common")));
    }

    #[test]
    fn the_first_of_a_kind_counts() {
        let mut all = qemu().to_vec();
        all.push(capability(1, 0x800, 64));
        assert_eq!(ModernLayout::new(all, &BARS).map(|layout| layout.common.offset), Ok(0));
    }

    #[test]
    fn blocks_outside_their_bar_are_refused() {
        for bad in [
            capability(1, 0, 55),
            capability(1, 0x3fc0, 65),
            capability(1, u32::MAX - 3, u32::MAX),
            capability(1, 2, 64),
        ] {
            let all = [bad].into_iter().chain(qemu());
            assert_eq!(ModernLayout::new(all, &BARS), Err(LayoutFault::Bad("common", bad.place)));
        }
        let elsewhere = VendorCapability::parse(&bytes(20, 1, 2, 0, 64, 0)).expect("parses");
        let all = [elsewhere].into_iter().chain(qemu());
        assert_eq!(ModernLayout::new(all, &BARS), Err(LayoutFault::Bad("common", elsewhere.place)));
        let odd = VendorCapability::parse(&bytes(20, 2, 4, 0x3000, 64, 3)).expect("parses");
        let all = [odd].into_iter().chain(qemu());
        assert_eq!(ModernLayout::new(all, &BARS), Err(LayoutFault::NotifyMultiplier(3)));
    }
}
