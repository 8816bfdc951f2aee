//! Datagrams of one UDP socket, both ways, as records in the two byte rings of a [`stream`].
//!
//! # Layout
//!
//! The memory is that of a stream. Each record starts at a multiple of 8 bytes: a little-endian word, with the peer's IPv4
//! address in bits 0 to 31, its port in bits 32 to 47 and the length in bits 48 to 63; then so many bytes, and as many of no
//! meaning as lead to the next multiple of 8. A writer makes a record visible as a whole, so part of one is a
//! [`PeerFault`]. What finds no room is not written: datagrams may be lost.

use crate::{
    LayoutError, PeerFault, Sleep,
    memory::SharedMemory,
    stream::{self, End, StreamError, StreamLayout, StreamWants},
};
use alloc::sync::Arc;

/// Bytes before a datagram's, and what records are multiples of.
const UNIT: usize = 8;

/// The other end of a datagram, and how long that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// IPv4 address; 10.0.2.15 is 0x0a00020f.
    pub address: u32,
    /// Port.
    pub port: u16,
    /// Bytes.
    pub length: u16,
}

/// Whether a datagram was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It was.
    Queued,
    /// There is no room for it.
    Full,
}

/// One side's end of the two rings.
pub struct Datagrams<M> {
    end: End<M>,
    /// The header of the next datagram, once it was looked at.
    next: Option<Head>,
    fault: Option<PeerFault>,
}

impl Head {
    fn to_word(self) -> u64 {
        u64::from(self.address) | u64::from(self.port) << 32 | u64::from(self.length) << 48
    }

    fn from_word(word: u64) -> Self {
        Self { address: word as u32, port: (word >> 32) as u16, length: (word >> 48) as u16 }
    }

    /// Bytes behind the header, with those of no meaning.
    fn padded(self) -> usize {
        usize::from(self.length).next_multiple_of(UNIT)
    }
}

/// Makes rings in new, zeroed memory of [`StreamLayout::bytes`] and returns the stack's end.
pub fn create<M: SharedMemory>(memory: &Arc<M>, layout: StreamLayout) -> Result<Datagrams<M>, LayoutError> {
    stream::create(memory, layout).map(Datagrams::new)
}

/// Opens what [`create`] made, and returns the client's end.
pub fn open<M: SharedMemory>(memory: &Arc<M>) -> Result<Datagrams<M>, LayoutError> {
    stream::open(memory).map(Datagrams::new)
}

impl<M: SharedMemory> Datagrams<M> {
    fn new(end: End<M>) -> Self {
        Self { end, next: None, fault: None }
    }

    /// Puts one datagram in, whole or not at all.
    pub fn send(&mut self, address: u32, port: u16, data: &[u8]) -> Result<Sent, StreamError> {
        let Ok(length) = u16::try_from(data.len()) else { return Ok(Sent::Full) };
        let head = Head { address, port, length };
        let padding = [0; UNIT];
        let padding = padding.get(..head.padded() - data.len()).unwrap_or_default();
        let written = self.end.writer.write_together([&head.to_word().to_le_bytes(), data, padding])?;
        Ok(if written { Sent::Queued } else { Sent::Full })
    }

    /// The next datagram's header, if one is there. [`StreamError::Finished`] when the peer sends no more.
    pub fn peek(&mut self) -> Result<Option<Head>, StreamError> {
        if let Some(fault) = self.fault {
            return Err(fault.into());
        }
        if self.next.is_none() {
            let available = self.end.reader.available()?;
            if available == 0 {
                return if self.end.reader.has_finished() { Err(StreamError::Finished) } else { Ok(None) };
            }
            let mut word = [0; UNIT];
            let read = self.end.reader.read_seen(&mut word, 0);
            let head = Head::from_word(u64::from_le_bytes(word));
            if !read || available - UNIT < head.padded() {
                let fault = PeerFault::Range { offset: 0, length: head.length.into() };
                self.fault = Some(fault);
                return Err(fault.into());
            }
            self.next = Some(head);
        }
        Ok(self.next)
    }

    /// Takes the next datagram, if one is there: its header, and as many of its bytes as `target` has room for.
    pub fn receive(&mut self, target: &mut [u8]) -> Result<Option<Head>, StreamError> {
        let Some(head) = self.peek()? else { return Ok(None) };
        self.next = None;
        let length = target.len().min(head.length.into());
        let target = target.get_mut(..length).unwrap_or_default();
        // All of it was there when the header was read.
        let read = self.end.reader.read_seen(target, head.padded() - length);
        debug_assert!(read);
        Ok(Some(head))
    }

