//! The site: from a request to its answer.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::time::Duration;

use super::assets::{HEALTH, asset, json};
use crate::http::{Body, Caching, Failure, Method, Request, Response, Status};
use crate::log_tail::LogTail;
use crate::server::{Answer, Handler};
use inspect::Snapshot;

/// How long a snapshot is served before the system is asked again, however many clients want to know.
pub const FRESH: Duration = Duration::from_millis(500);

/// An answer that may need a new look at the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// The snapshot.
    State,
    /// Log lines from this number on.
    Log(u64),
}

/// The page, and what was last seen of the system.
pub struct Site {
    log: LogTail,
    state: Rc<Vec<u8>>,
    seen: Option<Duration>,
    wanted: bool,
}

const NOT_FOUND: Failure = Failure::new(Status::NotFound, "there is nothing at this address");

impl Site {
    /// A site that has seen nothing of the system yet. `epoch` differs from that of earlier runs of this program.
    pub fn new(epoch: u64) -> Self {
        Self { log: LogTail::new(epoch), state: Rc::default(), seen: None, wanted: false }
    }

    /// Whether a request waits for a new look at the system. Asking takes the wish: whoever asks is to
    /// [`update`](Self::update) the site.
    pub fn take_wanted(&mut self) -> bool {
        core::mem::take(&mut self.wanted)
    }

    /// The log, to be continued.
    pub fn log(&mut self) -> &mut LogTail {
        &mut self.log
    }

    /// Takes a new snapshot. Everything that waits can be answered from now on.
    pub fn update(&mut self, snapshot: &Snapshot, now: Duration) {
        // A snapshot has no maps with keys other than text, the only thing that JSON cannot express.
        if let Ok(state) = serde_json::to_vec(snapshot) {
            self.state = Rc::new(state);
        }
        self.seen = Some(now);
        self.wanted = false;
    }
}

impl Handler for Site {
    type Query = Query;

    fn route(&mut self, request: &Request<'_>) -> Answer<Query> {
        let read = matches!(request.method, Method::Get | Method::Head);
        match (request.path, request.method) {
            ("/healthz", Method::Get) if request.query.is_none() => return Answer::Ready(HEALTH),
            ("/healthz", _) => {}
            ("/api/state", _) if read => return Answer::Later(Query::State),
            ("/api/log", _) if read => match after(request.query) {
                Some(after) => return Answer::Later(Query::Log(after)),
                None => return Answer::Ready(BAD_QUERY.into()),
            },
            ("/api/state" | "/api/log", _) => return Answer::Ready(method_not_allowed()),
            (path, _) => match asset(path) {
                Some(response) if read => return Answer::Ready(response),
                Some(_) => return Answer::Ready(method_not_allowed()),
                None => {}
            },
        }
        Answer::Ready(NOT_FOUND.into())
    }

    fn options(&mut self) -> Response {
        Response {
            status: Status::NoContent,
            content_type: "",
            caching: Caching::NoStore,
            headers: "Allow: GET, HEAD\r\n",
            body: Body::Absent,
        }
    }

    fn resolve(&mut self, query: Query, now: Duration) -> Option<Response> {
        if self.seen.is_none_or(|seen| now.saturating_sub(seen) >= FRESH) {
            self.wanted = true;
            return None;
        }
        let content = match query {
            Query::State => Rc::clone(&self.state),
            Query::Log(from) => Rc::new(serde_json::to_vec(&self.log.since(from)).unwrap_or_default()),
        };
        Some(json(Body::Shared(content)))
    }
}

const BAD_QUERY: Failure = Failure::malformed("the query must be after= and a line number");

/// The number in `after=N`; 0 without a query.
fn after(query: Option<&str>) -> Option<u64> {
    match query {
        None => Some(0),
        Some(query) => query.strip_prefix("after=")?.parse().ok(),
    }
}

fn method_not_allowed() -> Response {
    const FAILURE: Failure =
        Failure::new(Status::MethodNotAllowed, "this address can only be read, by GET or HEAD");
    Response { headers: "Allow: GET, HEAD\r\n", ..FAILURE.into() }
}
