//! What a connection has yet to write.

use alloc::vec::Vec;

use super::limits::OUTPUT_TARGET;
use super::response::{Body, Content, Exchange, Response};
use crate::server::{ByteStream, Written};

/// Bodies up to this size are copied behind their head, so that head and content leave in one write.
const INLINE: usize = 512;

/// Heads and small contents in one buffer, then at most one large content, which is written from where it is.
#[derive(Default)]
pub struct Output {
    gathered: Vec<u8>,
    gathered_sent: usize,
    body: Option<Body>,
    body_sent: usize,
}

/// How writing went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// Everything has been written: this many bytes.
    All(usize),
    /// The stream is full, after this many bytes.
    Blocked(usize),
    /// The stream is gone.
    Broken,
}

impl Output {
    /// Whether all has been written.
    pub fn is_empty(&self) -> bool {
        self.gathered.is_empty() && self.body.is_none()
    }

    /// Whether another response can be added before this is written.
    pub fn has_room(&self) -> bool {
        self.body.is_none() && self.gathered.len() < OUTPUT_TARGET
    }

    /// Adds a response. There must be room.
    #[inline]
    pub fn push(&mut self, response: Response, exchange: Exchange) {
        self.gathered.reserve(INLINE);
        response.write_head(exchange, &mut self.gathered);
        if exchange.content == Content::Withheld {
            return;
        }
        let content = response.body.bytes();
        if content.len() <= INLINE {
            self.gathered.extend_from_slice(content);
        } else {
            self.body = Some(response.body);
        }
    }

    /// Writes as much as the stream takes.
    pub fn flush<S: ByteStream>(&mut self, stream: &mut S) -> Flushed {
        let mut total = 0;
        while let Some(bytes) = self.next() {
            match stream.write(bytes) {
                Written::Bytes(0) => return Flushed::Blocked(total),
                Written::Bytes(count) => {
                    total += count;
                    self.written(count);
                }
                Written::Broken => return Flushed::Broken,
            }
        }
        self.gathered.clear();
        self.gathered_sent = 0;
        self.gathered.shrink_to(2 * OUTPUT_TARGET);
        Flushed::All(total)
    }

    /// The next bytes to write; `None` at the end.
    fn next(&self) -> Option<&[u8]> {
        let gathered = self.gathered.get(self.gathered_sent..).unwrap_or_default();
        if !gathered.is_empty() {
            return Some(gathered);
        }
        self.body.as_ref()?.bytes().get(self.body_sent..)
    }

    fn written(&mut self, count: usize) {
        if self.gathered_sent < self.gathered.len() {
            self.gathered_sent += count;
            return;
        }
        self.body_sent += count;
        if self.body.as_ref().is_some_and(|body| self.body_sent >= body.bytes().len()) {
            self.body = None;
            self.body_sent = 0;
        }
    }

    /// Bytes of memory in use of its own.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.gathered.capacity()
    }
}
