//! Every limit of the server, in one place.

use core::time::Duration;

/// Longest request line without its line end \[RFC 9112 3: at least 8000 octets\].
pub const MAXIMUM_REQUEST_LINE: usize = 8000;

/// Longest header section, its line ends and the empty line included.
pub const MAXIMUM_HEADER_SECTION: usize = 8192;

/// Most header fields of one request.
pub const MAXIMUM_HEADERS: usize = 64;

/// Most bytes of a request's content, which is read and dropped: no path takes any.
pub const MAXIMUM_CONTENT: u64 = 64 * 1024;

/// Most bytes that a chunked body of at most [`MAXIMUM_CONTENT`] may take on the wire.
pub const MAXIMUM_CHUNKED: u64 = 4 * MAXIMUM_CONTENT;

/// Longest line that starts a chunk, its extensions and line end included.
pub const MAXIMUM_CHUNK_LINE: usize = 256;

/// Empty lines that are skipped before a request \[RFC 9112 2.2\].
pub const MAXIMUM_EMPTY_LINES: u8 = 8;

/// Bytes that a connection can hold of what it has received: a request line, a header section, and
/// one byte more than either may have.
pub const MAXIMUM_INPUT: usize = 16 * 1024;

/// Bytes of small responses that are gathered before they are written, when requests are pipelined.
pub const OUTPUT_TARGET: usize = 2048;

/// From the first byte of a request to the end of its head, and again to the end of its content.
pub const REQUEST_TIME: Duration = Duration::from_secs(10);

/// How long a connection may stay open without a request.
pub const IDLE_TIME: Duration = Duration::from_secs(30);

/// How long a client may take no byte of a response.
pub const STALL_TIME: Duration = Duration::from_secs(15);

/// How long the rest of a client's input is read and dropped after the last response, so that its reset does not
/// overtake that response \[RFC 9112 9.6\].
pub const LINGER_TIME: Duration = Duration::from_secs(2);

/// How long after the last response the client's end is only looked for when there is something else to do, or at the end of this
/// time: it comes soon, and is not urgent enough to be woken for.
pub const QUIET_TIME: Duration = Duration::from_millis(10);

/// How long what was written last is taken to be on its way to the client.
pub const DELIVERY_TIME: Duration = Duration::from_secs(2);

/// Steps that one connection takes before others have their turn.
pub const STEPS_PER_TURN: usize = 32;

const _: () = assert!(MAXIMUM_REQUEST_LINE + 2 + MAXIMUM_HEADER_SECTION < MAXIMUM_INPUT);
