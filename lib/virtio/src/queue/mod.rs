//! Virtqueues of a size that is known only at run time, kept safe from the device.
//!
//! The ring itself is the crate's. What this adds: the size is chosen from what the device says; buffers are
//! named by memory and range, never by reference; and each chain in flight is shadowed by its token with the
//! owner's tag, which comes back by value. A device that uses a token that is not in flight gets no further than
//! [`DeviceFault`]: the crate would index its tables with it.
//!
//! ```text
//!   add(parts, tag) --> crate: token --> by_token[token] = slot --> chains[slot] = (parts, tag)
//!   take_used() <------ crate: peek ---> by_token[token], or DeviceFault --> crate: pop --> (tag, length)
//! ```

mod sized;
mod stack;
#[cfg(test)]
mod tests;

use crate::{
    dma::DmaMemory,
    transport::{PciTransport, TransportFault},
};
use alloc::{boxed::Box, rc::Rc, vec, vec::Vec};
use core::{
    fmt,
    sync::atomic::{Ordering, fence},
};
use sized::{Ring, Spans, new_ring, queue_size};
use virtio_drivers::{Error, PAGE_SIZE};

/// The most parts of one chain.
pub const MAXIMUM_PARTS: usize = 4;

/// In `by_token`: no chain starts at this descriptor.
const NO_SLOT: u16 = u16::MAX;

/// A range of one of the queue's memories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Index of the memory in the list that the queue was made with.
    pub memory: u8,
    /// First byte.
    pub offset: u32,
    /// Bytes; not 0.
    pub length: u32,
}

/// Why a queue cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueError {
    /// The device has no such queue, or a size that is no power of two from 64 to 8192 (a modern device may have more:
    /// that is cut).
    Size(u16),
    /// The device answered the set-up of the queue with nonsense.
    Transport(TransportFault),
    /// The crate refused: the queue is in use, or there is no arena memory.
    Refused(Error),
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(size) => write!(f, "the device has a queue of impossible size {size}"),
            Self::Transport(fault) => fault.fmt(f),
            Self::Refused(error) => write!(f, "no queue: {error}"),
        }
    }
}

impl core::error::Error for QueueError {}

/// Why a chain cannot be added; the caller's fault or the queue's load, never the device's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddError {
    /// Not enough free descriptors, or as many chains in flight as were planned for.
    Full,
    /// No parts, more than [`MAXIMUM_PARTS`], or a part that is not inside its memory.
    BadPart,
}

/// What the device did wrong with a queue. It is to be reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceFault {
    /// It used a descriptor that it was not given.
    Token(u16),
    /// It changed a used entry while it was read.
    Unstable,
}

impl fmt::Display for DeviceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(token) => write!(f, "the device used descriptor {token}, which it was not given"),
            Self::Unstable => write!(f, "the device changed a used entry while it was read"),
        }
    }
}

impl core::error::Error for DeviceFault {}

/// A chain that came back.
#[derive(Debug, PartialEq, Eq)]
pub struct Used<T> {
    /// What it was added with.
    pub tag: T,
    /// Bytes that the device claims to have written; may be more than there was room for.
    pub claimed: u32,
    /// Bytes that there was room for.
    pub room: u32,
}

/// Whether the device is asked to interrupt for used chains. Only advice: it may interrupt all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notifications {
    /// Interrupt when chains are used.
    Wanted,
    /// Do not.
    Unwanted,
}

/// One chain in the device's hands.
struct Chain<T> {
    parts: [Part; MAXIMUM_PARTS],
    readable: usize,
    writable: usize,
    tag: T,
}

/// A virtqueue whose chains carry a tag `T` each.
pub struct Queue<T> {
    ring: Box<dyn Ring>,
    index: u16,
    memories: Vec<Option<Rc<DmaMemory>>>,
    chains: Vec<Option<Chain<T>>>,
    free_slots: Vec<u16>,
    by_token: Box<[u16]>,
    /// What the device was asked for last.
    notifications: Option<Notifications>,
}

