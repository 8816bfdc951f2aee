//! One ring of fixed-size items: the producing and the consuming role, and a set of what one side holds.

use crate::{
    LayoutError, PeerFault,
    header::{Consuming, Header, Line, News, Producing, recheck_fence},
    memory::{Region, SharedMemory},
};
use alloc::{boxed::Box, sync::Arc, vec};
use core::sync::atomic::Ordering;

/// Bytes of a ring of `count` items of `words` 64-bit words, a multiple of 64 so that the next header is aligned.
pub(crate) const fn ring_bytes(count: u32, words: usize) -> usize {
    size_of::<Header>() + (count as usize * words * 8).next_multiple_of(64)
}

/// Whether a ring can have so many places: positions wrap, so it is a power of two.
pub(crate) const fn is_ring_size(count: u32, most: u32) -> bool {
    count.is_power_of_two() && count >= 2 && count <= most
}

/// Where one ring lies in the memory, and how many items it holds.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) offset: usize,
    pub(crate) capacity: u32,
}

impl Place {
    fn region<M: SharedMemory>(self, memory: &Arc<M>, words: usize) -> Result<Region<M>, LayoutError> {
        let length = ring_bytes(self.capacity, words);
        Region::new(memory, self.offset, length)
            .ok_or(LayoutError::MemoryTooSmall { needed: self.offset + length, actual: memory.len() })
    }
}

/// Index of the first word of the item with number `position`, behind the header.
fn slot(position: u32, mask: u32, words: usize) -> usize {
    size_of::<Header>() / 8 + (position & mask) as usize * words
}

/// The producing role on one ring of items of `WORDS` words.
pub(crate) struct Producer<M, const WORDS: usize> {
    region: Region<M>,
    state: Producing,
    mask: u32,
    news: News,
}

/// The consuming role on one ring of items of `WORDS` words.
pub(crate) struct Consumer<M, const WORDS: usize> {
    region: Region<M>,
    state: Consuming,
    mask: u32,
}

impl<M: SharedMemory, const WORDS: usize> Producer<M, WORDS> {
    pub(crate) fn new(memory: &Arc<M>, place: Place) -> Result<Self, LayoutError> {
        Ok(Self {
            region: place.region(memory, WORDS)?,
            state: Producing::new(place.capacity),
            mask: place.capacity - 1,
            news: News::None,
        })
    }

    /// Puts one item in. Full is the peer's fault: rings have a place for each item that there is.
    pub(crate) fn push(&mut self, item: [u64; WORDS]) -> Result<(), PeerFault> {
        if self.state.known_space() == 0 && self.state.space(&self.region)? == 0 {
            return Err(PeerFault::Full);
        }
        let first = slot(self.state.position(), self.mask, WORDS);
        for (index, value) in (first..).zip(item) {
            if let Some(word) = self.region.word(index) {
                // Relaxed: the Release store of the position in `advance` publishes it.
                word.store(value, Ordering::Relaxed);
            }
        }
        self.state.advance(&self.region, 1);
        self.news = News::Untold;
        Ok(())
    }

    /// Whether the consumer sleeps and is to be woken for what was put in. [`recheck_fence`] must precede.
    pub(crate) fn must_ring(&mut self) -> bool {
        self.news.tell(&self.region.header::<Header>().consumer)
    }
}

impl<M: SharedMemory, const WORDS: usize> Consumer<M, WORDS> {
    pub(crate) fn new(memory: &Arc<M>, place: Place) -> Result<Self, LayoutError> {
        Ok(Self {
            region: place.region(memory, WORDS)?,
            state: Consuming::new(place.capacity),
            mask: place.capacity - 1,
        })
    }

    /// Takes one item out. Each word is read once, so the caller's checks see what is used.
    pub(crate) fn pop(&mut self) -> Result<Option<[u64; WORDS]>, PeerFault> {
        if self.is_empty()? {
            return Ok(None);
        }
        let first = slot(self.state.position(), self.mask, WORDS);
        let mut item = [0; WORDS];
        for (index, value) in (first..).zip(&mut item) {
            // Relaxed: the Acquire load of the position in `available` came first.
            *value = self.region.word(index).map_or(0, |word| word.load(Ordering::Relaxed));
        }
        self.state.advance(&self.region, 1);
        Ok(Some(item))
    }

    /// Whether there is nothing to take; looks at the shared position only if nothing is known of.
    pub(crate) fn is_empty(&mut self) -> Result<bool, PeerFault> {
        Ok(self.state.known_available() == 0 && self.state.available(&self.region)? == 0)
    }

    /// What this side writes, with its sleep flag.
    pub(crate) fn own(&self) -> &Line {
        &self.region.header::<Header>().consumer
    }
}

/// The set of things that one side holds, by their number.
pub(crate) struct Held {
    bits: Box<[u64]>,
}

impl Held {
    /// A set with room for the numbers below `capacity`, that has `first .. first + count`.
    pub(crate) fn new(capacity: u32, first: u32, count: u32) -> Self {
        let mut held = Self { bits: vec![0; capacity.div_ceil(64) as usize].into_boxed_slice() };
        for number in first..first + count {
            let _fresh = held.try_insert(number);
        }
        held
    }

    /// Adds a number; false when it was in the set, or there is no room for it.
    #[must_use]
    pub(crate) fn try_insert(&mut self, number: u32) -> bool {
        let mask = 1 << (number % 64);
        match self.bits.get_mut((number / 64) as usize) {
            Some(word) if *word & mask == 0 => {
                *word |= mask;
                true
            }
            _ => false,
        }
    }

    /// Removes a number; false when it was not in the set.
    pub(crate) fn remove(&mut self, number: u32) -> bool {
        let mask = 1 << (number % 64);
        match self.bits.get_mut((number / 64) as usize) {
            Some(word) if *word & mask != 0 => {
                *word &= !mask;
                true
            }
            _ => false,
        }
    }
}

/// What a side remembers of its peer: the first fault, which is then the answer to everything.
#[derive(Default)]
pub(crate) struct Trust(Option<PeerFault>);

impl Trust {
    /// The fault, if there was one.
    pub(crate) fn check(&self) -> Result<(), PeerFault> {
        self.0.map_or(Ok(()), Err)
    }

    /// Passes a step's result on and keeps its fault.
    pub(crate) fn note<R>(&mut self, result: Result<R, PeerFault>) -> Result<R, PeerFault> {
        if let Err(fault) = &result {
            self.0 = Some(*fault);
        }
        result
    }
}

/// Raises the sleep flags of those rings and looks at them again; lowers the flags if there is something to take.
#[inline]
pub(crate) fn arm<M: SharedMemory, const WORDS: usize>(
    rings: &mut [&mut Consumer<M, WORDS>],
) -> Result<crate::Sleep, PeerFault> {
    for ring in rings.iter() {
        ring.own().arm();
    }
    recheck_fence();
    let mut idle = true;
    for ring in rings.iter_mut() {
        idle &= ring.is_empty()?;
    }
    if idle {
        return Ok(crate::Sleep::Allowed);
    }
    for ring in rings.iter() {
        ring.own().disarm();
    }
    Ok(crate::Sleep::WorkArrived)
}
