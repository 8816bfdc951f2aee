//! The bytes that a connection has received and not yet used.

use alloc::vec::Vec;

use super::limits::MAXIMUM_INPUT;

/// First allocation: most requests fit.
const INITIAL: usize = 1024;

/// A window of received bytes in a buffer that grows to [`MAXIMUM_INPUT`] at most.
///
/// Invariant: `start <= end <= buffer.len()`. Nothing is allocated before the first byte arrives.
#[derive(Default)]
pub struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    /// What is there.
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Gives up the first `count` bytes.
    #[inline]
    pub fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
        if self.is_empty() {
            self.clear();
        }
    }

    /// Gives up all bytes, and the memory of an unusually long request.
    #[inline]
    pub fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
        if self.buffer.len() > 4 * INITIAL {
            self.buffer = Vec::new();
        }
    }

    /// Room for more bytes; empty when the buffer is full at its largest size.
    pub fn space(&mut self) -> &mut [u8] {
        if self.end == self.buffer.len() {
            if self.start > 0 {
                self.buffer.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            } else {
                let larger = (self.buffer.len() * 2).clamp(INITIAL, MAXIMUM_INPUT);
                self.buffer.resize(larger, 0);
            }
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// Takes the first `count` bytes of what [`space`](Self::space) gave as received.
    pub fn received(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.buffer.len());
    }

    /// Bytes of memory in use.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }
}
