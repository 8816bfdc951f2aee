//! Descriptor rings between a NIC driver and its client, and the buffers that the descriptors name.
//!
//! ```text
//!              received  (filled receive buffers)
//!          --------------------------------------->
//!          <---------------------------------------
//!  driver      free      (empty receive buffers)       client
//!          <---------------------------------------
//!              send      (filled send buffers)
//!          --------------------------------------->
//!              sent      (send buffers that may be used again)
//! ```
//!
//! # Who holds a buffer
//!
//! At the start the driver holds every receive buffer and the client every send buffer. A descriptor
//! in a ring hands its buffer over. Both sides keep a private map of what they hold, so a descriptor of a
//! buffer that the peer does not hold is a fault; and since each ring has as many places as its
//! kind has buffers, a ring can never be full for a side that keeps to this.
//!
//! # Layout of the `rings` object
//!
//! Four rings in the order received, free, send, sent. Each is a header of 128 bytes (64 that only the
//! producer writes, 64 that only the consumer writes; a sleep flag may be lowered by both) and then one
//! 8-byte little-endian descriptor for each buffer: bits 0 to 31 the byte offset of the frame in
//! `buffers`, 32 to 47 its length in bytes, 48 to 63 flags.
//!
//! | ring | flags |
//! |---|---|
//! | received | bit 0: [`Checksum::Good`]; the others are 0 |
//! | send | bits 14 and 15: 0 [`Offload::None`], 1 and 2 [`Offload::Checksum`] of TCP and UDP, 3 [`Offload::Segments`], then with the size in bits 0 to 13, which are 0 otherwise |
//! | free, sent | 0 |
//!
//! # Layout of the `buffers` object
//!
//! The receive buffers, all of one size, then the send buffers, all of one size. A frame starts with the Ethernet
//! destination address, has no checksum at its end, and may lie anywhere inside its buffer. There
//! is no room kept for a device's own header: drivers keep those in memory of their own, where no
//! client can change them after they were checked.
//!
//! # What a device may do for the client
//!
//! A received frame may be several TCP segments that the device merged, as large as its buffer allows, and its
//! checksum may have been checked already. A client whose windows are at most [`LARGEST_WINDOW`] gets no merged frame that does not
//! fit buffers of [`MERGED_BYTES`], since what is under way fits the window. What the device does to sent frames is said by the
//! driver when it opens the session, and asked for by frame.
//!
//! # In place
//!
//! [`Buffers::with_received`] and [`Buffers::with_send`] lend a slice of shared memory, so that frames need no copy.
//! The driver and, without an IOMMU, the device can change the bytes while the slice is read. Bytes have no
//! invalid values, so what can be read is wrong data and nothing worse, as with any frame from the
//! network; but code that checks a field and reads it again later may see two values. A parser that would panic
//! on that must be given a copy of the headers ([`Buffers::copy_received`]).

mod buffers;
mod client;
mod descriptor;
mod driver;
mod offload;
mod side;
#[cfg(test)]
mod tests;

pub use buffers::Buffers;
pub use client::{ClientSide, ClientWants, ReceivedFrame, SendBuffer};
pub use driver::{NicSide, NicWants, ReceiveBuffer, SendFrame};
pub use offload::{Checksum, Offload, SegmentBytes, Transport};

use crate::{
    LayoutError,
    items::{is_ring_size, ring_bytes},
};

/// The most buffers of one kind.
const MAXIMUM_BUFFERS: u32 = 4096;

/// The most bytes of a buffer: the largest multiple of 64 that a descriptor's length can name.
const MAXIMUM_BUFFER_BYTES: u32 = 65_472;

/// Bytes of a receive buffer for merged segments.
pub const MERGED_BYTES: u32 = MAXIMUM_BUFFER_BYTES;

/// The largest TCP window of a client whose driver receives merged segments: what such a buffer holds behind the headers,
/// which are 138 bytes: Ethernet with a VLAN tag, IPv4 and TCP with all options.
pub const LARGEST_WINDOW: u32 = MERGED_BYTES - 192;