impl<T> Queue<T> {
    /// Makes queue number `index`, with at most `maximum_in_flight` chains whose parts lie in `memories`.
    ///
    /// A modern device's queue is cut to what `maximum_in_flight` chains of [`MAXIMUM_PARTS`] parts can use; a legacy
    /// device alone says how large its queue is. The device must be reset before the queue is dropped.
    pub fn new(
        transport: &mut PciTransport,
        index: u16,
        vector: u16,
        maximum_in_flight: u16,
        memories: Vec<Rc<DmaMemory>>,
    ) -> Result<Self, QueueError> {
        let offered = transport.prepare_queue(index, vector).map_err(QueueError::Transport)?;
        let size = queue_size(transport, offered, maximum_in_flight)?;
        let ring = new_ring(transport, index, size)?;
        if let Some(fault) = transport.fault() {
            return Err(QueueError::Transport(fault));
        }
        let slots = maximum_in_flight.min(size);
        Ok(Self {
            ring,
            index,
            memories: memories.into_iter().map(Some).collect(),
            chains: (0..slots).map(|_| None).collect(),
            free_slots: (0..slots).rev().collect(),
            by_token: vec![NO_SLOT; usize::from(size)].into_boxed_slice(),
            notifications: None,
        })
    }

    /// The queue's number, for notifying the device.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// Whether this is the memory with that index.
    pub fn has_memory(&self, index: u8, memory: &Rc<DmaMemory>) -> bool {
        matches!(self.memories.get(usize::from(index)), Some(Some(known)) if Rc::ptr_eq(known, memory))
    }

    /// Gives parts with an index this memory. Errors: `BadPart` while a chain in flight has a part in the one before.
    pub fn set_memory(&mut self, index: u8, memory: &Rc<DmaMemory>) -> Result<(), AddError> {
        let uses = |chain: &Chain<T>| {
            let parts = chain.parts.iter().take(chain.readable + chain.writable);
            parts.into_iter().any(|part| part.memory == index)
        };
        if self.chains.iter().flatten().any(uses) {
            return Err(AddError::BadPart);
        }
        let index = usize::from(index);
        if self.memories.len() <= index {
            self.memories.resize(index + 1, None);
        }
        if let Some(place) = self.memories.get_mut(index) {
            *place = Some(Rc::clone(memory));
        }
        Ok(())
    }

    /// Number of descriptors.
    pub fn size(&self) -> usize {
        self.by_token.len()
    }

    /// Chains in the device's hands.
    pub fn in_flight(&self) -> usize {
        self.chains.len() - self.free_slots.len()
    }

    /// Gives a chain to the device: `readable` parts for it to read, then `writable` ones for it to write. The tag
    /// comes back with an error.
    pub fn add(&mut self, readable: &[Part], writable: &[Part], tag: T) -> Result<(), (AddError, T)> {
        match self.try_add(readable, writable) {
            Ok((token, slot)) => {
                let mut parts = [Part::default(); MAXIMUM_PARTS];
                for (place, part) in parts.iter_mut().zip(readable.iter().chain(writable)) {
                    *place = *part;
                }
                if let Some(entry) = self.by_token.get_mut(usize::from(token)) {
                    *entry = slot;
                }
                if let Some(place) = self.chains.get_mut(usize::from(slot)) {
                    *place = Some(Chain { parts, readable: readable.len(), writable: writable.len(), tag });
                }
                Ok(())
            }
            Err(error) => Err((error, tag)),
        }
    }

