//! Raw bytes in, raw bytes out, against the real site.

mod hostile;
mod table;
mod time;

use std::time::Duration;

use super::{Connection, Outcome};
use crate::server::Handler;
use crate::server::fake::{Client, FakeStream, connect, send};
use crate::site::{Query, Site};
use inspect::Snapshot;

const NOW: Duration = Duration::from_secs(100);

/// One connection to the site, and the client at its other end.
struct Bench {
    client: Client,
    stream: FakeStream,
    connection: Connection<Query>,
    site: Site,
}

impl Bench {
    fn new() -> Self {
        let (client, stream) = connect();
        let mut site = Site::new(7);
        site.update(&Snapshot::default(), NOW);
        site.log().push(b"first\nsecond\n", 13, 0);
        Self { client, stream, connection: Connection::new(NOW), site }
    }

    /// Gives the connection turns until it waits.
    fn turn(&mut self, now: Duration) -> Outcome {
        loop {
            match self.connection.turn(&mut self.stream, &mut self.site, now) {
                Outcome::Busy => {}
                outcome => return outcome,
            }
        }
    }

    fn send(&mut self, bytes: &[u8], now: Duration) -> Outcome {
        send(&self.client, bytes);
        self.turn(now)
    }

    fn output(&self) -> String {
        String::from_utf8_lossy(&self.client.borrow().outgoing).into_owned()
    }

    fn finished(&self) -> bool {
        self.client.borrow().finished
    }
}

/// What a connection answers to `parts`, each given its own turn, and whether it then closes.
fn answer(parts: &[&[u8]]) -> (String, bool) {
    let mut bench = Bench::new();
    for part in parts {
        bench.send(part, NOW);
    }
    (bench.output(), bench.finished())
}

/// The site resolves at once in these tests: its snapshot is fresh.
#[test]
fn fixture_is_fresh() {
    assert!(Bench::new().site.resolve(Query::State, NOW).is_some());
}
