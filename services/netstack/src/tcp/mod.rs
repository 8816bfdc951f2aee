//! TCP connections and listeners.
//!
//! # Life of a connection
//!
//! ```text
//!   SYN to a listener                       connectTcp
//!         |                                     |
//!         v                                     v
//!     HalfOpen --ACK--> Waiting --accept-->  Connecting --refused, silence--> Failed --told--> freed
//!         |                |        |           |
//!         |                |        v           | SYN|ACK
//!         |                |     Claimed        |
//!         |                |        | stream    |
//!         |                |        v           v
//!         |                |       Held <-------+       the client has the TcpSocket
//!         |                |        |     |
//!         |                |        |     +--- dropped after it finished ---> Orphaned --delivered--> freed
//!         |                |        |                                            |
//!         | lost,          | reset  | dropped or aborted,                        | in TIME-WAIT
//!         | replaced       |        | its process died                           v
//!         v                v        v                                         Resting --10 s, or its place is needed--> freed
//!       freed         +---------Resetting -- the RST has left --> freed
//! ```
//!
//! Resting connections wait in a queue of their own, where the oldest makes place for new ones, and count for no
//! listener. An orphan that cannot deliver in time is reset.
//!
//! # Many sockets
//!
//! smoltcp searches all sockets of a set for each frame. Here each socket has a set of its own, [`crate::frame`]
//! says which connection a frame is for, and only connections with work are polled; so the cost of
//! a frame does not depend on how many connections there are.

pub mod buffers;
pub mod pump;

use alloc::{collections::VecDeque, string::String, vec::Vec};
use core::time::Duration;

use ring::{SharedMemory, stream::End};
use smoltcp::{
    socket::tcp::{Socket, State},
    wire::Ipv4Address,
};

use crate::{frame::ConnectionKey, table::Id, waiters::Waiters};
use buffers::SocketCell;
use pump::ClientDirection;

/// Who a connection counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The listener that it came to.
    Listener(Id),
    /// `connectTcp`.
    Outgoing,
    /// Nobody any more: its listener is gone, or it is in TIME-WAIT.
    Nobody,
}

/// Where a connection is in its life; see the drawing above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A peer's handshake is under way since the time given.
    HalfOpen(Duration),
    /// In its listener's queue.
    Waiting,
    /// Taken from the queue; its stream is being made.
    Claimed,
    /// Our handshake is under way since the time given.
    Connecting(Duration),
    /// Our handshake failed.
    Failed(ConnectFailure),
    /// A client has it.
    Held,
    /// The client finished and let go; what it wrote is delivered until the time given.
    Orphaned(Duration),
    /// In TIME-WAIT, without a client.
    Resting,
    /// A RST is to be sent until the time given.
    Resetting(Duration),
}

/// Why a connection could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectFailure {
    /// The peer answered with RST.
    Refused,
    /// Nobody answered.
    TimedOut,
}

/// The stream that a client reads and writes.
pub struct Stream<M, D> {
    /// The stack's end.
    pub end: End<M>,
    /// Wakes the client.
    pub doorbell: D,
    /// What the client said last of its direction.
    pub direction: ClientDirection,
    /// What is known of the client's side without looking.
    pub look: Look,
}

/// Whether the client's side of a stream is worth a look. Shared memory is dear to look at, and most frames change
/// nothing there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// There is news: the doorbell was rung, or something was moved since it was last asked for.
    Now,
    /// There are bytes, which wait for room in smoltcp's buffer.
    WhenRoom,
    /// Nothing is there, and the doorbell was asked for.
    WhenRung,
}

/// One connection.
pub struct Connection<M, D> {
    /// Who talks to whom.
    pub key: ConnectionKey,
    /// The own address, which stays that of the connection if the interface's changes.
    pub local_address: Ipv4Address,
    /// smoltcp's socket.
    pub cell: SocketCell,
    /// Who it counts for.
    pub origin: Origin,
    /// Where it is in its life.
    pub phase: Phase,
    /// The client's stream, once the connection was opened for it.
    pub stream: Option<Stream<M, D>>,
    /// Tasks that wait for the phase to change.
    pub waiters: Waiters,
}

impl<M: SharedMemory, D> Connection<M, D> {
    /// smoltcp's state of it.
    pub fn state(&self) -> State {
        self.cell.socket_ref().state()
    }

    /// Whether smoltcp has nothing left to say to the peer.
    pub fn is_silent(&self) -> bool {
        let socket = self.cell.socket_ref();
        socket.remote_endpoint().is_none() || socket.state() == State::Listen
    }

    /// Whether the handshake is done: data can or could be exchanged.
    pub fn is_established(socket: &Socket<'_>) -> bool {
        !matches!(socket.state(), State::Closed | State::Listen | State::SynSent | State::SynReceived)
    }
}

/// One listener.
pub struct Listener {
    /// Its port.
    pub port: u16,
    /// How many connections may wait.
    pub backlog: usize,
    /// Connections whose handshake is under way, oldest first.
    pub half_open: VecDeque<Id>,
    /// Connections that wait for `accept`, oldest first.
    pub waiting: VecDeque<Id>,
    /// All connections that count for it.
    pub connections: usize,
    /// Tasks that wait in `accept`.
    pub waiters: Waiters,
}

/// What a client learns of its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// Own address.
    pub local_address: Ipv4Address,
    /// Own port, and the peer's address and port.
    pub key: ConnectionKey,
    /// State by its name in RFC 9293.
    pub state: String,
}

/// Removes an id from a queue.
pub(crate) fn forget(queue: &mut VecDeque<Id>, id: Id) {
    queue.retain(|other| *other != id);
}

/// Ids that were collected while the table was borrowed.
pub(crate) type Ids = Vec<Id>;
