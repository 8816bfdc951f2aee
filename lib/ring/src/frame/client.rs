//! The client's side of a session: the network stack.

use super::{
    Buffers, FrameLayout, Ring,
    buffers::Held,
    descriptor::{Consumer, Descriptor, Producer},
};
use crate::{LayoutError, PeerFault, Sleep, header::recheck_fence, memory::SharedMemory};
use alloc::{sync::Arc, vec::Vec};

/// A received frame in the client's hands, until it is given back by [`ClientSide::give_back`].
#[derive(Debug, PartialEq, Eq)]
pub struct ReceivedFrame {
    index: u32,
    offset: u32,
    length: u16,
}

impl ReceivedFrame {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        usize::from(self.length)
    }

    /// Whether it has no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Byte offset in the `buffers` object.
    pub(super) fn offset(&self) -> u32 {
        self.offset
    }
}

/// An empty send buffer in the client's hands.
#[derive(Debug, PartialEq, Eq)]
pub struct SendBuffer {
    index: u32,
}

impl SendBuffer {
    /// Index over both kinds of buffers.
    pub(super) fn index(&self) -> u32 {
        self.index
    }
}

/// The client's roles on the four rings of one session.
pub struct ClientSide<M> {
    layout: FrameLayout,
    received: Consumer<M>,
    free: Producer<M>,
    send: Producer<M>,
    sent: Consumer<M>,
    held: Held,
    /// Send buffers at hand, by index; never grows past its first capacity.
    unused: Vec<u32>,
    buffers: Buffers<M>,
    fault: Option<PeerFault>,
}

impl<M: SharedMemory> ClientSide<M> {
    /// Starts on the `rings` and `buffers` objects that `Nic.open` answered with.
    pub fn new(rings: &Arc<M>, buffers: &Arc<M>, layout: FrameLayout) -> Result<Self, LayoutError> {
        let (first, count) = (layout.receive_buffers, layout.send_buffers);
        Ok(Self {
            layout,
            received: Consumer::new(rings, &layout, Ring::Received)?,
            free: Producer::new(rings, &layout, Ring::Free)?,
            send: Producer::new(rings, &layout, Ring::Send)?,
            sent: Consumer::new(rings, &layout, Ring::Sent)?,
            held: Held::new(&layout, first, count),
            unused: (first..first + count).rev().collect(),
            buffers: Buffers::new(buffers, layout)?,
            fault: None,
        })
    }

    /// The bytes of the buffers.
    pub fn buffers(&self) -> &Buffers<M> {
        &self.buffers
    }

    /// Takes the next received frame.
    pub fn receive(&mut self) -> Result<Option<ReceivedFrame>, PeerFault> {
        self.checked(|side| {
            let Some(descriptor) = side.received.pop()? else { return Ok(None) };
            let index = side.accept(descriptor, 0, side.layout.receive_buffers)?;
            Ok(Some(ReceivedFrame { index, offset: descriptor.offset, length: descriptor.length }))
        })
    }

    /// Gives a frame's buffer back to the driver.
    pub fn give_back(&mut self, frame: ReceivedFrame) -> Result<(), PeerFault> {
        let descriptor = Descriptor { offset: self.layout.buffer_offset(frame.index), length: 0, flags: 0 };
        self.checked(|side| {
            side.held.remove(frame.index);
            side.free.push(descriptor)
        })
    }

    /// Takes an empty send buffer. `None` when the driver holds them all.
    pub fn take_send_buffer(&mut self) -> Result<Option<SendBuffer>, PeerFault> {
        if self.unused.is_empty() {
            self.collect_sent()?;
        }
        Ok(self.unused.pop().map(|index| SendBuffer { index }))
    }

    /// Puts back a send buffer that was not used after all.
    pub fn put_back(&mut self, buffer: SendBuffer) {
        self.unused.push(buffer.index);
    }

    /// Hands the first `length` bytes of a buffer to the driver for sending. A length of 0 or above the buffer's
    /// sends nothing and only puts it back.
    pub fn send(&mut self, buffer: SendBuffer, length: usize) -> Result<(), PeerFault> {
        let Some(length) = u16::try_from(length)
            .ok()
            .filter(|&length| length != 0 && u32::from(length) <= self.layout.buffer_bytes)
        else {
            self.put_back(buffer);
            return Ok(());
        };
        let descriptor = Descriptor { offset: self.layout.buffer_offset(buffer.index), length, flags: 0 };
        self.checked(|side| {
            side.held.remove(buffer.index);
            side.send.push(descriptor)
        })
    }

    /// Whether the driver's doorbell is to be rung for what was handed over; ask once after each batch.
    #[must_use]
    pub fn must_ring(&mut self) -> bool {
        recheck_fence();
        let send = self.send.must_ring();
        let free = self.free.must_ring();
        send || free
    }

    /// Asks for the doorbell when a frame is received and, if `wants` says so, when send buffers come
    /// back; then looks again.
    pub fn arm(&mut self, wants: ClientWants) -> Result<Sleep, PeerFault> {
        self.received.own().arm();
        if wants == ClientWants::ReceivedAndSent {
            self.sent.own().arm();
        }
        recheck_fence();
        let idle = self.checked(|side| {
            Ok(side.received.is_empty()? && (wants == ClientWants::Received || side.sent.is_empty()?))
        });
        if idle? {
            return Ok(Sleep::Allowed);
        }
        self.disarm();
        Ok(Sleep::WorkArrived)
    }

    /// Asks for no doorbell while at work.
    pub fn disarm(&mut self) {
        self.received.own().disarm();
        self.sent.own().disarm();
    }

    /// Takes all buffers that were sent.
    fn collect_sent(&mut self) -> Result<(), PeerFault> {
        self.checked(|side| {
            while let Some(descriptor) = side.sent.pop()? {
                let index = side.accept(descriptor, side.layout.receive_buffers, side.layout.send_buffers)?;
                side.unused.push(index);
            }
            Ok(())
        })
    }

    /// Checks a descriptor from the driver and takes its buffer over.
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

/// What the client's side wants to be woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientWants {
    /// Received frames. There are send buffers enough.
    Received,
    /// Received frames and send buffers.
    ReceivedAndSent,
}
