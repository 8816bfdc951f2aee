//! The NIC driver's side of a session.

use super::{
    Checksum, FrameLayout, Offload, Ring,
    side::{Lane, Side},
};
use crate::{LayoutError, PeerFault, Sleep, memory::SharedMemory};
use alloc::sync::Arc;
use core::ops::Range;

/// An empty receive buffer in the driver's hands, to be filled by the device.
#[derive(Debug, PartialEq, Eq)]
pub struct ReceiveBuffer {
    index: u32,
    layout: FrameLayout,
}

impl ReceiveBuffer {
    /// Byte range of the whole buffer in the `buffers` object.
    #[inline]
    pub fn range(&self) -> Range<u32> {
        let start = self.layout.buffer_offset(self.index);
        start..start + self.layout.receive_bytes
    }

    /// Its number, below that of the receive buffers.
    pub fn number(&self) -> u32 {
        self.index
    }
}

/// A frame to send, in the driver's hands until it is given back by [`NicSide::finish_send`].
#[derive(Debug, PartialEq, Eq)]
pub struct SendFrame {
    index: u32,
    number: u32,
    offset: u32,
    length: u16,
    offload: Offload,
}

impl SendFrame {
    /// Byte range of the frame in the `buffers` object, inside one send buffer; never empty.
    #[inline]
    pub fn range(&self) -> Range<u32> {
        self.offset..self.offset + u32::from(self.length)
    }

    /// What the client asks for. Whether the device can do that, and the frame is one for it, is the driver's to check.
    pub fn offload(&self) -> Offload {
        self.offload
    }

    /// The number of its buffer, below that of the send buffers.
    pub fn number(&self) -> u32 {
        self.number
    }
}

/// The driver's roles on the four rings of one session.
pub struct NicSide<M> {
    side: Side<M>,
    /// Receive buffers from here on have never left the driver.
    fresh: u32,
}

impl<M: SharedMemory> NicSide<M> {
    /// Starts on a new, zeroed `rings` object.
    pub fn new(rings: &Arc<M>, layout: FrameLayout) -> Result<Self, LayoutError> {
        let (incoming, outgoing) = ([Ring::Send, Ring::Free], [Ring::Received, Ring::Sent]);
        Ok(Self { side: Side::new(rings, layout, incoming, outgoing, layout.receiving())?, fresh: 0 })
    }

    /// The session's layout.
    pub fn layout(&self) -> &FrameLayout {
        &self.side.layout
    }

    /// Takes an empty receive buffer: first those that were never used, then what the client gave back.
    pub fn take_free(&mut self) -> Result<Option<ReceiveBuffer>, PeerFault> {
        let layout = self.side.layout;
        if self.fresh < layout.receive_buffers {
            self.fresh += 1;
            return Ok(Some(ReceiveBuffer { index: self.fresh - 1, layout }));
        }
        let taken = self.side.take_back(layout.receiving())?;
        Ok(taken.map(|index| ReceiveBuffer { index, layout }))
    }

    /// Hands a received frame, `length` bytes from `start` on in its buffer, to the client. A frame that does
    /// not lie inside the buffer is cut at its end.
    pub fn deliver(
        &mut self,
        buffer: ReceiveBuffer,
        start: u32,
        length: u32,
        checksum: Checksum,
    ) -> Result<(), PeerFault> {
        let whole = self.side.layout.receive_bytes;
        let start = start.min(whole);
        // A buffer is at most 65472 bytes.
        let length = length.min(whole - start) as u16;
        self.side.give(buffer.index, start, length, checksum.flags())
    }

    /// Takes the next frame to send.
    pub fn take_send(&mut self) -> Result<Option<SendFrame>, PeerFault> {
        let kind = self.side.layout.sending();
        let Some((index, descriptor, offload)) = self.side.take(Lane::Filled, kind, Offload::from_flags)?
        else {
            return Ok(None);
        };
        let (offset, length) = (descriptor.offset, descriptor.length);
        if length == 0 {
            return self.side.refuse(PeerFault::Range { offset, length: 0 });
        }
        Ok(Some(SendFrame { index, number: index - kind.first, offset, length, offload }))
    }

    /// Gives the buffer of a frame that was sent, or dropped, back to the client.
    #[inline]
    pub fn finish_send(&mut self, frame: SendFrame) -> Result<(), PeerFault> {
        self.side.give_back(frame.index)
    }

    /// Whether the client's doorbell is to be rung for what was handed over; ask once after each batch.
    #[must_use]
    pub fn must_ring(&mut self) -> bool {
        self.side.must_ring()
    }

    /// Asks for the doorbell when there is something to send and, if `wants` says so, when receive
    /// buffers come back; then looks again.
    pub fn arm(&mut self, wants: NicWants) -> Result<Sleep, PeerFault> {
        self.side.arm(match wants {
            NicWants::Send => &[Lane::Filled],
            NicWants::SendAndFree => &[Lane::Filled, Lane::Returned],
        })
    }

    /// Asks for no doorbell while at work.
    pub fn disarm(&mut self) {
        self.side.disarm();
    }
}

/// What the driver's side wants to be woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NicWants {
    /// Frames to send. The device still has receive buffers enough.
    Send,
    /// Frames to send and receive buffers.
    SendAndFree,
}
