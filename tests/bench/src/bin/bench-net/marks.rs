//! Marks for the counting plugin: one every so many operations, so that the instructions between two of them are those of
//! that many operations.

use bench::mark;

/// Requests, or echoes, between two marks.
const OPERATIONS: u64 = 100;

/// Bytes between two marks.
const BYTES: u64 = 1 << 20;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// HTTP requests.
    Requests,
    /// UDP echoes.
    Datagrams,
    /// Bytes received by discard.
    Received,
    /// Bytes sent by source.
    Sent,
    /// TCP echoes.
    Echoes,
}

/// Counts up to the next mark.
#[derive(Clone, Copy, Debug)]
pub struct Marks {
    counted: Counted,
    since: u64,
}

impl Marks {
    /// Nothing counted so far.
    pub const fn new(counted: Counted) -> Self {
        Self { counted, since: 0 }
    }

    /// Counts so many operations or bytes more.
    #[inline]
    pub fn add(&mut self, count: usize) {
        let each = match self.counted {
            Counted::Received | Counted::Sent => BYTES,
            Counted::Requests | Counted::Datagrams | Counted::Echoes => OPERATIONS,
        };
        self.since += count as u64;
        while self.since >= each {
            self.since -= each;
            match self.counted {
                Counted::Requests => mark::<48>(),
                Counted::Datagrams => mark::<49>(),
                Counted::Received => mark::<50>(),
                Counted::Sent => mark::<51>(),
                Counted::Echoes => mark::<52>(),
            }
        }
    }
}
