//! Request heads: finding their end, and reading what they say.
//!
//! The end is searched for first, each byte once, so that a head that arrives a byte at a time costs no more than one
//! that arrives whole; `httparse` then reads it in one go.

use core::mem::MaybeUninit;

use super::body::Framing;
use super::limits::{MAXIMUM_HEADER_SECTION, MAXIMUM_HEADERS, MAXIMUM_REQUEST_LINE};
use super::status::{Failure, Status};
use super::target::{Target, is_authority};

/// How far the search for the end of a head has come. Positions count from the start of the request.
#[derive(Debug, Default)]
pub struct Scan {
    /// Bytes that have been looked at.
    seen: usize,
    /// Where the line that is being looked at starts.
    line: usize,
    /// Where the header section starts, once the request line is complete.
    headers: Option<usize>,
    count: usize,
    checked: bool,
}

impl Scan {
    /// Goes on with `bytes`, the request from its first byte on; returns the length of the head when it is complete.
    ///
    /// Every refusal depends on the bytes alone, and not on how they were split.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, Failure> {
        const LINE_TOO_LONG: Failure =
            Failure::new(Status::UriTooLong, "the request line is over 8000 bytes");
        if self.seen == 0 && bytes.first().is_some_and(|byte| !is_token_byte(*byte)) {
            return Err(Failure::malformed("this is not HTTP/1.1"));
        }
        while let Some(offset) = memchr::memchr(b'\n', bytes.get(self.seen..).unwrap_or_default()) {
            let end = self.seen + offset + 1;
            let line = without_line_end(bytes.get(self.line..end).unwrap_or_default());
            match self.headers {
                None if line.len() > MAXIMUM_REQUEST_LINE => return Err(LINE_TOO_LONG),
                None => self.headers = Some(end),
                Some(start) => {
                    let complete = line.is_empty();
                    self.count += usize::from(!complete);
                    if end - start > MAXIMUM_HEADER_SECTION || self.count > MAXIMUM_HEADERS {
                        return Err(headers_too_large(bytes, start));
                    }
                    if complete {
                        return Ok(Some(end));
                    }
                }
            }
            (self.seen, self.line) = (end, end);
        }
        self.seen = bytes.len();
        match self.headers {
            None if bytes.len() > MAXIMUM_REQUEST_LINE + 1 => Err(LINE_TOO_LONG),
            Some(start) if bytes.len() - start > MAXIMUM_HEADER_SECTION => {
                Err(headers_too_large(bytes, start))
            }
            // A bad request line is refused before its headers have come.
            Some(start) if !self.checked => {
                self.checked = true;
                check_request_line(bytes, start).map(|()| None)
            }
            _ => Ok(None),
        }
    }
}

/// The refusal for a header section that is too large; a bad request line before it weighs more.
#[cold]
fn headers_too_large(bytes: &[u8], headers: usize) -> Failure {
    const FAILURE: Failure =
        Failure::new(Status::HeaderFieldsTooLarge, "the header section is over 8 KiB or 64 fields");
    check_request_line(bytes, headers).err().unwrap_or(FAILURE)
}

#[inline(never)]
fn check_request_line(bytes: &[u8], end: usize) -> Result<(), Failure> {
    let line = bytes.get(..end).unwrap_or_default();
    match httparse::Request::new(&mut []).parse(line) {
        Ok(_) => Ok(()),
        Err(error) => Err(refusal(error, line)),
    }
}

/// A request method. Those that no path serves are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Asks for content.
    Get,
    /// Asks for what GET would answer, without the content.
    Head,
    /// Asks what is possible.
    Options,
    /// Any other.
    Other,
}

/// A request without its content.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What is asked.
    pub method: Method,
    /// Of what it is asked: the path, not decoded.
    pub path: &'a str,
    /// What follows `?` in the target.
    pub query: Option<&'a str>,
}

/// HTTP's minor version; 1.1 is the highest that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// Whether the connection stays open after the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// For further requests.
    KeepAlive,
    /// Closed by this side.
    Close,
}

/// What a client expects before it sends content \[RFC 9110 10.1.1\].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Nothing.
    None,
    /// `100-continue`.
    Continue,
    /// What nobody can know.
    Unknown,
}

/// All that a head says that matters here.
#[derive(Debug)]
pub struct Head<'a> {
    pub method: Method,
    pub target: Target<'a>,
    pub version: Version,
    pub persistence: Persistence,
    pub framing: Framing,
    pub expectation: Expectation,
}

impl<'a> Head<'a> {
    /// Reads a complete head.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Failure> {
        let mut storage = [const { MaybeUninit::uninit() }; MAXIMUM_HEADERS];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(bytes, &mut storage) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            Ok(_) => return Err(Failure::malformed("the head does not end where its empty line is")),
            Err(error) => return Err(refusal(error, bytes)),
        }
        let version = if request.version == Some(1) { Version::Http11 } else { Version::Http10 };
        let target = Target::parse(request.path.unwrap_or_default())?;
        let fields = Fields::read(request.headers)?;
        if version == Version::Http11 && fields.hosts == 0 {
            return Err(Failure::malformed("a Host header is required"));
        }
        Ok(Self {
            method: match request.method {
                Some("GET") => Method::Get,
                Some("HEAD") => Method::Head,
                Some("OPTIONS") => Method::Options,
                _ => Method::Other,
            },
            target,
            version,
            persistence: match (version, fields.close, fields.keep_alive) {
                (_, true, _) | (Version::Http10, _, false) => Persistence::Close,
                _ => Persistence::KeepAlive,
            },
            framing: fields.framing(version)?,
            expectation: match version {
                Version::Http10 => Expectation::None,
                Version::Http11 => fields.expectation,
            },
        })
    }
}

