//! The writing role on one byte ring.

use super::{
    READER_OPEN, READER_STOPPED, RingMemory, StreamError, WRITER_FINISHED, WRITER_OPEN, WRITER_RESET,
};
use crate::{
    PeerFault,
    header::{Header, Line, News, Producing},
    memory::{Region, SharedMemory},
};
use core::sync::atomic::Ordering;

/// Puts bytes into one direction of a stream.
pub struct Writer<M> {
    header: Region<M>,
    bytes: Region<M>,
    capacity: u32,
    state: Producing,
    /// Own state; the shared copy is written and never read back.
    own: u32,
    /// The reader's state as last seen.
    reader: u32,
    news: News,
    fault: Option<PeerFault>,
}

impl<M: SharedMemory> Writer<M> {
    pub(super) fn new(ring: RingMemory<M>) -> Self {
        let RingMemory { header, bytes, capacity } = ring;
        Self {
            header,
            bytes,
            capacity,
            state: Producing::new(capacity),
            own: WRITER_OPEN,
            reader: READER_OPEN,
            news: News::None,
            fault: None,
        }
    }

    /// Bytes that can be written now.
    #[inline]
    pub fn space(&mut self) -> Result<usize, StreamError> {
        if let Some(fault) = self.fault {
            return Err(fault.into());
        }
        let result = self.look();
        if let Err(StreamError::Peer(fault)) = result {
            self.fault = Some(fault);
        }
        result
    }

    /// Copies up to `source.len()` bytes in; returns how many.
    #[inline]
    pub fn write(&mut self, source: &[u8]) -> Result<usize, StreamError> {
        let count = self.space()?.min(source.len());
        let first = self.until_end(count);
        let (head, tail) =
            source.get(..count).unwrap_or_default().split_at_checked(first).unwrap_or_default();
        let head = self.bytes.copy_in(self.start(), head);
        let tail = self.bytes.copy_in(0, tail);
        debug_assert!(head.is_some() && tail.is_some());
        self.publish(count);
        Ok(count)
    }

    /// Copies all parts in, one behind the other, and makes them visible together; false, with nothing done, when there is
    /// no room for them all.
    pub fn write_together<const N: usize>(&mut self, parts: [&[u8]; N]) -> Result<bool, StreamError> {
        let space = self.space()?;
        let total = parts.iter().fold(0usize, |total, part| total.saturating_add(part.len()));
        if total > space {
            return Ok(false);
        }
        // A u32 fits a usize on every supported target.
        let capacity = self.capacity as usize;
        let mut place = self.start();
        for part in parts {
            let (head, tail) = part.split_at_checked(capacity - place).unwrap_or((part, &[]));
            let head_done = self.bytes.copy_in(place, head);
            let tail_done = self.bytes.copy_in(0, tail);
            debug_assert!(head_done.is_some() && tail_done.is_some());
            place = (place + part.len()) & (capacity - 1);
        }
        self.publish(total);
        Ok(true)
    }

    /// Lends the space that lies together at the front to `f` in place, possibly none; publishes the first so many
    /// bytes of it as `f` says.
    ///
    /// The slice holds old bytes of the stream, and lies in memory that the peer can write: see [`crate::frame`], "In place".
    pub fn write_with<R>(&mut self, f: impl FnOnce(&mut [u8]) -> (usize, R)) -> Result<R, StreamError> {
        let space = self.space()?;
        let first = self.until_end(space);
        let start = self.start();
        match self.bytes.lend_mut(start, first, f) {
            Some((written, result)) => {
                self.publish(written.min(first));
                Ok(result)
            }
            None => Err(StreamError::Stopped),
        }
    }

    /// Whether the peer has taken everything that was written.
    pub fn is_drained(&mut self) -> Result<bool, StreamError> {
        match self.space() {
            // After the end the reader still takes what was written before.
            Ok(_) | Err(StreamError::Finished) => {
                let space = self.state.space(&self.header).inspect_err(|&fault| self.fault = Some(fault))?;
                Ok(space == self.capacity)
            }
            Err(error) => Err(error),
        }
    }

    /// Ends the direction after what was written: the reader gets all of it and then the end.
    pub fn finish(&mut self) {
        self.leave(WRITER_FINISHED);
    }

    /// Ends the direction at once: the reader gets an error.
    pub fn reset(&mut self) {
        self.leave(WRITER_RESET);
    }

    /// Whether [`Self::space`] would tell something new to one who sleeps for it.
    #[inline]
    pub(super) fn is_ready(&mut self) -> bool {
        !matches!(self.space(), Ok(0))
    }

    pub(super) fn arm(&self) {
        self.own_line().arm();
    }

    pub(super) fn disarm(&self) {
        self.own_line().disarm();
    }

    /// Whether the reader sleeps and is to be woken for bytes, or for the end of them.
    pub(super) fn must_ring(&mut self) -> bool {
        self.news.tell(&self.header.header::<Header>().consumer)
    }

    fn look(&mut self) -> Result<usize, StreamError> {
        // Relaxed: the state says nothing about the bytes.
        let reader = self.header.header::<Header>().consumer.state.load(Ordering::Relaxed);
        if reader > READER_STOPPED || reader < self.reader {
            return Err(PeerFault::State(reader).into());
        }
        self.reader = reader;
        match self.own {
            WRITER_FINISHED => return Err(StreamError::Finished),
            WRITER_RESET => return Err(StreamError::Reset),
            _ => {}
        }
        if reader == READER_STOPPED {
            return Err(StreamError::Stopped);
        }
        // A u32 fits a usize on every supported target.
        Ok(self.state.space(&self.header)? as usize)
    }

    /// Enters a later state; an earlier one is ignored.
    fn leave(&mut self, state: u32) {
        if state > self.own {
            self.own = state;
            self.news = News::Untold;
            // Release, partner of the Acquire in `Reader::look`: the last position before the state.
            self.own_line().state.store(state, Ordering::Release);
        }
    }

    /// Where the next byte goes.
    fn start(&self) -> usize {
        (self.state.position() & (self.capacity - 1)) as usize
    }

    /// How many of `count` bytes lie before the ring's end.
    fn until_end(&self, count: usize) -> usize {
        count.min(self.capacity as usize - self.start())
    }

    /// Makes `count` bytes, at most the space, visible.
    fn publish(&mut self, count: usize) {
        if count != 0 {
            // At most the capacity, which is a u32.
            self.state.advance(&self.header, count as u32);
            self.news = News::Untold;
        }
    }

    fn own_line(&self) -> &Line {
        &self.header.header::<Header>().producer
    }
}
