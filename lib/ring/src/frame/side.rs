//! What both sides of a session are: two rings that come in, two that go out, and a map of the buffers held.

use super::{FrameLayout, Kind, Ring, descriptor::Descriptor};
use crate::{
    LayoutError, PeerFault, Sleep,
    header::recheck_fence,
    items::{self, Consumer, Held, Place, Producer, Trust},
    memory::SharedMemory,
};
use alloc::sync::Arc;

/// Words of a descriptor.
const WORDS: usize = 1;

/// Which of a side's two rings in one direction is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Received and send: filled buffers.
    Filled,
    /// Free and sent: buffers that come back.
    Returned,
}

/// One side. Descriptors that come in are checked, and faults of the peer are kept.
pub(super) struct Side<M> {
    pub(super) layout: FrameLayout,
    filled_in: Consumer<M, WORDS>,
    returned_in: Consumer<M, WORDS>,
    filled_out: Producer<M, WORDS>,
    returned_out: Producer<M, WORDS>,
    held: Held,
    trust: Trust,
}

impl<M: SharedMemory> Side<M> {
    /// The side on which these rings come in and these go out, filled and returned, and that holds the buffers of a kind.
    pub(super) fn new(
        rings: &Arc<M>,
        layout: FrameLayout,
        [filled_in, returned_in]: [Ring; 2],
        [filled_out, returned_out]: [Ring; 2],
        own: Kind,
    ) -> Result<Self, LayoutError> {
        let place = |ring| Place { offset: layout.offset(ring), capacity: layout.capacity(ring) };
        if rings.len() < layout.rings_bytes() {
            return Err(LayoutError::MemoryTooSmall { needed: layout.rings_bytes(), actual: rings.len() });
        }
        Ok(Self {
            layout,
            filled_in: Consumer::new(rings, place(filled_in))?,
            returned_in: Consumer::new(rings, place(returned_in))?,
            filled_out: Producer::new(rings, place(filled_out))?,
            returned_out: Producer::new(rings, place(returned_out))?,
            held: Held::new(layout.receive_buffers + layout.send_buffers, own.first, own.count),
            trust: Trust::default(),
        })
    }

    /// Takes the next buffer that the peer hands over on a lane, which must be of this kind: its index, what the peer says of
    /// it, and what `read` makes of the flags.
    pub(super) fn take<F>(
        &mut self,
        lane: Lane,
        kind: Kind,
        read: impl FnOnce(u16) -> Option<F>,
    ) -> Result<Option<(u32, Descriptor, F)>, PeerFault> {
        self.trust.check()?;
        let result = self.take_unchecked(lane, kind, read);
        self.trust.note(result)
    }

    fn take_unchecked<F>(
        &mut self,
        lane: Lane,
        kind: Kind,
        read: impl FnOnce(u16) -> Option<F>,
    ) -> Result<Option<(u32, Descriptor, F)>, PeerFault> {
        let ring = match lane {
            Lane::Filled => &mut self.filled_in,
            Lane::Returned => &mut self.returned_in,
        };
        let Some([word]) = ring.pop()? else { return Ok(None) };
        let descriptor = Descriptor::from_word(word);
        let flags = read(descriptor.flags).ok_or(PeerFault::Flags(descriptor.flags))?;
        let index = descriptor.check(kind)?;
        if !self.held.try_insert(index) {
            return Err(PeerFault::NotOwned { offset: descriptor.offset });
        }
        Ok(Some((index, descriptor, flags)))
    }

    /// Takes the next buffer of a kind that comes back: its index.
    pub(super) fn take_back(&mut self, kind: Kind) -> Result<Option<u32>, PeerFault> {
        let taken = self.take(Lane::Returned, kind, |flags| (flags == 0).then_some(()))?;
        Ok(taken.map(|(index, ..)| index))
    }

    /// Hands a filled buffer over to the peer: `length` bytes of it from `start` on.
    pub(super) fn give(&mut self, index: u32, start: u32, length: u16, flags: u16) -> Result<(), PeerFault> {
        let descriptor = Descriptor { offset: self.layout.buffer_offset(index) + start, length, flags };
        self.put(Lane::Filled, index, descriptor)
    }

    /// Gives a buffer back to the peer.
    pub(super) fn give_back(&mut self, index: u32) -> Result<(), PeerFault> {
        let descriptor = Descriptor { offset: self.layout.buffer_offset(index), length: 0, flags: 0 };
        self.put(Lane::Returned, index, descriptor)
    }

    #[inline]
    fn put(&mut self, lane: Lane, index: u32, descriptor: Descriptor) -> Result<(), PeerFault> {
        self.trust.check()?;
        self.held.remove(index);
        let ring = match lane {
            Lane::Filled => &mut self.filled_out,
            Lane::Returned => &mut self.returned_out,
        };
        self.trust.note(ring.push([descriptor.to_word()]))
    }

    /// Notes that the peer handed over what no buffer may hold.
    pub(super) fn refuse<R>(&mut self, fault: PeerFault) -> Result<R, PeerFault> {
        self.trust.note(Err(fault))
    }

    /// Whether the peer's doorbell is to be rung for what was handed over; ask once after each batch.
    pub(super) fn must_ring(&mut self) -> bool {
        recheck_fence();
        let filled = self.filled_out.must_ring();
        let returned = self.returned_out.must_ring();
        filled || returned
    }

    /// Asks for the doorbell for filled buffers and, if `returned` says so, for those that come back; then looks again.
    #[inline]
    pub(super) fn arm(&mut self, lanes: &[Lane]) -> Result<Sleep, PeerFault> {
        self.trust.check()?;
        let result = if lanes.contains(&Lane::Returned) {
            items::arm(&mut [&mut self.filled_in, &mut self.returned_in])
        } else {
            items::arm(&mut [&mut self.filled_in])
        };
        if result == Ok(Sleep::WorkArrived) {
            self.disarm();
        }
        self.trust.note(result)
    }

    /// Asks for no doorbell while at work.
    pub(super) fn disarm(&mut self) {
        self.filled_in.own().disarm();
        self.returned_in.own().disarm();
    }
}
