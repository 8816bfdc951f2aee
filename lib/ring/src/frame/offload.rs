//! What the device has done to a received frame, and what it is to do to a sent one: the flags of descriptors.

use core::num::NonZeroU16;

/// What is known of the TCP or UDP checksum of a received frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// Nothing.
    Unknown,
    /// The device has checked it, or the frame never was on a wire and has none.
    Good,
}

/// Protocols whose checksum a device can fill in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Bytes of data of each TCP segment but the last one that a frame is cut into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentBytes(NonZeroU16);

/// What the device is to do to a frame before it leaves. For anything but `None` the frame is IPv4 without options in
/// Ethernet without a tag, and its transport checksum is that of the pseudo-header alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    /// Nothing.
    None,
    /// Fill the checksum in.
    Checksum(Transport),
    /// Cut a TCP packet into segments, and fill in the checksums of each.
    Segments(SegmentBytes),
}

/// Flag of a received frame.
const GOOD: u16 = 1;

/// Where the kind of an [`Offload`] stands.
const KIND_SHIFT: u32 = 14;
const SIZE_MASK: u16 = (1 << KIND_SHIFT) - 1;

impl SegmentBytes {
    /// From 1 to 16383.
    pub fn new(bytes: u16) -> Option<Self> {
        NonZeroU16::new(bytes).filter(|bytes| bytes.get() <= SIZE_MASK).map(Self)
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl Checksum {
    pub(super) const fn flags(self) -> u16 {
        match self {
            Self::Unknown => 0,
            Self::Good => GOOD,
        }
    }

    /// `None` for flags that are not defined.
    pub(super) const fn from_flags(flags: u16) -> Option<Self> {
        match flags {
            0 => Some(Self::Unknown),
            GOOD => Some(Self::Good),
            _ => None,
        }
    }
}

impl Offload {
    pub(super) const fn flags(self) -> u16 {
        match self {
            Self::None => 0,
            Self::Checksum(Transport::Tcp) => 1 << KIND_SHIFT,
            Self::Checksum(Transport::Udp) => 2 << KIND_SHIFT,
            Self::Segments(size) => 3 << KIND_SHIFT | size.get(),
        }
    }

    /// `None` for flags that are not defined.
    pub(super) fn from_flags(flags: u16) -> Option<Self> {
        match (flags >> KIND_SHIFT, flags & SIZE_MASK) {
            (0, 0) => Some(Self::None),
            (1, 0) => Some(Self::Checksum(Transport::Tcp)),
            (2, 0) => Some(Self::Checksum(Transport::Udp)),
            (3, size) => SegmentBytes::new(size).map(Self::Segments),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_the_documented_ones_and_come_back() {
        let segments = |bytes| Offload::Segments(SegmentBytes::new(bytes).expect("in range"));
        for (offload, flags) in [
            (Offload::None, 0),
            (Offload::Checksum(Transport::Tcp), 0x4000),
            (Offload::Checksum(Transport::Udp), 0x8000),
            (segments(1), 0xc001),
            (segments(16383), 0xffff),
        ] {
            assert_eq!((offload.flags(), Offload::from_flags(flags)), (flags, Some(offload)));
        }
        for flags in [1, 0x3fff, 0x4001, 0x8001, 0xc000] {
            assert_eq!(Offload::from_flags(flags), None, "{flags:#x}");
        }
        assert_eq!((SegmentBytes::new(0), SegmentBytes::new(16384)), (None, None));
        for flags in 0..=u16::MAX {
            assert!(Offload::from_flags(flags).is_none_or(|offload| offload.flags() == flags));
            assert!(Checksum::from_flags(flags).is_none_or(|checksum| checksum.flags() == flags));
        }
        assert_eq!(
            [0, 1, 2].map(Checksum::from_flags),
            [Some(Checksum::Unknown), Some(Checksum::Good), None]
        );
    }
}
