//! Responses, and how they are written.

use alloc::rc::Rc;
use alloc::vec::Vec;

use super::head::{Persistence, Version};
use super::status::{Failure, Status};

/// The content of a response.
#[derive(Clone, Debug)]
pub enum Body {
    /// Part of the program.
    Static(&'static [u8]),
    /// Shared by all responses that carry it.
    Shared(Rc<Vec<u8>>),
    /// A failure in words: its status line and detail, put together when it is written.
    Words(Failure),
    /// None, and no Content-Length either \[RFC 9110 8.6, for 204\].
    Absent,
}

/// What caches may do with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// Nothing: it is true only now.
    NoStore,
    /// Keep it, and ask each time.
    Revalidate,
}

/// A response, before it is known how the connection goes on.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status line.
    pub status: Status,
    /// `Content-Type`, empty without content.
    pub content_type: &'static str,
    /// `Cache-Control`.
    pub caching: Caching,
    /// Further complete header lines, each with its line end.
    pub headers: &'static str,
    /// The content.
    pub body: Body,
}

impl From<Failure> for Response {
    fn from(failure: Failure) -> Self {
        Self {
            status: failure.status,
            content_type: "text/plain; charset=utf-8",
            caching: Caching::NoStore,
            headers: "",
            body: Body::Words(failure),
        }
    }
}

/// Whether the content itself is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// It is.
    Sent,
    /// Only its length is told, as the answer to HEAD.
    Withheld,
}

/// How one request wants to be answered.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// The version of the request.
    pub version: Version,
    /// Whether another request may follow.
    pub persistence: Persistence,
    /// GET or HEAD.
    pub content: Content,
}

impl Exchange {
    /// The exchange with a client that has broken the protocol.
    pub const BROKEN: Self =
        Self { version: Version::Http11, persistence: Persistence::Close, content: Content::Sent };
}

impl Response {
    /// Appends the head, and the content if it is words.
    ///
    /// There is no `Date`: this machine has no wall clock \[RFC 9110 6.6.1\].
    pub fn write_head(&self, exchange: Exchange, output: &mut Vec<u8>) {
        let mut put = |text: &str| output.extend_from_slice(text.as_bytes());
        put("HTTP/1.1 ");
        put(self.status.line());
        if !self.content_type.is_empty() {
            put("\r\nContent-Type: ");
            put(self.content_type);
        }
        put("\r\nCache-Control: ");
        put(match self.caching {
            Caching::NoStore => "no-store",
            Caching::Revalidate => "no-cache",
        });
        put("\r\nX-Content-Type-Options: nosniff\r\n");
        put(self.headers);
        match (exchange.persistence, exchange.version) {
            (Persistence::Close, _) => put("Connection: close\r\n"),
            (Persistence::KeepAlive, Version::Http10) => put("Connection: keep-alive\r\n"),
            (Persistence::KeepAlive, Version::Http11) => {}
        }
        if let Some(length) = self.body.length() {
            put("Content-Length: ");
            put(Decimal::new(length).text());
            put("\r\n");
        }
        put("\r\n");
        if let (Body::Words(failure), Content::Sent) = (&self.body, exchange.content) {
            for part in words(failure) {
                put(part);
            }
        }
    }
}

impl Body {
    /// Bytes of content; `None` when a length must not be told.
    fn length(&self) -> Option<usize> {
        match self {
            Self::Static(bytes) => Some(bytes.len()),
            Self::Shared(bytes) => Some(bytes.len()),
            Self::Words(failure) => Some(words(failure).iter().map(|part| part.len()).sum()),
            Self::Absent => None,
        }
    }

    /// The content that is not part of the head.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Static(bytes) => bytes,
            Self::Shared(bytes) => bytes,
            Self::Words(_) | Self::Absent => &[],
        }
    }
}

fn words(failure: &Failure) -> [&'static str; 4] {
    [failure.status.line(), ": ", failure.detail, "\n"]
}

/// A number in decimal digits, without the weight of `format!`.
struct Decimal {
    digits: [u8; Self::DIGITS],
    start: usize,
}

impl Decimal {
    /// Digits of the largest `usize`.
    const DIGITS: usize = 20;

    fn new(mut number: usize) -> Self {
        let mut this = Self { digits: [b'0'; Self::DIGITS], start: Self::DIGITS };
        for (index, digit) in this.digits.iter_mut().enumerate().rev() {
            // A remainder of 10 fits.
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
            this.start = index;
            if number == 0 {
                break;
            }
        }
        this
    }

    fn text(&self) -> &str {
        self.digits.get(self.start..).and_then(|digits| core::str::from_utf8(digits).ok()).unwrap_or("0")
    }
}
