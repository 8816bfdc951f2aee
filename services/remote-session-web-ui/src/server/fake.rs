//! A byte stream whose peer is a test.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::stream::{ByteStream, Interest, Received, Written};

/// What the test and the server share of one connection.
#[derive(Default)]
pub struct Wire {
    /// Bytes that the client has sent.
    pub incoming: VecDeque<u8>,
    /// Whether the client has finished its direction.
    pub ended: bool,
    /// Whether the connection was reset.
    pub reset: bool,
    /// What the server wrote.
    pub outgoing: Vec<u8>,
    /// Bytes that the server may still write.
    pub window: usize,
    /// Whether the server finished its direction.
    pub finished: bool,
    /// Whether the server let the connection go.
    pub dropped: bool,
    /// What the server sleeps for.
    pub armed: Option<Interest>,
}

/// The test's end.
pub type Client = Rc<RefCell<Wire>>;

/// The server's end.
pub struct FakeStream(Client);

/// A new connection.
pub fn connect() -> (Client, FakeStream) {
    let wire = Rc::new(RefCell::new(Wire { window: usize::MAX, ..Wire::default() }));
    (wire.clone(), FakeStream(wire))
}

/// The client sends `bytes`.
pub fn send(client: &Client, bytes: &[u8]) {
    client.borrow_mut().incoming.extend(bytes);
}

impl ByteStream for FakeStream {
    fn read(&mut self, into: &mut [u8]) -> Received {
        let mut wire = self.0.borrow_mut();
        assert!(!into.is_empty(), "reading without room would never end");
        if wire.reset {
            return Received::Broken;
        }
        if wire.incoming.is_empty() {
            return if wire.ended { Received::End } else { Received::Pending };
        }
        let count = into.len().min(wire.incoming.len());
        for (to, from) in into.iter_mut().zip(wire.incoming.drain(..count)) {
            *to = from;
        }
        Received::Bytes(count)
    }

    fn write(&mut self, bytes: &[u8]) -> Written {
        let mut wire = self.0.borrow_mut();
        assert!(!wire.finished, "written behind the end");
        if wire.reset {
            return Written::Broken;
        }
        let count = bytes.len().min(wire.window);
        wire.window -= count;
        wire.outgoing.extend_from_slice(&bytes[..count]);
        Written::Bytes(count)
    }

    fn finish(&mut self) {
        self.0.borrow_mut().finished = true;
    }

    fn arm(&mut self, interest: Interest) -> bool {
        let mut wire = self.0.borrow_mut();
        wire.armed = Some(interest);
        match interest {
            Interest::Readable => wire.incoming.is_empty() && !wire.ended && !wire.reset,
            Interest::Writable => wire.window == 0 && !wire.reset,
            Interest::Nothing => true,
        }
    }
}

impl Drop for FakeStream {
    fn drop(&mut self) {
        self.0.borrow_mut().dropped = true;
    }
}
