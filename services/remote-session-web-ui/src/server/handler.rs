//! What answers requests.

use core::time::Duration;

use crate::http::{Request, Response};

/// An answer, or the promise of one.
#[derive(Clone, Debug)]
pub enum Answer<Q> {
    /// It can be sent.
    Ready(Response),
    /// [`Handler::resolve`] gives it.
    Later(Q),
}

/// The site behind the connections.
pub trait Handler {
    /// Names an answer that takes time. What it costs to keep is paid by each connection that waits.
    type Query: Copy;

    /// Answers a request, or says how to ask for its answer. Called once a request.
    fn route(&mut self, request: &Request<'_>) -> Answer<Self::Query>;

    /// The answer to `OPTIONS *`.
    fn options(&mut self) -> Response;

    /// The answer to an earlier request if it is there now. Asked again at every turn of a connection that waits.
    fn resolve(&mut self, query: Self::Query, now: Duration) -> Option<Response>;
}
