//! Byte rings of one connection between the network stack and its client, both ways in one memory object.
//!
//! ```text
//!           Writer ==== to client ====> Reader
//!   stack                                         client
//!           Reader <=== from client === Writer
//! ```
//!
//! The stack calls [`create`] on memory that nobody else has; the client, which learns the capacities from the memory
//! itself, calls [`open`]. Each gets an [`End`]: one [`Reader`] and one [`Writer`].
//!
//! # Life of one direction
//!
//! ```text
//!   writer's state:  open --finish()--> finished        (FIN: all bytes before it can still be read)
//!                      \                   |
//!                       `----reset()-------+--> reset   (RST: what was not read yet is lost)
//!   reader's state:  open --stop()--> stopped           (nobody will read any more)
//! ```
//!
//! A state never goes back; one that does, or that is no state at all, is a [`PeerFault`].
//!
//! # Layout
//!
//! | bytes | what |
//! |---|---|
//! | 0 to 63 | magic, capacity to client, capacity from client: 32 bits each; written once by [`create`] |
//! | 64 to 191 | header of the ring to the client |
//! | 192 to 319 | header of the ring from the client |
//! | 320 on | bytes to the client, then bytes from the client |

mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use reader::{Reader, ReaderState};
pub use writer::Writer;

use crate::{
    LayoutError, PeerFault, Sleep,
    header::{Header, recheck_fence},
    memory::{Region, SharedLayout, SharedMemory},
};
use alloc::sync::Arc;
use core::{
    fmt,
    sync::atomic::{AtomicU32, Ordering},
};

/// "capS": tells a stream from memory that was never one.
const MAGIC: u32 = u32::from_le_bytes(*b"capS");

/// Bytes before the first ring's data.
const DATA_OFFSET: usize = 64 + 2 * size_of::<Header>();

/// What [`create`] writes at the start.
#[repr(C, align(64))]
struct Preamble {
    magic: AtomicU32,
    to_client: AtomicU32,
    from_client: AtomicU32,
}

const _: () = assert!(size_of::<Preamble>() == 64);

// SAFETY: `repr(C)`, atomics only, aligned to 64.
unsafe impl SharedLayout for Preamble {}

/// State of the writer, as it stands in shared memory.
const WRITER_OPEN: u32 = 0;
const WRITER_FINISHED: u32 = 1;
const WRITER_RESET: u32 = 2;
/// State of the reader, as it stands in shared memory.
const READER_OPEN: u32 = 0;
const READER_STOPPED: u32 = 1;

/// The two capacities of a stream in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLayout {
    to_client: u32,
    from_client: u32,
}

impl Default for StreamLayout {
    /// 16 KiB each way.
    fn default() -> Self {
        Self { to_client: 16 << 10, from_client: 16 << 10 }
    }
}

impl StreamLayout {
    /// Capacities in bytes: powers of two from 256 B to 16 MiB.
    pub const fn new(to_client: u32, from_client: u32) -> Result<Self, LayoutError> {
        if !is_capacity(to_client) {
            return Err(LayoutError::Capacity(to_client));
        }
        if !is_capacity(from_client) {
            return Err(LayoutError::Capacity(from_client));
        }
        Ok(Self { to_client, from_client })
    }

    /// Bytes of memory that a stream of this layout needs.
    pub const fn bytes(&self) -> usize {
        DATA_OFFSET + self.to_client as usize + self.from_client as usize
    }
}

const fn is_capacity(bytes: u32) -> bool {
    bytes.is_power_of_two() && bytes >= 256 && bytes <= 16 << 20
}

/// Why no byte can be moved in one direction any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamError {
    /// The peer broke the protocol; close the connection.
    Peer(PeerFault),
    /// The writer reset the connection.
    Reset,
    /// The reader does not read any more.
    Stopped,
    /// This side finished its direction before.
    Finished,
}

impl From<PeerFault> for StreamError {
    fn from(fault: PeerFault) -> Self {
        Self::Peer(fault)
    }
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(fault) => fault.fmt(f),
            Self::Reset => write!(f, "connection reset"),
            Self::Stopped => write!(f, "the peer stopped reading"),
            Self::Finished => write!(f, "writing after the end"),
        }
    }
}

impl core::error::Error for StreamError {}

/// One side's end of a stream.
pub struct End<M> {
    /// Bytes from the peer.
    pub reader: Reader<M>,
    /// Bytes to the peer.
    pub writer: Writer<M>,
}

/// What an end wants to be woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamWants {
    /// Bytes to read, or the end of them.
    Bytes,
    /// Space to write.
    Space,
    /// Either.
    BytesOrSpace,
}

