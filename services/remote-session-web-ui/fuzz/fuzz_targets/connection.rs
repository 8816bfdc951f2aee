//! Gives a connection any bytes, whole and in pieces: the answers must be the same, and every connection must end.
//! The first byte of the input says how long the pieces are, the second how much the client takes at a time.
#![no_main]

use std::collections::VecDeque;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use web_ui::http::{Connection, Outcome};
use web_ui::server::{ByteStream, Interest, Received, Written};
use web_ui::site::{Query, Site};
use inspect::Snapshot;

const NOW: Duration = Duration::from_secs(100);

#[derive(Default)]
struct Pieces {
    incoming: VecDeque<u8>,
    outgoing: Vec<u8>,
    window: usize,
    finished: bool,
}

impl ByteStream for Pieces {
    fn read(&mut self, into: &mut [u8]) -> Received {
        let count = into.len().min(self.incoming.len());
        assert!(!into.is_empty());
        if count == 0 {
            return Received::Pending;
        }
        for (to, from) in into.iter_mut().zip(self.incoming.drain(..count)) {
            *to = from;
        }
        Received::Bytes(count)
    }

    fn write(&mut self, bytes: &[u8]) -> Written {
        assert!(!self.finished);
        let count = bytes.len().min(self.window);
        self.window -= count;
        self.outgoing.extend_from_slice(&bytes[..count]);
        Written::Bytes(count)
    }

    fn finish(&mut self) {
        self.finished = true;
    }

    fn arm(&mut self, _: Interest) -> bool {
        true
    }
}

fn site() -> Site {
    let mut site = Site::new(1);
    site.update(&Snapshot::default(), NOW);
    site
}

fn turn(connection: &mut Connection<Query>, stream: &mut Pieces, site: &mut Site, now: Duration) -> Outcome {
    loop {
        match connection.turn(stream, site, now) {
            Outcome::Busy => {}
            outcome => return outcome,
        }
    }
}

fn answer(bytes: &[u8], piece: usize, window: usize) -> (Vec<u8>, bool) {
    let (mut site, mut stream) = (site(), Pieces::default());
    let mut connection = Connection::new(NOW);
    for piece in bytes.chunks(piece) {
        stream.incoming.extend(piece);
        stream.window = window;
        turn(&mut connection, &mut stream, &mut site, NOW);
    }
    stream.window = usize::MAX;
    turn(&mut connection, &mut stream, &mut site, NOW);
    let answered = (stream.outgoing.clone(), stream.finished);
    let mut outcome = Outcome::Reading;
    while outcome != Outcome::Ended {
        let due = connection.deadline().expect("there is always an end");
        assert!(due < NOW + Duration::from_secs(120));
        outcome = turn(&mut connection, &mut stream, &mut site, due);
    }
    answered
}

fuzz_target!(|bytes: &[u8]| {
    let [piece, window, bytes @ ..] = bytes else { return };
    let whole = answer(bytes, bytes.len().max(1), usize::MAX);
    let pieces = answer(bytes, usize::from(*piece).max(1), usize::from(*window) * 16);
    assert_eq!(whole, pieces);
});
