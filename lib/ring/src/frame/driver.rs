//! The NIC driver's side of a session.

use super::{
    FrameLayout, Ring,
    buffers::Held,
    descriptor::{Consumer, Descriptor, Producer},
};
use crate::{LayoutError, PeerFault, Sleep, header::recheck_fence, memory::SharedMemory};
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
    pub fn range(&self) -> Range<u32> {
        let start = self.layout.buffer_offset(self.index);
        start..start + self.layout.buffer_bytes
    }
}

/// A frame to send, in the driver's hands until it is given back by [`NicSide::finish_send`].
#[derive(Debug, PartialEq, Eq)]
pub struct SendFrame {
    index: u32,
    offset: u32,
    length: u16,
}

impl SendFrame {
    /// Byte range of the frame in the `buffers` object, inside one send buffer; never empty.
    pub fn range(&self) -> Range<u32> {
        self.offset..self.offset + u32::from(self.length)
    }
}

/// The driver's roles on the four rings of one session.
pub struct NicSide<M> {
    layout: FrameLayout,
    received: Producer<M>,
    free: Consumer<M>,
    send: Consumer<M>,
    sent: Producer<M>,
    held: Held,
    /// Receive buffers from here on have never left the driver.
    fresh: u32,
    fault: Option<PeerFault>,
}

impl<M: SharedMemory> NicSide<M> {
    /// Starts on a new, zeroed `rings` object.
    pub fn new(rings: &Arc<M>, layout: FrameLayout) -> Result<Self, LayoutError> {
        Ok(Self {
            layout,
            received: Producer::new(rings, &layout, Ring::Received)?,
            free: Consumer::new(rings, &layout, Ring::Free)?,
            send: Consumer::new(rings, &layout, Ring::Send)?,
            sent: Producer::new(rings, &layout, Ring::Sent)?,
            held: Held::new(&layout, 0, layout.receive_buffers),
            fresh: 0,
            fault: None,
        })
    }

    /// The session's layout.
    pub fn layout(&self) -> &FrameLayout {
        &self.layout
    }

    /// Takes an empty receive buffer: first those that were never used, then what the client gave back.
    pub fn take_free(&mut self) -> Result<Option<ReceiveBuffer>, PeerFault> {
        if self.fresh < self.layout.receive_buffers {
            self.fresh += 1;
            return Ok(Some(ReceiveBuffer { index: self.fresh - 1, layout: self.layout }));
        }
        self.checked(|side| {
            let Some(descriptor) = side.free.pop()? else { return Ok(None) };
            let index = side.accept(descriptor, 0, side.layout.receive_buffers)?;
            Ok(Some(ReceiveBuffer { index, layout: side.layout }))
        })
    }

    /// Hands a received frame, `length` bytes from `start` on in its buffer, to the client. A frame that does
    /// not lie inside the buffer is cut at its end.
    pub fn deliver(&mut self, buffer: ReceiveBuffer, start: u32, length: u32) -> Result<(), PeerFault> {
        let start = start.min(self.layout.buffer_bytes);
        // A buffer is at most 65472 bytes.
        let length = length.min(self.layout.buffer_bytes - start) as u16;
        let descriptor =
            Descriptor { offset: self.layout.buffer_offset(buffer.index) + start, length, flags: 0 };
        self.checked(|side| {
            side.held.remove(buffer.index);
            side.received.push(descriptor)
        })
    }

    /// Takes the next frame to send.
    pub fn take_send(&mut self) -> Result<Option<SendFrame>, PeerFault> {
        self.checked(|side| {
            let Some(descriptor) = side.send.pop()? else { return Ok(None) };
            let Descriptor { offset, length, .. } = descriptor;
            if length == 0 {
                return Err(PeerFault::Range { offset, length });
            }
            let index = side.accept(descriptor, side.layout.receive_buffers, side.layout.send_buffers)?;
            Ok(Some(SendFrame { index, offset, length }))
        })
    }

    /// Gives the buffer of a frame that was sent, or dropped, back to the client.
    pub fn finish_send(&mut self, frame: SendFrame) -> Result<(), PeerFault> {
        let descriptor = Descriptor { offset: self.layout.buffer_offset(frame.index), length: 0, flags: 0 };
        self.checked(|side| {
            side.held.remove(frame.index);
            side.sent.push(descriptor)
        })
    }

    /// Whether the client's doorbell is to be rung for what was handed over; ask once after each batch.
    #[must_use]
    pub fn must_ring(&mut self) -> bool {
        recheck_fence();
        let received = self.received.must_ring();
        let sent = self.sent.must_ring();
        received || sent
    }

    /// Asks for the doorbell when there is something to send and, if `wants` says so, when receive
    /// buffers come back; then looks again.
    pub fn arm(&mut self, wants: NicWants) -> Result<Sleep, PeerFault> {
        self.send.own().arm();
        if wants == NicWants::SendAndFree {
            self.free.own().arm();
        }
        recheck_fence();
        let idle = self
            .checked(|side| Ok(side.send.is_empty()? && (wants == NicWants::Send || side.free.is_empty()?)));
        if idle? {
            return Ok(Sleep::Allowed);
        }
        self.disarm();
        Ok(Sleep::WorkArrived)
    }

    /// Asks for no doorbell while at work.
    pub fn disarm(&mut self) {
        self.send.own().disarm();
        self.free.own().disarm();
    }

    /// Checks a descriptor from the client and takes its buffer over.
    fn accept(&mut self, descriptor: Descriptor, first: u32, count: u32) -> Result<u32, PeerFault> {
        let index = descriptor.check(&self.layout, first, count)?;
        if self.held.try_insert(index) {
            Ok(index)
        } else {
            Err(PeerFault::NotOwned { offset: descriptor.offset })
        }
    }

    /// Runs one step unless the peer has failed before, and remembers if it fails now.
    fn checked<R>(&mut self, step: impl FnOnce(&mut Self) -> Result<R, PeerFault>) -> Result<R, PeerFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let result = step(self);
        self.fault = result.as_ref().err().copied();
        result
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
