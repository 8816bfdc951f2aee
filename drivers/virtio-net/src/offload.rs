//! What the device does for the client: checksums and TCP segments, by the virtio header of each frame.
//!
//! Headers lie in the driver's own memory, one for each buffer, so that no client can change one that was checked. What a
//! header to send says is made from the descriptor's [`Offload`] alone; of a received one only the flags are looked at, and
//! what they claim of the checksum is worth no more than the bytes of the frame.

use crate::spec::{ETHERNET_HEADER_BYTES, feature};
use core::ops::Range;
use ring::frame::{Checksum, Offload, SendFrame, Transport};
use virtio::DmaMemory;

/// Bytes from one header to the next.
pub const HEADER_STRIDE: u32 = 16;

/// Flags of a header [VIRTIO-1.2 5.1.6]: the checksum is not filled in; the checksum has been checked.
const NEEDS_CHECKSUM: u8 = 1;
const DATA_VALID: u8 = 2;
/// Kind of segments: TCP over IPv4.
const SEGMENTS_TCP4: u8 = 1;

/// Where the transport header starts: behind Ethernet and IPv4 without options.
const TRANSPORT_OFFSET: u16 = ETHERNET_HEADER_BYTES as u16 + 20;
/// Bytes of the headers, and place of the checksum in them [RFC 9293 3.1], [RFC 768].
const TCP: (u16, u16) = (20, 16);
const UDP: (u16, u16) = (8, 6);

/// What the device can do to frames that it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sending {
    /// Nothing.
    Whole,
    /// Fill in checksums.
    Checksums,
    /// That, and cut TCP packets into segments.
    Segments,
}

/// What the device may have done to frames that it received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Receiving {
    /// Nothing.
    Whole,
    /// Checked checksums.
    Checksums,
    /// That, and merged TCP segments.
    Merged,
}

/// Both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offloads {
    /// Out.
    pub sending: Sending,
    /// In.
    pub receiving: Receiving,
}

impl Offloads {
    /// What accepted features mean.
    pub fn of(features: u64) -> Self {
        let has = |feature: u64| features & feature != 0;
        Self {
            sending: match (has(feature::CHECKSUM), has(feature::HOST_TSO4)) {
                (true, true) => Sending::Segments,
                (true, false) => Sending::Checksums,
                (false, _) => Sending::Whole,
            },
            receiving: match (has(feature::GUEST_CHECKSUM), has(feature::GUEST_TSO4)) {
                (true, true) => Receiving::Merged,
                (true, false) => Receiving::Checksums,
                (false, _) => Receiving::Whole,
            },
        }
    }
}

/// The features of this kind to accept: segments depend on checksums [VIRTIO-1.2 5.1.3.1].
pub const fn choose(offered: u64) -> u64 {
    let mut supported = feature::CHECKSUM | feature::GUEST_CHECKSUM;
    if offered & feature::CHECKSUM != 0 {
        supported |= feature::HOST_TSO4;
    }
    if offered & feature::GUEST_CHECKSUM != 0 {
        supported |= feature::GUEST_TSO4;
    }
    supported
}

/// Whether the device can send a frame as its client asks. `sizes` are those of frames on this network, with their headers.
pub fn is_possible(frame: &SendFrame, sending: Sending, sizes: Range<u32>) -> bool {
    let range = frame.range();
    let length = range.end - range.start;
    let headers = |bytes: u16| u32::from(TRANSPORT_OFFSET + bytes);
    match frame.offload() {
        Offload::None => sizes.contains(&length),
        Offload::Checksum(transport) => {
            let (bytes, _) = place(transport);
            sending >= Sending::Checksums && sizes.contains(&length) && length >= headers(bytes)
        }
        Offload::Segments(size) => {
            let segment = headers(TCP.0) + u32::from(size.get());
            sending == Sending::Segments && length > headers(TCP.0) && sizes.contains(&segment)
        }
    }
}

/// Writes the header of a frame to send at `offset`.
pub fn write_header(headers: &DmaMemory, offset: u32, offload: Offload) {
    let (transport, [kind, size]) = match offload {
        Offload::None => (None, [0, 0]),
        Offload::Checksum(transport) => (Some(transport), [0, 0]),
        Offload::Segments(size) => (Some(Transport::Tcp), [u16::from(SEGMENTS_TCP4), size.get()]),
    };
    let Some((bytes, checksum)) = transport.map(place) else {
        headers.write_u64(offset, 0);
        headers.write_u64(offset + 8, 0);
        return;
    };
    // The flags and the kind are a byte each; the length of the headers is a hint.
    let first = u16::from(NEEDS_CHECKSUM) | kind << 8;
    let length = if kind == 0 { 0 } else { TRANSPORT_OFFSET + bytes };
    headers.write_u64(offset, words([first, length, size, TRANSPORT_OFFSET]));
    headers.write_u64(offset + 8, words([checksum, 0, 0, 0]));
}

/// What the header of a received frame at `offset` says of its checksum.
pub fn read_header(headers: &DmaMemory, offset: u32, receiving: Receiving) -> Checksum {
    if receiving == Receiving::Whole {
        return Checksum::Unknown;
    }
    let [flags, ..] = headers.read_u64(offset).to_le_bytes();
    if flags & (NEEDS_CHECKSUM | DATA_VALID) == 0 { Checksum::Unknown } else { Checksum::Good }
}

const fn place(transport: Transport) -> (u16, u16) {
    match transport {
        Transport::Tcp => TCP,
        Transport::Udp => UDP,
    }
}

/// Four words in memory order.
const fn words([a, b, c, d]: [u16; 4]) -> u64 {
    a as u64 | (b as u64) << 16 | (c as u64) << 32 | (d as u64) << 48
}
