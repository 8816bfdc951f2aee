//! The header of one ring: two positions, two sleep flags, two states; and each side's private view of it.

use crate::{
    PeerFault,
    memory::{Region, SharedLayout, SharedMemory},
};
use core::sync::atomic::{AtomicU32, Ordering, fence};

/// Whether a side that armed its sleep flags may sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Sleep {
    /// Nothing to do: wait for the doorbell.
    Allowed,
    /// Work arrived while arming: the flags are down again, go on working.
    WorkArrived,
}

/// What one side of a ring writes and the other side reads, on a cache line of its own.
#[repr(C, align(64))]
pub(crate) struct Line {
    /// Items put in (producer) or taken out (consumer) since the ring was made, wrapping.
    position: AtomicU32,
    /// 1 while this side wants its doorbell rung. Set by this side, taken back by either.
    sleeping: AtomicU32,
    /// State of this side; only byte streams use it.
    pub(crate) state: AtomicU32,
}

/// Both sides' lines.
#[repr(C)]
pub(crate) struct Header {
    pub(crate) producer: Line,
    pub(crate) consumer: Line,
}

const _: () = assert!(size_of::<Header>() == 128 && align_of::<Header>() == 64);
const _: () =
    assert!(core::mem::offset_of!(Line, position) == 0 && core::mem::offset_of!(Line, sleeping) == 4);
const _: () = assert!(core::mem::offset_of!(Header, consumer) == 64);

// SAFETY: `repr(C)`, atomics only, aligned to 64.
unsafe impl SharedLayout for Header {}

impl Header {
    /// Makes it that of a new ring.
    pub(crate) fn reset(&self) {
        for line in [&self.producer, &self.consumer] {
            line.position.store(0, Ordering::Relaxed);
            line.sleeping.store(0, Ordering::Relaxed);
            line.state.store(0, Ordering::Relaxed);
        }
    }
}

impl Line {
    /// Raises the flag; [`recheck_fence`] must follow before the re-check.
    pub(crate) fn arm(&self) {
        self.sleeping.store(1, Ordering::Relaxed);
    }

    /// Lowers the flag.
    pub(crate) fn disarm(&self) {
        self.sleeping.store(0, Ordering::Relaxed);
    }

    /// Takes the flag: true exactly once for each time it was raised. [`recheck_fence`] must precede.
    fn take_sleeping(&self) -> bool {
        // The plain load keeps the cache line shared in the common case of a peer that is awake.
        self.sleeping.load(Ordering::Relaxed) == 1 && self.sleeping.swap(0, Ordering::Relaxed) == 1
    }
}

/// Whether something was handed over since the peer's sleep flag was last looked at. Without this, a peer that
/// sleeps for one ring would be woken by work on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing.
    None,
    /// The peer is to be told.
    Untold,
}

impl News {
    /// Takes the peer's sleep flag if there is something to tell. [`recheck_fence`] must precede. A peer that was awake
    /// is not told later: its own re-check finds what was handed over.
    pub(crate) fn tell(&mut self, peer: &Line) -> bool {
        core::mem::replace(self, Self::None) == Self::Untold && peer.take_sleeping()
    }
}

/// Orders a flag or position store before the load of the other; partner of itself on the other side.
pub(crate) fn recheck_fence() {
    fence(Ordering::SeqCst);
}

/// The producing side's private state of a ring.
pub(crate) struct Producing {
    /// Own position; the shared copy is written and never read back.
    produced: u32,
    /// The last checked position of the consumer.
    consumed: u32,
    /// Items that the ring holds: a power of two, so that positions may wrap.
    capacity: u32,
}

impl Producing {
    pub(crate) const fn new(capacity: u32) -> Self {
        Self { produced: 0, consumed: 0, capacity }
    }

    /// Own position.
    pub(crate) const fn position(&self) -> u32 {
        self.produced
    }

    /// Free items, by what is known already.
    pub(crate) const fn known_space(&self) -> u32 {
        self.capacity - self.produced.wrapping_sub(self.consumed)
    }

    /// Free items after one look at the consumer's position.
    pub(crate) fn space<M: SharedMemory>(&mut self, header: &Region<M>) -> Result<u32, PeerFault> {
        // Acquire, partner of the consumer's Release in `Consuming::advance`: what it has taken out it no longer reads.
        let claimed = header.header::<Header>().consumer.position.load(Ordering::Acquire);
        // The consumer can only move forward, and at most to our position.
        let filled = self.produced.wrapping_sub(claimed);
        if filled > self.produced.wrapping_sub(self.consumed) {
            return Err(PeerFault::Position { claimed, own: self.produced });
        }
        self.consumed = claimed;
        Ok(self.known_space())
    }

    /// Makes `count` items that were written visible; at most [`Self::known_space`].
    pub(crate) fn advance<M: SharedMemory>(&mut self, header: &Region<M>, count: u32) {
        debug_assert!(count <= self.known_space());
        self.produced = self.produced.wrapping_add(count);
        // Release, partner of the consumer's Acquire in `Consuming::available`: the items before the position.
        header.header::<Header>().producer.position.store(self.produced, Ordering::Release);
    }
}

/// The consuming side's private state of a ring.
pub(crate) struct Consuming {
    /// Own position; the shared copy is written and never read back.
    consumed: u32,
    /// The last checked position of the producer.
    produced: u32,
    /// Items that the ring holds: a power of two.
    capacity: u32,
}

impl Consuming {
    pub(crate) const fn new(capacity: u32) -> Self {
        Self { consumed: 0, produced: 0, capacity }
    }

    /// Own position.
    pub(crate) const fn position(&self) -> u32 {
        self.consumed
    }

    /// Items to take, by what is known already.
    pub(crate) const fn known_available(&self) -> u32 {
        self.produced.wrapping_sub(self.consumed)
    }

    /// Items to take after one look at the producer's position.
    pub(crate) fn available<M: SharedMemory>(&mut self, header: &Region<M>) -> Result<u32, PeerFault> {
        // Acquire, partner of the producer's Release in `Producing::advance`: the items are written.
        let claimed = header.header::<Header>().producer.position.load(Ordering::Acquire);
        // The producer can only move forward, and at most one capacity ahead of us.
        let available = claimed.wrapping_sub(self.consumed);
        if available > self.capacity || available < self.known_available() {
            return Err(PeerFault::Position { claimed, own: self.consumed });
        }
        self.produced = claimed;
        Ok(available)
    }

    /// Gives `count` items back to the producer; at most [`Self::known_available`].
    pub(crate) fn advance<M: SharedMemory>(&mut self, header: &Region<M>, count: u32) {
        debug_assert!(count <= self.known_available());
        self.consumed = self.consumed.wrapping_add(count);
        // Release, partner of the producer's Acquire in `Producing::space`: our reads before it may overwrite.
        header.header::<Header>().consumer.position.store(self.consumed, Ordering::Release);
    }
}