    /// Takes the next chain that the device has used.
    pub fn take_used(&mut self) -> Result<Option<Used<T>>, DeviceFault> {
        let Some(token) = self.ring.peek_used() else { return Ok(None) };
        let fault = DeviceFault::Token(token);
        let entry =
            self.by_token.get_mut(usize::from(token)).filter(|entry| **entry != NO_SLOT).ok_or(fault)?;
        let slot = core::mem::replace(entry, NO_SLOT);
        let chain = self.chains.get_mut(usize::from(slot)).and_then(Option::take).ok_or(fault)?;
        self.free_slots.push(slot);
        let spans = self
            .spans(chain.parts.get(..chain.readable + chain.writable).unwrap_or_default())
            .ok_or(fault)?;
        let claimed = self
            .ring
            .pop_used(token, &spans, chain.readable, chain.writable)
            .map_err(|_| DeviceFault::Unstable)?;
        // At most four parts of at most 4 GiB each, but all inside memories of at most 4 GiB.
        let room = chain
            .parts
            .iter()
            .skip(chain.readable)
            .take(chain.writable)
            .map(|part| part.length)
            .fold(0, u32::saturating_add);
        Ok(Some(Used { tag: chain.tag, claimed, room }))
    }

    /// Whether a used chain is waiting.
    pub fn has_used(&self) -> bool {
        self.ring.peek_used().is_some()
    }

    /// Whether the device is to be notified of what was added; ask once after each batch.
    #[must_use]
    pub fn must_notify(&self) -> bool {
        // The crate publishes the available index with Release only, and a processor may load the device's flag before
        // that store is seen. Partner: the device's barrier between clearing the flag and looking at the index
        // again [VIRTIO-1.2 2.7.13.4.1].
        fence(Ordering::SeqCst);
        self.ring.should_notify()
    }

    /// Asks the device for interrupts, or not. After asking for them, look at [`Self::has_used`] again before sleeping.
    pub fn set_notifications(&mut self, notifications: Notifications) {
        if self.notifications == Some(notifications) {
            return;
        }
        self.notifications = Some(notifications);
        self.ring.set_interrupts(notifications == Notifications::Wanted);
        // Partner: the device's barrier between writing the used index and looking at the flag [VIRTIO-1.2 2.7.7.2].
        fence(Ordering::SeqCst);
    }

    fn try_add(&mut self, readable: &[Part], writable: &[Part]) -> Result<(u16, u16), AddError> {
        let count = readable.len().saturating_add(writable.len());
        if count == 0 || count > MAXIMUM_PARTS {
            return Err(AddError::BadPart);
        }
        let mut parts = [Part::default(); MAXIMUM_PARTS];
        for (place, part) in parts.iter_mut().zip(readable.iter().chain(writable)) {
            *place = *part;
        }
        let spans = self.spans(parts.get(..count).unwrap_or_default()).ok_or(AddError::BadPart)?;
        let slot = self.free_slots.pop().ok_or(AddError::Full)?;
        match self.ring.add(&spans, readable.len(), writable.len()) {
            Ok(token) => Ok((token, slot)),
            Err(_) => {
                self.free_slots.push(slot);
                Err(AddError::Full)
            }
        }
    }

    /// The addresses of parts, all checked.
    fn spans(&self, parts: &[Part]) -> Option<Spans> {
        let mut spans = [None; MAXIMUM_PARTS];
        for (place, part) in spans.iter_mut().zip(parts) {
            let memory = self.memories.get(usize::from(part.memory))?.as_ref()?;
            *place = Some(memory.bytes(part.offset, part.length)?);
        }
        Some(Spans(spans))
    }
}

/// Pages of arena that one queue of `size` descriptors takes, on any transport.
pub const fn arena_pages(size: u16) -> usize {
    let size = size as usize;
    // The crate's legacy layout [VIRTIO-1.2 2.7.2] is the larger one: descriptors and available ring, then the
    // used ring, each part rounded up to more than whole pages.
    let driver = 16 * size + 2 * (3 + size);
    let device = 8 * size + 2 * 3;
    driver / PAGE_SIZE + 1 + device / PAGE_SIZE + 1
}
