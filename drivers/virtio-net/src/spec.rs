//! What [VIRTIO-1.2 5.1] fixes of a network device.

/// Queue number of the first receive queue.
pub const RECEIVE_QUEUE: u16 = 0;
/// Queue number of the first transmit queue.
pub const SEND_QUEUE: u16 = 1;

/// Feature bits [VIRTIO-1.2 5.1.3].
pub mod feature {
    /// The device fills in checksums of frames that it sends.
    pub const CHECKSUM: u64 = 1 << 0;
    /// The device may hand over frames whose checksum is not filled in, and says of which it has checked it.
    pub const GUEST_CHECKSUM: u64 = 1 << 1;
    /// The configuration gives the largest packet.
    pub const MTU: u64 = 1 << 3;
    /// The configuration gives the MAC address.
    pub const MAC: u64 = 1 << 5;
    /// The device may hand over merged TCP segments.
    pub const GUEST_TSO4: u64 = 1 << 7;
    /// The device cuts TCP packets into segments.
    pub const HOST_TSO4: u64 = 1 << 11;
    /// The configuration gives the link status.
    pub const STATUS: u64 = 1 << 16;
}

/// Byte offsets in the configuration [VIRTIO-1.2 5.1.4].
pub mod config {
    /// MAC address, 6 bytes.
    pub const MAC: u32 = 0;
    /// Status, 2 bytes.
    pub const STATUS: u32 = 6;
    /// Largest packet, 2 bytes.
    pub const MTU: u32 = 10;
}

/// Bit of the status: the link is up.
pub const STATUS_LINK_UP: u16 = 1;

/// Bytes of `struct virtio_net_hdr` of a modern device [VIRTIO-1.2 5.1.6].
pub const HEADER_BYTES: u32 = 12;
/// The same of a legacy device without merged receive buffers, where `num_buffers` is missing [VIRTIO-1.2 5.1.6.1].
pub const LEGACY_HEADER_BYTES: u32 = 10;

/// Bytes of an Ethernet header.
pub const ETHERNET_HEADER_BYTES: u32 = 14;
/// Bytes of an 802.1Q tag, which may come on top.
pub const VLAN_TAG_BYTES: u32 = 4;

/// Smallest MTU that a device may give [VIRTIO-1.2 5.1.4.1], and that IPv4 allows.
pub const MINIMUM_MTU: u16 = 68;
/// Largest MTU that the `Nic` interface allows.
pub const MAXIMUM_MTU: u16 = 9216;
/// MTU of a device that does not say.
pub const DEFAULT_MTU: u16 = 1500;

const _: () = assert!(config::STATUS == config::MAC + 6 && config::MTU == config::STATUS + 4);
