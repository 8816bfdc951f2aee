//! The reading role on one byte ring.

use super::{READER_STOPPED, RingMemory, StreamError, WRITER_FINISHED, WRITER_OPEN, WRITER_RESET};
use crate::{
    PeerFault,
    header::{Consuming, Header, Line, News},
    memory::{Region, SharedMemory},
};
use core::sync::atomic::Ordering;

/// Takes bytes out of one direction of a stream.
pub struct Reader<M> {
    header: Region<M>,
    bytes: Region<M>,
    capacity: u32,
    state: Consuming,
    /// The writer's state as last seen.
    writer: u32,
    stopped: bool,
    news: News,
    fault: Option<PeerFault>,
}

/// Whether more bytes can come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReaderState {
    /// The writer may write more.
    Open,
    /// The writer finished and everything has been read.
    AtEnd,
}

impl<M: SharedMemory> Reader<M> {
    pub(super) fn new(ring: RingMemory<M>) -> Self {
        let RingMemory { header, bytes, capacity } = ring;
        Self {
            header,
            bytes,
            capacity,
            state: Consuming::new(capacity),
            writer: WRITER_OPEN,
            stopped: false,
            news: News::None,
            fault: None,
        }
    }

    /// Bytes that can be read now; at the end of the stream, and while nothing has come, 0.
    #[inline]
    pub fn available(&mut self) -> Result<usize, StreamError> {
        if let Some(fault) = self.fault {
            return Err(fault.into());
        }
        let result = self.look();
        if let Err(StreamError::Peer(fault)) = result {
            self.fault = Some(fault);
        }
        result
    }

    /// Whether the writer finished and everything has been read.
    pub fn state(&mut self) -> Result<ReaderState, StreamError> {
        // `available` first: it looks at the writer's state before its position.
        let available = self.available()?;
        Ok(if available == 0 && self.writer == WRITER_FINISHED {
            ReaderState::AtEnd
        } else {
            ReaderState::Open
        })
    }

    /// Copies out and takes `target.len()` bytes, and takes `skipped` more, of those that were seen to be there. False, with
    /// nothing done, when those are fewer.
    pub(crate) fn read_seen(&mut self, target: &mut [u8], skipped: usize) -> bool {
        let count = target.len().saturating_add(skipped);
        if count > self.state.known_available() as usize {
            return false;
        }
        let (first, _) = self.split(target.len());
        let (head, tail) = target.split_at_mut_checked(first).unwrap_or_default();
        let head = self.bytes.copy_out(self.start(), head);
        let tail = self.bytes.copy_out(0, tail);
        debug_assert!(head.is_some() && tail.is_some());
        self.consume(count);
        true
    }

    /// Whether the writer was seen to have finished.
    pub(crate) fn has_finished(&self) -> bool {
        self.writer == WRITER_FINISHED
    }

    /// Copies up to `target.len()` bytes out; returns how many.
    pub fn read(&mut self, target: &mut [u8]) -> Result<usize, StreamError> {
        let count = self.available()?.min(target.len());
        let (first, second) = self.split(count);
        let (head, tail) = target.split_at_mut_checked(first).unwrap_or_default();
        let head = self.bytes.copy_out(self.start(), head);
        let tail = tail.get_mut(..second).and_then(|tail| self.bytes.copy_out(0, tail));
        debug_assert!(head.is_some() && tail.is_some());
        self.consume(count);
        Ok(count)
    }

    /// Lends the bytes that lie together at the front to `f` in place, possibly none; takes as many as it says.
    ///
    /// The slice lies in memory that the peer can write: see [`crate::frame`], "In place".
    pub fn read_with<R>(&mut self, f: impl FnOnce(&[u8]) -> (usize, R)) -> Result<R, StreamError> {
        let available = self.available()?;
        let (first, _) = self.split(available);
        match self.bytes.lend(self.start(), first, f) {
            Some((taken, result)) => {
                self.consume(taken.min(first));
                Ok(result)
            }
            None => Err(StreamError::Stopped),
        }
    }

    /// Tells the writer that nobody reads any more.
    pub fn stop(&mut self) {
        self.stopped = true;
        self.news = News::Untold;
        // Release orders nothing that the writer needs; it keeps the state after the last position.
        self.own().state.store(READER_STOPPED, Ordering::Release);
    }

    /// Whether [`Self::available`] would tell something new to one who sleeps for it.
    #[inline]
    pub(super) fn is_ready(&mut self) -> bool {
        !matches!((self.available(), self.writer), (Ok(0), WRITER_OPEN))
    }

    pub(super) fn arm(&self) {
        self.own().arm();
    }

    pub(super) fn disarm(&self) {
        self.own().disarm();
    }

    /// Whether the writer sleeps and is to be woken for space, or because nobody reads any more.
    pub(super) fn must_ring(&mut self) -> bool {
        self.news.tell(&self.header.header::<Header>().producer)
    }

    /// Looks at the writer's state, then at its position, so that "finished" is seen only with all bytes before it.
    fn look(&mut self) -> Result<usize, StreamError> {
        if self.stopped {
            return Err(StreamError::Stopped);
        }
        // Acquire, partner of the Release in `Writer::finish`: the position before the state.
        let writer = self.header.header::<Header>().producer.state.load(Ordering::Acquire);
        if writer > WRITER_RESET || writer < self.writer {
            return Err(PeerFault::State(writer).into());
        }
        self.writer = writer;
        if writer == WRITER_RESET {
            return Err(StreamError::Reset);
        }
        // A u32 fits a usize on every supported target.
        Ok(self.state.available(&self.header)? as usize)
    }

    /// Where the next byte lies.
    fn start(&self) -> usize {
        (self.state.position() & (self.capacity - 1)) as usize
    }

    /// `count` bytes from the front, as what lies before the ring's end and what lies at its start.
    fn split(&self, count: usize) -> (usize, usize) {
        let first = count.min(self.capacity as usize - self.start());
        (first, count - first)
    }

    /// Gives `count` bytes, at most what is available, back to the writer.
    fn consume(&mut self, count: usize) {
        if count != 0 {
            // At most the capacity, which is a u32.
            self.state.advance(&self.header, count as u32);
            self.news = News::Untold;
        }
    }

    fn own(&self) -> &Line {
        &self.header.header::<Header>().consumer
    }
}
