//! TCP services that move bytes: echo [RFC 862], discard [RFC 863], and a source of as many bytes as the client takes.

use alloc::{rc::Rc, vec, vec::Vec};

use web_ui::{
    server::{ByteStream, Interest, Received, Wake, Written},
    stream::Stream,
};

use crate::{
    marks::{Counted, Marks},
    port::Port,
};

/// Bytes that are moved at once.
const CHUNK: usize = 64 << 10;

/// Chunks of one connection before the others have their turn.
const CHUNKS_PER_TURN: usize = 4;

/// What is done with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// They go back.
    Echo,
    /// They are dropped.
    Discard,
    /// None are read; others are sent.
    Source,
}

/// One service and its connections.
pub struct Bulk {
    service: Service,
    marks: Marks,
    chunk: Vec<u8>,
}

/// A connection, and what was read from it and not yet sent back.
struct Connection {
    stream: Stream,
    kept: Vec<u8>,
}

/// How far a turn came.
enum Turn {
    /// There is more to do.
    Unfinished,
    /// It waits.
    For(Interest),
    /// The connection is over.
    Ended,
}

impl Bulk {
    /// Without connections.
    pub fn new(service: Service) -> Self {
        let counted = match service {
            Service::Echo => Counted::Echoes,
            Service::Discard => Counted::Received,
            Service::Source => Counted::Sent,
        };
        Self { service, marks: Marks::new(counted), chunk: vec![b'x'; CHUNK] }
    }

    /// Serves a port for ever.
    pub async fn serve(mut self, port: Rc<Port>) {
        let mut connections = Vec::new();
        loop {
            while let Some(stream) = port.take() {
                connections.push(Connection { stream, kept: Vec::new() });
            }
            let mut wake = Wake::OnEvent;
            connections.retain_mut(|connection| match self.turn(connection) {
                Turn::Ended => {
                    connection.stream.finish();
                    false
                }
                Turn::For(interest) if connection.stream.arm(interest) => true,
                Turn::For(_) | Turn::Unfinished => {
                    wake = Wake::Now;
                    true
                }
            });
            port.wait(wake).await;
        }
    }

    fn turn(&mut self, connection: &mut Connection) -> Turn {
        for _ in 0..CHUNKS_PER_TURN {
            let waits = match self.service {
                Service::Echo => self.echo(connection),
                Service::Discard => self.discard(connection),
                Service::Source => self.send(connection),
            };
            if let Some(turn) = waits {
                return turn;
            }
        }
        // The peer learns of what has moved.
        let _ = connection.stream.arm(Interest::Readable);
        Turn::Unfinished
    }

    /// Sends back what was read, then reads.
    fn echo(&mut self, connection: &mut Connection) -> Option<Turn> {
        let Connection { stream, kept } = connection;
        if !kept.is_empty() {
            match stream.write(kept) {
                Written::Broken => return Some(Turn::Ended),
                Written::Bytes(count) => drop(kept.drain(..count)),
            }
            if !kept.is_empty() {
                return Some(Turn::For(Interest::Writable));
            }
            self.marks.add(1);
        }
        match stream.read(&mut self.chunk) {
            Received::Bytes(count) => kept.extend_from_slice(self.chunk.get(..count)?),
            Received::Pending => return Some(Turn::For(Interest::Readable)),
            Received::End | Received::Broken => return Some(Turn::Ended),
        }
        None
    }

    fn discard(&mut self, connection: &mut Connection) -> Option<Turn> {
        match connection.stream.read(&mut self.chunk) {
            Received::Bytes(count) => self.marks.add(count),
            Received::Pending => return Some(Turn::For(Interest::Readable)),
            Received::End | Received::Broken => return Some(Turn::Ended),
        }
        None
    }

    /// Sends until the client takes no more, or closes.
    fn send(&mut self, connection: &mut Connection) -> Option<Turn> {
        let mut ignored = [0; 16];
        match connection.stream.read(&mut ignored) {
            Received::Bytes(_) | Received::Pending => {}
            Received::End | Received::Broken => return Some(Turn::Ended),
        }
        match connection.stream.write(&self.chunk) {
            Written::Bytes(0) => Some(Turn::For(Interest::Writable)),
            Written::Bytes(count) => {
                self.marks.add(count);
                None
            }
            Written::Broken => Some(Turn::Ended),
        }
    }
}
