//! One connection of HTTP/1.1 as a state machine over a byte stream \[RFC 9110, RFC 9112\].
//!
//! ```text
//!             first byte            head complete            body read off
//!     Idle ---------------> Head ------------------> Body -------------------+
//!      ^                                                                     v
//!      +---- response in the output <---- Waiting (answer not ready) <--- answered
//!
//!     a response with `Connection: close`, an error in the framing, a time-out:
//!     output drained ---> stream finished ---> Linger (reads and drops) ---> Ended
//! ```

mod body;
mod connection;
mod head;
mod input;
mod limits;
mod output;
mod response;
mod status;
mod target;

#[cfg(test)]
mod tests;

pub use connection::{Activity, Connection, Outcome};
pub use head::{Method, Request};
pub use limits::*;
pub use response::{Body, Caching, Response};
pub use status::{Failure, Status};
