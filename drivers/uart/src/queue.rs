//! Bytes on their way, with a limit.

use alloc::{collections::VecDeque, vec::Vec};

/// A queue of at most `limit` bytes.
#[derive(Debug)]
pub struct ByteQueue {
    bytes: VecDeque<u8>,
    limit: usize,
    taken: u64,
}

impl ByteQueue {
    /// An empty queue; its memory is taken now, and no more later.
    pub fn new(limit: usize) -> Self {
        Self { bytes: VecDeque::with_capacity(limit), limit, taken: 0 }
    }

    /// Adds one byte, if there is room.
    pub fn push(&mut self, byte: u8) -> bool {
        let room = self.room() > 0;
        if room {
            self.bytes.push_back(byte);
        }
        room
    }

    /// Takes the oldest byte.
    pub fn pop(&mut self) -> Option<u8> {
        let byte = self.bytes.pop_front()?;
        self.taken += 1;
        Some(byte)
    }

    /// Takes up to `most` of the oldest bytes.
    pub fn take(&mut self, most: usize) -> Vec<u8> {
        let part: Vec<u8> = self.bytes.drain(..most.min(self.bytes.len())).collect();
        self.taken += part.len() as u64;
        part
    }

    /// Throws all away.
    pub fn clear(&mut self) {
        self.taken += self.bytes.len() as u64;
        self.bytes.clear();
    }

    /// How many more bytes fit.
    pub fn room(&self) -> usize {
        self.limit - self.bytes.len()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many bytes were ever taken out.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// What [`taken`](Self::taken) will be when all that is in it now has been taken.
    pub fn end(&self) -> u64 {
        self.taken + self.bytes.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_limit_is_refused() {
        let mut queue = ByteQueue::new(3);
        assert_eq!([1, 2, 3, 4].map(|byte| queue.push(byte)), [true, true, true, false]);
        assert_eq!((queue.pop(), queue.room(), queue.taken(), queue.end()), (Some(1), 1, 1, 3));
        assert_eq!(queue.take(9), [2, 3]);
        assert!(queue.is_empty());
        assert_eq!(queue.pop(), None);
        assert!(queue.push(5));
        queue.clear();
        assert_eq!((queue.taken(), queue.end()), (4, 4));
    }
}