/// How many buffers of which size a session has, and from that where everything lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLayout {
    receive_buffers: u32,
    send_buffers: u32,
    receive_bytes: u32,
    send_bytes: u32,
}

/// One of the four rings, in the order in which they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ring {
    Received,
    Free,
    Send,
    Sent,
}

impl FrameLayout {
    /// A layout of so many buffers of each kind (powers of two from 2 to 4096) of `buffer_bytes` bytes each (a
    /// multiple of 64 up to 65472).
    pub const fn new(
        receive_buffers: u32,
        send_buffers: u32,
        buffer_bytes: u32,
    ) -> Result<Self, LayoutError> {
        if !is_ring_size(receive_buffers, MAXIMUM_BUFFERS) {
            return Err(LayoutError::Count(receive_buffers));
        }
        if !is_ring_size(send_buffers, MAXIMUM_BUFFERS) {
            return Err(LayoutError::Count(send_buffers));
        }
        if !is_buffer_size(buffer_bytes) {
            return Err(LayoutError::BufferBytes(buffer_bytes));
        }
        Ok(Self { receive_buffers, send_buffers, receive_bytes: buffer_bytes, send_bytes: buffer_bytes })
    }

    /// The same with send buffers of another size.
    pub const fn with_send_bytes(self, send_bytes: u32) -> Result<Self, LayoutError> {
        if !is_buffer_size(send_bytes) {
            return Err(LayoutError::BufferBytes(send_bytes));
        }
        Ok(Self { send_bytes, ..self })
    }

    /// Number of receive buffers.
    pub const fn receive_buffers(&self) -> u32 {
        self.receive_buffers
    }

    /// Number of send buffers.
    pub const fn send_buffers(&self) -> u32 {
        self.send_buffers
    }

    /// Bytes of each receive buffer.
    pub const fn receive_bytes(&self) -> u32 {
        self.receive_bytes
    }

    /// Bytes of each send buffer.
    pub const fn send_bytes(&self) -> u32 {
        self.send_bytes
    }

    /// Bytes of the `rings` object.
    pub const fn rings_bytes(&self) -> usize {
        self.offset(Ring::Sent) + ring_bytes(self.send_buffers, 1)
    }

    /// Bytes of the `buffers` object.
    pub const fn buffers_bytes(&self) -> usize {
        // At most 8192 buffers of 65472 bytes: below 2^32.
        self.buffer_offset(self.receive_buffers + self.send_buffers) as usize
    }

    /// Byte offset of one ring.
    const fn offset(&self, ring: Ring) -> usize {
        let (receive, send) = (ring_bytes(self.receive_buffers, 1), ring_bytes(self.send_buffers, 1));
        match ring {
            Ring::Received => 0,
            Ring::Free => receive,
            Ring::Send => 2 * receive,
            Ring::Sent => 2 * receive + send,
        }
    }

    /// Places in one ring.
    const fn capacity(&self, ring: Ring) -> u32 {
        match ring {
            Ring::Received | Ring::Free => self.receive_buffers,
            Ring::Send | Ring::Sent => self.send_buffers,
        }
    }

    /// The receive buffers.
    const fn receiving(&self) -> Kind {
        Kind { first: 0, count: self.receive_buffers, offset: 0, bytes: self.receive_bytes }
    }

    /// The send buffers.
    const fn sending(&self) -> Kind {
        Kind {
            first: self.receive_buffers,
            count: self.send_buffers,
            offset: self.receive_buffers * self.receive_bytes,
            bytes: self.send_bytes,
        }
    }

    /// Byte offset of a buffer, by its index over both kinds.
    const fn buffer_offset(&self, index: u32) -> u32 {
        if index < self.receive_buffers {
            index * self.receive_bytes
        } else {
            self.sending().offset + (index - self.receive_buffers) * self.send_bytes
        }
    }
}

/// The buffers of one kind: indexes `first .. first + count`, from byte `offset` on, of `bytes` bytes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    first: u32,
    count: u32,
    offset: u32,
    bytes: u32,
}

const fn is_buffer_size(bytes: u32) -> bool {
    bytes != 0 && bytes.is_multiple_of(64) && bytes <= MAXIMUM_BUFFER_BYTES
}
