//! How much of everything the stack holds at most: the bounds that keep any peer or client from using it up.
//!
//! # Who shares what
//!
//! All clients hold facets of one `NetworkManager`, so a client is known only by the objects that it made. The
//! quotas hang on those: each listener has its own limit and a reserve that nobody else can use up, and all
//! outgoing connections together have one limit. So a listener that is flooded, or whose client keeps every
//! connection open, leaves the others their reserve.

use core::time::Duration;

/// Counts that bound the stack's tables; the memory that follows from them is in [`crate::tcp::buffers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// TCP connections in every state together.
    pub tcp_sockets: usize,
    /// TCP connections of one listener: half open, waiting for `accept` and accepted.
    pub sockets_per_listener: usize,
    /// TCP connections that each listener can have whatever the others do.
    pub listener_reserve: usize,
    /// TCP connections made by `connectTcp`.
    pub outgoing_sockets: usize,
    /// Listeners.
    pub listeners: usize,
    /// UDP sockets.
    pub udp_sockets: usize,
}

impl Limits {
    /// The stack's own limits; at most about 13 MiB of buffers when all of them are reached.
    pub const STANDARD: Self = Self {
        tcp_sockets: 192,
        sockets_per_listener: 96,
        listener_reserve: 8,
        outgoing_sockets: 64,
        listeners: 16,
        udp_sockets: 32,
    };
}

/// Highest `backlog` of a listener.
pub const MAXIMUM_BACKLOG: u16 = 64;

/// Longest that a handshake may take, ours or a peer's. Frees the place of a peer that sent a SYN and no more.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// Longest silence of a peer that has something to acknowledge or that was probed, before the connection is reset.
pub const PEER_TIMEOUT: Duration = Duration::from_secs(180);

/// Silence after which a peer is probed whether it is still there [RFC 1122 4.2.3.6, shortened from two hours:
/// cloud load balancers and NAT forget idle connections after some minutes].
pub const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// How long a connection that its client has closed and dropped may take to deliver the rest.
pub const ORPHAN_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a reset may wait for room in the NIC's ring.
pub const RESET_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a datagram may wait for its neighbour's hardware address.
pub const DATAGRAM_TIMEOUT: Duration = Duration::from_secs(5);

/// Datagrams that wait in one UDP socket, each way.
pub const DATAGRAMS: usize = 32;

/// Bytes of datagrams that wait in one UDP socket, each way.
pub const DATAGRAM_BYTES: usize = 16 * 1024;

/// Longest datagram that fits a message with its address (504 words, see `abi::MAXIMUM_WORDS`).
pub const MAXIMUM_DATAGRAM: usize = 3968;

/// Frames taken from the NIC, and connections served, in one round before other tasks of the process run.
pub const ROUND: usize = 64;

/// Frames that one connection sends in one turn before the others have theirs.
pub const FRAMES_PER_TURN: usize = 16;