impl<M: SharedMemory> End<M> {
    /// Whether the peer's doorbell is to be rung for what was read, written, finished, reset or stopped; ask once after
    /// each batch.
    #[must_use]
    pub fn must_ring(&mut self) -> bool {
        recheck_fence();
        let bytes = self.writer.must_ring();
        let space = self.reader.must_ring();
        bytes || space
    }

    /// Asks for the doorbell, then looks again: [`Sleep::WorkArrived`] also when a direction ended. `wants` is to name only
    /// directions that have not: an end is always news.
    #[inline]
    pub fn arm(&mut self, wants: StreamWants) -> Sleep {
        let (bytes, space) = (wants != StreamWants::Space, wants != StreamWants::Bytes);
        if bytes {
            self.reader.arm();
        }
        if space {
            self.writer.arm();
        }
        recheck_fence();
        if (bytes && self.reader.is_ready()) || (space && self.writer.is_ready()) {
            self.disarm();
            return Sleep::WorkArrived;
        }
        Sleep::Allowed
    }

    /// Asks for no doorbell while at work.
    pub fn disarm(&mut self) {
        self.reader.disarm();
        self.writer.disarm();
    }

    /// Ends both directions at once: resets what is written and reads no more.
    pub fn reset(&mut self) {
        self.writer.reset();
        self.reader.stop();
    }
}

/// Makes a stream in memory that nobody else has now, whatever was in it, and returns the stack's end of it.
pub fn create<M: SharedMemory>(memory: &Arc<M>, layout: StreamLayout) -> Result<End<M>, LayoutError> {
    let preamble = Region::new(memory, 0, size_of::<Preamble>()).ok_or_else(|| too_small(memory, &layout))?;
    let rings = Rings::new(memory, layout)?;
    let preamble: &Preamble = preamble.header();
    preamble.to_client.store(layout.to_client, Ordering::Relaxed);
    preamble.from_client.store(layout.from_client, Ordering::Relaxed);
    for ring in [&rings.to_client, &rings.from_client] {
        ring.header.header::<Header>().reset();
    }
    // Release, partner of the Acquire in `open`: the capacities before the magic.
    preamble.magic.store(MAGIC, Ordering::Release);
    let Rings { to_client, from_client } = rings;
    Ok(End { reader: Reader::new(from_client), writer: Writer::new(to_client) })
}

/// Opens the client's end of a stream that the stack created.
pub fn open<M: SharedMemory>(memory: &Arc<M>) -> Result<End<M>, LayoutError> {
    let preamble = Region::new(memory, 0, size_of::<Preamble>()).ok_or(LayoutError::NotAStream)?;
    let preamble: &Preamble = preamble.header();
    // Acquire, partner of the Release in `create`.
    if preamble.magic.load(Ordering::Acquire) != MAGIC {
        return Err(LayoutError::NotAStream);
    }
    let layout = StreamLayout::new(
        preamble.to_client.load(Ordering::Relaxed),
        preamble.from_client.load(Ordering::Relaxed),
    )?;
    let Rings { to_client, from_client } = Rings::new(memory, layout)?;
    Ok(End { reader: Reader::new(to_client), writer: Writer::new(from_client) })
}

/// Both rings of a stream.
struct Rings<M> {
    to_client: RingMemory<M>,
    from_client: RingMemory<M>,
}

/// One ring: its header, its bytes, and how many those are.
struct RingMemory<M> {
    header: Region<M>,
    bytes: Region<M>,
    capacity: u32,
}

impl<M: SharedMemory> Rings<M> {
    fn new(memory: &Arc<M>, layout: StreamLayout) -> Result<Self, LayoutError> {
        let ring = |header: usize, bytes: usize, capacity: u32| {
            Some(RingMemory {
                header: Region::new(memory, header, size_of::<Header>())?,
                bytes: Region::new(memory, bytes, capacity as usize)?,
                capacity,
            })
        };
        let rings = || {
            Some(Self {
                to_client: ring(64, DATA_OFFSET, layout.to_client)?,
                from_client: ring(
                    64 + size_of::<Header>(),
                    DATA_OFFSET + layout.to_client as usize,
                    layout.from_client,
                )?,
            })
        };
        rings().ok_or_else(|| too_small(memory, &layout))
    }
}

fn too_small<M: SharedMemory>(memory: &Arc<M>, layout: &StreamLayout) -> LayoutError {
    LayoutError::MemoryTooSmall { needed: layout.bytes(), actual: memory.len() }
}
