//! The table of connections.

use alloc::vec::Vec;
use core::time::Duration;

use super::handler::Handler;
use super::stream::{ByteStream, Interest};
use crate::http::{Activity, Connection, Outcome, STALL_TIME};

/// A response that has not moved for this long may be given up for a new connection.
const HELD_UP: Duration = STALL_TIME.checked_div(5).unwrap();

/// Serves at most a fixed number of connections.
///
/// When there are more, the one that is missed least is closed: first those that only drop a client's last bytes, then the one that has
/// been idle longest, then the one whose request has been incomplete longest, then the one whose response has not moved longest.
/// When all are busy answering, the new connection is dropped. So however many clients do nothing,
/// one that asks is answered.
pub struct Server<S, H: Handler> {
    connections: Vec<(S, Connection<H::Query>)>,
    capacity: usize,
    handler: H,
}

/// When the server wants its next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// At once: there is more to do.
    Now,
    /// When a stream wakes it, or at this time.
    At(Duration),
    /// When a stream wakes it.
    OnEvent,
}

impl<S: ByteStream, H: Handler> Server<S, H> {
    /// A server for at most `capacity` connections (at least one).
    pub fn new(capacity: usize, handler: H) -> Self {
        let capacity = capacity.max(1);
        Self { connections: Vec::with_capacity(capacity), capacity, handler }
    }

    /// The handler.
    pub fn handler(&mut self) -> &mut H {
        &mut self.handler
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Takes a new connection and gives it its first turn; closes another if there are too many.
    #[inline(never)]
    pub fn accept(&mut self, mut stream: S, now: Duration) {
        if self.connections.len() >= self.capacity {
            // What has arrived since the last turn decides who is idle.
            self.turn(now);
        }
        if self.connections.len() >= self.capacity {
            let Some(victim) = self.least_missed(now) else { return };
            let (mut stream, connection) = self.connections.swap_remove(victim);
            // Without this it is reset, which leaves the network stack nothing to keep for a peer that never answers.
            if connection.may_be_delivering(now) {
                stream.finish();
            }
        }
        let mut connection = Connection::new(now);
        if serve(&mut stream, &mut connection, &mut self.handler, now).is_some() {
            self.connections.push((stream, connection));
        }
    }

    /// Drops every connection.
    pub fn clear(&mut self) {
        self.connections.clear();
    }

    /// Gives every connection its turn.
    pub fn turn(&mut self, now: Duration) -> Wake {
        let mut wake = Wake::OnEvent;
        let handler = &mut self.handler;
        self.connections.retain_mut(|(stream, connection)| {
            let next = serve(stream, connection, handler, now);
            wake = wake.earlier(next.unwrap_or(Wake::OnEvent));
            next.is_some()
        });
        wake
    }

    fn least_missed(&self, now: Duration) -> Option<usize> {
        self.connections
            .iter()
            .enumerate()
            .map(|(index, (_, connection))| (connection.activity(), index))
            .filter(|(activity, _)| match activity {
                Activity::Responding(progress) => now.saturating_sub(*progress) >= HELD_UP,
                _ => true,
            })
            .min()
            .map(|(_, index)| index)
    }
}

/// Gives one connection its turn; `None` when it has ended.
fn serve<S: ByteStream, H: Handler>(
    stream: &mut S,
    connection: &mut Connection<H::Query>,
    handler: &mut H,
    now: Duration,
) -> Option<Wake> {
    let interest = match connection.turn(stream, handler, now) {
        Outcome::Ended => return None,
        Outcome::Busy => return Some(Wake::Now),
        // Whether the client goes away in the meantime is seen when the answer is written.
        Outcome::Waiting => return Some(connection.deadline().map_or(Wake::OnEvent, Wake::At)),
        Outcome::Lingering(until) => {
            stream.arm(Interest::Nothing);
            return Some(Wake::At(until));
        }
        Outcome::Reading => Interest::Readable,
        Outcome::Writing => Interest::Writable,
    };
    if !stream.arm(interest) {
        return Some(Wake::Now);
    }
    Some(connection.deadline().map_or(Wake::OnEvent, Wake::At))
}

impl Wake {
    fn earlier(self, other: Self) -> Self {
        match (self, other) {
            (Self::Now, _) | (_, Self::Now) => Self::Now,
            (Self::At(one), Self::At(two)) => Self::At(one.min(two)),
            (Self::OnEvent, other) | (other, Self::OnEvent) => other,
        }
    }
}