/// What the header fields say, taken together.
struct Fields {
    hosts: usize,
    close: bool,
    keep_alive: bool,
    length: Option<u64>,
    codings: usize,
    chunked: usize,
    chunked_last: bool,
    expectation: Expectation,
}

impl Fields {
    fn read(headers: &[httparse::Header<'_>]) -> Result<Self, Failure> {
        let mut fields = Self {
            hosts: 0,
            close: false,
            keep_alive: false,
            length: None,
            codings: 0,
            chunked: 0,
            chunked_last: false,
            expectation: Expectation::None,
        };
        for header in headers {
            // By length first: most fields are of no interest, and this is the path of every request.
            match header.name.len() {
                4 if header.name.eq_ignore_ascii_case("host") => fields.host(header.value)?,
                6 if header.name.eq_ignore_ascii_case("expect") => fields.expect(header.value),
                10 if header.name.eq_ignore_ascii_case("connection") => fields.connection(header.value),
                14 if header.name.eq_ignore_ascii_case("content-length") => {
                    fields.content_length(header.value)?;
                }
                17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                    fields.transfer_encoding(header.value);
                }
                _ => {}
            }
        }
        Ok(fields)
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Failure> {
        self.hosts += 1;
        if self.hosts > 1 {
            return Err(Failure::malformed("there is more than one Host header"));
        }
        if is_authority(value) { Ok(()) } else { Err(Failure::malformed("the Host header names no host")) }
    }

    fn expect(&mut self, value: &[u8]) {
        self.expectation = match self.expectation {
            Expectation::None if value.eq_ignore_ascii_case(b"100-continue") => Expectation::Continue,
            _ => Expectation::Unknown,
        };
    }

    fn connection(&mut self, value: &[u8]) {
        for option in list(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Failure> {
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(Failure::malformed("the Content-Length header is no number"));
        }
        // A number beyond 64 bits is too large in any case, which is all that matters about it.
        let length = core::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
        if self.length.replace(length).is_some_and(|earlier| earlier != length) {
            return Err(Failure::malformed("there are two Content-Length headers that differ"));
        }
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) {
        for coding in list(value) {
            self.chunked_last = coding.eq_ignore_ascii_case(b"chunked");
            self.codings += 1;
            self.chunked += usize::from(self.chunked_last);
        }
    }

    /// How content follows \[RFC 9112 6.3\]. What a proxy before this server could read in another way is refused,
    /// since that is how requests are smuggled \[RFC 9112 11.2\].
    fn framing(&self, version: Version) -> Result<Framing, Failure> {
        if self.codings == 0 {
            return Ok(Framing::Length(self.length.unwrap_or(0)));
        }
        if self.length.is_some() {
            return Err(Failure::malformed("there are both Content-Length and Transfer-Encoding"));
        }
        if version == Version::Http10 {
            return Err(Failure::malformed("HTTP/1.0 has no Transfer-Encoding"));
        }
        match (self.chunked, self.chunked_last, self.codings) {
            (1, true, 1) => Ok(Framing::Chunked),
            (1, true, _) => {
                Err(Failure::new(Status::NotImplemented, "the only transfer coding here is chunked"))
            }
            _ => Err(Failure::malformed("chunked must be the last transfer coding, and only once")),
        }
    }
}

/// The elements of a comma-separated list \[RFC 9110 5.6.1\].
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Whether a method can have this byte \[RFC 9110 5.6.2\].
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The refusal for what the parser found wrong with a head that starts with `bytes`.
fn refusal(error: httparse::Error, bytes: &[u8]) -> Failure {
    match error {
        httparse::Error::Version if names_a_version(bytes) => {
            Failure::new(Status::VersionNotSupported, "this server speaks HTTP/1.0 and HTTP/1.1")
        }
        httparse::Error::Version => Failure::malformed("the request line does not end in an HTTP version"),
        httparse::Error::Token => {
            Failure::malformed("the request line is not a method, a target and a version")
        }
        httparse::Error::HeaderName => Failure::malformed("a header line does not start with a field name"),
        httparse::Error::HeaderValue => Failure::malformed("a header value has a control character"),
        httparse::Error::NewLine => Failure::malformed("a line does not end in CR LF"),
        _ => Failure::malformed("the request head is not HTTP"),
    }
}

/// Whether the first line ends in `HTTP/` and digits.
fn names_a_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\n').next().map(<[u8]>::trim_ascii).unwrap_or_default();
    let word = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    word.strip_prefix(b"HTTP/").is_some_and(|version| {
        version.first().is_some_and(u8::is_ascii_digit)
            && version.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
    })
}
