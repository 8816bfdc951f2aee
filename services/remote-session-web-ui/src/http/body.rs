//! Reading a request's content off the stream. No path of this server takes content, so it is dropped.

use super::limits::{MAXIMUM_CHUNK_LINE, MAXIMUM_CHUNKED, MAXIMUM_CONTENT, MAXIMUM_HEADER_SECTION};
use super::status::{Failure, Status};

/// How the head says that content follows \[RFC 9112 6.3\].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes; 0 without content.
    Length(u64),
    /// Chunks until one of length 0 and a trailer section.
    Chunked,
}

const TOO_LARGE: Failure = Failure::new(Status::ContentTooLarge, "the request's content is over 64 KiB");
const BAD_CHUNK: Failure = Failure::malformed("the chunked content is not framed as it must be");

/// What is still to be read of one request's content.
#[derive(Debug)]
pub struct Discard {
    state: State,
    content_left: u64,
    wire_left: u64,
    trailer_left: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Plain(u64),
    ChunkLine,
    ChunkData(u64),
    ChunkEnd,
    Trailer,
    Done,
}

impl Discard {
    /// No content.
    pub const EMPTY: Self = Self { state: State::Done, content_left: 0, wire_left: 0, trailer_left: 0 };

    /// Starts reading; refuses content that says it is too large.
    pub fn new(framing: Framing) -> Result<Self, Failure> {
        let state = match framing {
            Framing::Length(length) if length > MAXIMUM_CONTENT => return Err(TOO_LARGE),
            Framing::Length(length) => State::Plain(length),
            Framing::Chunked => State::ChunkLine,
        };
        Ok(Self {
            state,
            content_left: MAXIMUM_CONTENT,
            wire_left: MAXIMUM_CHUNKED,
            trailer_left: MAXIMUM_HEADER_SECTION,
        })
    }

    /// Whether all content has been read.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done | State::Plain(0))
    }

    /// Takes what it can of `bytes`, and returns how many of them it used: 0 when it needs more.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        let used = match &mut self.state {
            State::Plain(left) | State::ChunkData(left) => {
                // At most bytes.len(), so it fits.
                let used = (*left).min(bytes.len() as u64);
                *left -= used;
                used as usize
            }
            State::ChunkLine => self.chunk_line(bytes)?,
            State::ChunkEnd => self.chunk_end(bytes)?,
            State::Trailer => self.trailer_line(bytes)?,
            State::Done => 0,
        };
        if self.state == State::ChunkData(0) {
            self.state = State::ChunkEnd;
        }
        if !matches!(self.state, State::Plain(_)) {
            self.wire_left = self.wire_left.checked_sub(used as u64).ok_or(TOO_LARGE)?;
        }
        Ok(used)
    }

    fn chunk_line(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        let Some(line) = line(bytes, MAXIMUM_CHUNK_LINE).map_err(|TooLong| BAD_CHUNK)? else { return Ok(0) };
        // The parser takes an empty size for 0.
        if !line.first().is_some_and(u8::is_ascii_hexdigit) {
            return Err(BAD_CHUNK);
        }
        match httparse::parse_chunk_size(line) {
            Ok(httparse::Status::Complete((used, size))) if used == line.len() => {
                self.content_left = self.content_left.checked_sub(size).ok_or(TOO_LARGE)?;
                self.state = if size == 0 { State::Trailer } else { State::ChunkData(size) };
                Ok(line.len())
            }
            _ => Err(BAD_CHUNK),
        }
    }

    fn chunk_end(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        match bytes {
            [b'\r', b'\n', ..] => {
                self.state = State::ChunkLine;
                Ok(2)
            }
            [] | [b'\r'] => Ok(0),
            _ => Err(BAD_CHUNK),
        }
    }

    fn trailer_line(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        const TOO_LONG: Failure =
            Failure::new(Status::HeaderFieldsTooLarge, "the trailer section is over 8 KiB");
        let Some(line) = line(bytes, self.trailer_left).map_err(|TooLong| TOO_LONG)? else { return Ok(0) };
        self.trailer_left -= line.len();
        if matches!(line, b"\r\n" | b"\n") {
            self.state = State::Done;
        }
        Ok(line.len())
    }
}

/// A line did not end within its limit.
struct TooLong;

/// The first line of `bytes` with its line end, if it is all there.
fn line(bytes: &[u8], limit: usize) -> Result<Option<&[u8]>, TooLong> {
    let visible = bytes.get(..limit).unwrap_or(bytes);
    match memchr::memchr(b'\n', visible) {
        Some(end) => Ok(visible.get(..=end)),
        None if visible.len() == limit => Err(TooLong),
        None => Ok(None),
    }
}