    /// Whether the peer's doorbell is to be rung for what was sent or taken; ask once after each batch.
    #[must_use]
    pub fn must_ring(&mut self) -> bool {
        self.end.must_ring()
    }

    /// Asks for the doorbell for datagrams, then looks again: [`Sleep::WorkArrived`] also when something is wrong.
    pub fn arm(&mut self) -> Sleep {
        self.end.arm(StreamWants::Bytes)
    }

    /// Ends both directions.
    pub fn close(&mut self) {
        self.end.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HeapMemory, hostile::poke};
    use std::vec;

    /// Where the producer's position of the ring to the client is, and its first record.
    const POSITION: usize = 64;
    const RECORDS: usize = 320;

    fn pair() -> (Arc<HeapMemory>, Datagrams<HeapMemory>, Datagrams<HeapMemory>) {
        let layout = StreamLayout::new(256, 512).expect("a valid layout");
        let memory = Arc::new(HeapMemory::new(layout.bytes()));
        let stack = create(&memory, layout).expect("it fits");
        let client = open(&memory).expect("a stream");
        (memory, stack, client)
    }

    #[test]
    fn datagrams_keep_their_borders_and_ends() {
        let (_, mut stack, mut client) = pair();
        let mut target = [0; 64];
        for round in 0..200u16 {
            let data = vec![round as u8; usize::from(round) % 65];
            let head = Head { address: 0x0a00_020f, port: round, length: data.len() as u16 };
            assert_eq!(stack.send(head.address, head.port, &data), Ok(Sent::Queued));
            assert_eq!(stack.send(1, 2, b"next"), Ok(Sent::Queued));
            assert_eq!(client.peek(), Ok(Some(head)));
            assert_eq!(client.receive(&mut target), Ok(Some(head)));
            assert_eq!(target[..data.len()], data);
            // Cut to what there is room for; the rest is gone.
            assert_eq!(client.receive(&mut target[..2]), Ok(Some(Head { address: 1, port: 2, length: 4 })));
            assert_eq!(target[..2], *b"ne");
            assert_eq!(client.receive(&mut target), Ok(None));
        }
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let (_, mut stack, mut client) = pair();
        assert_eq!(stack.send(0, 0, &[1; 249]), Ok(Sent::Full));
        assert_eq!(stack.send(0, 0, &[1; 70_000]), Ok(Sent::Full));
        assert_eq!(stack.send(0, 0, &[1; 240]), Ok(Sent::Queued));
        assert_eq!(stack.send(0, 0, &[]), Ok(Sent::Queued));
        assert_eq!(stack.send(0, 0, &[]), Ok(Sent::Full));
        assert_eq!(client.receive(&mut []).map(|head| head.map(|head| head.length)), Ok(Some(240)));
        assert_eq!(stack.send(0, 0, &[]), Ok(Sent::Queued));
    }

    #[test]
    fn a_sleeper_is_woken_once() {
        let (_, mut stack, mut client) = pair();
        assert_eq!(client.arm(), Sleep::Allowed);
        assert_eq!(stack.send(0, 0, b"wake"), Ok(Sent::Queued));
        assert_eq!((stack.must_ring(), stack.must_ring()), (true, false));
        assert_eq!(client.arm(), Sleep::WorkArrived);
    }

    #[test]
    fn the_end_is_an_error_on_both_sides() {
        let (_, mut stack, mut client) = pair();
        stack.close();
        assert_eq!(client.peek(), Err(StreamError::Reset));
        assert_eq!(client.send(0, 0, b"x"), Err(StreamError::Stopped));
        // A client has no word for the end, but can write the state.
        let (_, mut stack, mut client) = pair();
        client.end.writer.finish();
        assert_eq!((stack.arm(), stack.peek()), (Sleep::WorkArrived, Err(StreamError::Finished)));
    }

    #[test]
    fn parts_of_records_are_faults_that_stay() {
        for (length, position) in [(0u64, 4), (1, 8), (9, 16), (0xffff, 64)] {
            let (memory, _, mut client) = pair();
            poke(&memory, RECORDS + 4, (length << 16) as u32);
            poke(&memory, POSITION, position);
            let fault = Err(StreamError::Peer(PeerFault::Range { offset: 0, length: length as u32 }));
            assert_eq!(client.peek(), fault, "{length} in {position}");
            assert_eq!(client.receive(&mut [0; 8]), fault.map(|_: Option<Head>| None));
        }
    }
}
