//! The client's side of a session: the network stack.

use super::{
    Buffers, Checksum, FrameLayout, Offload, Ring,
    side::{Lane, Side},
};
use crate::{LayoutError, PeerFault, Sleep, memory::SharedMemory};
use alloc::{sync::Arc, vec::Vec};

/// A received frame in the client's hands, until it is given back by [`ClientSide::give_back`].
#[derive(Debug, PartialEq, Eq)]
pub struct ReceivedFrame {
    index: u32,
    offset: u32,
    length: u16,
    checksum: Checksum,
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

    /// What the driver says of its TCP or UDP checksum.
    pub fn checksum(&self) -> Checksum {
        self.checksum
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
    side: Side<M>,
    /// Send buffers at hand, by index; never grows past its first capacity.
    unused: Vec<u32>,
    buffers: Buffers<M>,
}

impl<M: SharedMemory> ClientSide<M> {
    /// Starts on the `rings` and `buffers` objects that `Nic.open` answered with.
    pub fn new(rings: &Arc<M>, buffers: &Arc<M>, layout: FrameLayout) -> Result<Self, LayoutError> {
        let (incoming, outgoing) = ([Ring::Received, Ring::Sent], [Ring::Send, Ring::Free]);
        let own = layout.sending();
        Ok(Self {
            side: Side::new(rings, layout, incoming, outgoing, own)?,
            unused: (own.first..own.first + own.count).rev().collect(),
            buffers: Buffers::new(buffers, layout)?,
        })
    }

    /// The bytes of the buffers.
    pub fn buffers(&self) -> &Buffers<M> {
        &self.buffers
    }

    /// Takes the next received frame.
    pub fn receive(&mut self) -> Result<Option<ReceivedFrame>, PeerFault> {
        let taken = self.side.take(Lane::Filled, self.side.layout.receiving(), Checksum::from_flags)?;
        Ok(taken.map(|(index, descriptor, checksum)| ReceivedFrame {
            index,
            offset: descriptor.offset,
            length: descriptor.length,
            checksum,
        }))
    }

    /// Gives a frame's buffer back to the driver.
    pub fn give_back(&mut self, frame: ReceivedFrame) -> Result<(), PeerFault> {
        self.side.give_back(frame.index)
    }

    /// Takes an empty send buffer. `None` when the driver holds them all.
    #[inline]
    pub fn take_send_buffer(&mut self) -> Result<Option<SendBuffer>, PeerFault> {
        if self.unused.is_empty() {
            self.take_sent()?;
        }
        Ok(self.unused.pop().map(|index| SendBuffer { index }))
    }

    /// Takes back what the driver has sent.
    #[inline(never)]
    fn take_sent(&mut self) -> Result<(), PeerFault> {
        while let Some(index) = self.side.take_back(self.side.layout.sending())? {
            self.unused.push(index);
        }
        Ok(())
    }

    /// Puts back a send buffer that was not used after all.
    pub fn put_back(&mut self, buffer: SendBuffer) {
        self.unused.push(buffer.index);
    }

    /// Hands the first `length` bytes of a buffer to the driver for sending as they are. A length of 0 or above the
    /// buffer's sends nothing and only puts it back.
    pub fn send(&mut self, buffer: SendBuffer, length: usize) -> Result<(), PeerFault> {
        self.send_offloaded(buffer, length, Offload::None)
    }

    /// The same, with something for the device to do, which the driver must have said that it can.
    pub fn send_offloaded(
        &mut self,
        buffer: SendBuffer,
        length: usize,
        offload: Offload,
    ) -> Result<(), PeerFault> {
        let fits = |length: &u16| *length != 0 && u32::from(*length) <= self.side.layout.send_bytes;
        let Some(length) = u16::try_from(length).ok().filter(fits) else {
            self.put_back(buffer);
            return Ok(());
        };
        self.side.give(buffer.index, 0, length, offload.flags())
    }

    /// Whether the driver's doorbell is to be rung for what was handed over; ask once after each batch.
    #[must_use]
    pub fn must_ring(&mut self) -> bool {
        self.side.must_ring()
    }

    /// Asks for the doorbell when a frame is received and, if `wants` says so, when send buffers come
    /// back; then looks again.
    pub fn arm(&mut self, wants: ClientWants) -> Result<Sleep, PeerFault> {
        self.side.arm(match wants {
            ClientWants::Received => &[Lane::Filled],
            ClientWants::ReceivedAndSent => &[Lane::Filled, Lane::Returned],
        })
    }

    /// Asks for no doorbell while at work.
    pub fn disarm(&mut self) {
        self.side.disarm();
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
