//! One ring of descriptors: its word format, and the producing and the consuming role.

use super::{FrameLayout, Ring, ring_bytes};
use crate::{
    LayoutError, PeerFault,
    header::{Consuming, Header, Line, News, Producing},
    memory::{Region, SharedMemory},
};
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

/// Where a frame lies in the buffers; as read from a ring it is a claim that is still to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) offset: u32,
    pub(super) length: u16,
    pub(super) flags: u16,
}

impl Descriptor {
    pub(super) const fn to_word(self) -> u64 {
        self.offset as u64 | (self.length as u64) << 32 | (self.flags as u64) << 48
    }

    const fn from_word(word: u64) -> Self {
        Self { offset: word as u32, length: (word >> 32) as u16, flags: (word >> 48) as u16 }
    }

    /// The index of the buffer that holds all of the bytes, if it is one of `first .. first + count`.
    pub(super) fn check(self, layout: &FrameLayout, first: u32, count: u32) -> Result<u32, PeerFault> {
        if self.flags != 0 {
            return Err(PeerFault::Flags(self.flags));
        }
        let index = self.offset / layout.buffer_bytes;
        let start = self.offset % layout.buffer_bytes;
        if index < first || index - first >= count || u32::from(self.length) > layout.buffer_bytes - start {
            return Err(PeerFault::Range { offset: self.offset, length: self.length });
        }
        Ok(index)
    }
}

/// The producing role on one ring.
pub(super) struct Producer<M> {
    region: Region<M>,
    state: Producing,
    mask: u32,
    news: News,
}

/// The consuming role on one ring.
pub(super) struct Consumer<M> {
    region: Region<M>,
    state: Consuming,
    mask: u32,
}

fn region<M: SharedMemory>(
    memory: &Arc<M>,
    layout: &FrameLayout,
    ring: Ring,
) -> Result<Region<M>, LayoutError> {
    Region::new(memory, layout.offset(ring), ring_bytes(layout.capacity(ring)))
        .ok_or(LayoutError::MemoryTooSmall { needed: layout.rings_bytes(), actual: memory.len() })
}

/// The place in the ring of the item with number `position`: its word, behind the header.
fn slot(position: u32, mask: u32) -> usize {
    size_of::<Header>() / 8 + (position & mask) as usize
}

impl<M: SharedMemory> Producer<M> {
    pub(super) fn new(memory: &Arc<M>, layout: &FrameLayout, ring: Ring) -> Result<Self, LayoutError> {
        let capacity = layout.capacity(ring);
        Ok(Self {
            region: region(memory, layout, ring)?,
            state: Producing::new(capacity),
            mask: capacity - 1,
            news: News::None,
        })
    }

    /// Puts one descriptor in. Full is the peer's fault: it holds more buffers than there are.
    pub(super) fn push(&mut self, descriptor: Descriptor) -> Result<(), PeerFault> {
        if self.state.known_space() == 0 && self.state.space(&self.region)? == 0 {
            return Err(PeerFault::Full);
        }
        if let Some(word) = self.region.word(slot(self.state.position(), self.mask)) {
            // Relaxed: the Release store of the position in `advance` publishes it.
            word.store(descriptor.to_word(), Ordering::Relaxed);
        }
        self.state.advance(&self.region, 1);
        self.news = News::Untold;
        Ok(())
    }

    /// Whether the consumer sleeps and is to be woken for what was put in.
    pub(super) fn must_ring(&mut self) -> bool {
        self.news.tell(&self.region.header::<Header>().consumer)
    }
}

impl<M: SharedMemory> Consumer<M> {
    pub(super) fn new(memory: &Arc<M>, layout: &FrameLayout, ring: Ring) -> Result<Self, LayoutError> {
        let capacity = layout.capacity(ring);
        Ok(Self {
            region: region(memory, layout, ring)?,
            state: Consuming::new(capacity),
            mask: capacity - 1,
        })
    }

    /// Takes one descriptor out.
    pub(super) fn pop(&mut self) -> Result<Option<Descriptor>, PeerFault> {
        if self.is_empty()? {
            return Ok(None);
        }
        let slot = slot(self.state.position(), self.mask);
        // Relaxed: the Acquire load of the position in `available` came first. Read once, so the checks see what is used.
        let word = self.region.word(slot).map(|word| word.load(Ordering::Relaxed));
        self.state.advance(&self.region, 1);
        Ok(word.map(Descriptor::from_word))
    }

    /// Whether there is nothing to take; looks at the shared position only if nothing is known of.
    pub(super) fn is_empty(&mut self) -> Result<bool, PeerFault> {
        Ok(self.state.known_available() == 0 && self.state.available(&self.region)? == 0)
    }

    /// What this side writes, with its sleep flag.
    pub(super) fn own(&self) -> &Line {
        &self.region.header::<Header>().consumer
    }
}
