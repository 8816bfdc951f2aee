//! UDP sockets: smoltcp's, with a count of what they had no room for and an end to waiting for lost neighbours.

use alloc::{vec, vec::Vec};
use core::time::Duration;

use smoltcp::{
    iface::{SocketHandle, SocketSet, SocketStorage},
    socket::udp::{PacketBuffer, PacketMetadata, SendError, Socket, UdpMetadata},
    wire::{IpEndpoint, Ipv4Address},
};

use crate::{
    limits::{DATAGRAM_BYTES, DATAGRAM_TIMEOUT, DATAGRAMS, MAXIMUM_DATAGRAM},
    waiters::Waiters,
};

/// A datagram's other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: Ipv4Address,
    /// Its port.
    pub port: u16,
}

/// One UDP socket, on a socket set of its own.
pub struct UdpSocket {
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    port: u16,
    /// Datagrams that wait to be received.
    queued: usize,
    dropped: u64,
    /// Where the last datagram was sent.
    last_destination: Option<Ipv4Address>,
    /// Since when nothing could be sent although something is there.
    stuck_since: Option<Duration>,
    /// Tasks that wait in `receive`.
    pub waiters: Waiters,
}

impl UdpSocket {
    /// A socket on a port other than 0. `None` when there is not memory enough.
    pub fn new(port: u16) -> Option<Self> {
        let mut socket = Socket::new(buffer()?, buffer()?);
        socket.bind(port).ok()?;
        let mut sockets = SocketSet::new(vec![SocketStorage::EMPTY]);
        let handle = sockets.add(socket);
        Some(Self {
            sockets,
            handle,
            port,
            queued: 0,
            dropped: 0,
            last_destination: None,
            stuck_since: None,
            waiters: Waiters::default(),
        })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Datagrams that were dropped for want of room.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Where the last datagram was sent.
    pub fn last_destination(&self) -> Option<Ipv4Address> {
        self.last_destination
    }

    /// The set to poll the interface with.
    pub fn sockets(&mut self) -> &mut SocketSet<'static> {
        &mut self.sockets
    }

    /// Whether one more datagram may come; counts it as dropped if not.
    pub fn has_room(&mut self) -> bool {
        let room = self.queued < DATAGRAMS;
        if !room {
            self.dropped += 1;
        }
        room
    }

    /// Bytes that wait to be received, to be given to [`Self::received`].
    pub fn received_bytes(&self) -> usize {
        self.socket_ref().recv_queue()
    }

    /// Notes that smoltcp was given a datagram of `length` bytes, when `before` bytes were waiting.
    pub fn received(&mut self, length: usize, before: usize) {
        // The frame was checked, so only the room for its bytes can have been missing.
        if length != 0 && self.received_bytes() == before {
            self.dropped += 1;
            return;
        }
        self.queued += 1;
        self.waiters.wake();
    }

    /// Takes the next datagram, if it fits a message; those that do not are dropped.
    pub fn receive<R>(&mut self, f: impl FnOnce(Peer, &[u8]) -> R) -> Option<R> {
        loop {
            let socket = self.sockets.get_mut::<Socket>(self.handle);
            let (data, metadata) = socket.recv().ok()?;
            self.queued = self.queued.saturating_sub(1);
            // smoltcp gets no frames with IPv6 (see `Cargo.toml`).
            let smoltcp::wire::IpAddress::Ipv4(address) = metadata.endpoint.addr else { continue };
            if data.len() <= MAXIMUM_DATAGRAM {
                return Some(f(Peer { address, port: metadata.endpoint.port }, data));
            }
            self.dropped += 1;
        }
    }

    /// Queues a datagram from `own` to `to`.
    pub fn send(&mut self, own: Ipv4Address, to: Peer, data: &[u8]) -> Result<(), SendError> {
        let mut metadata = UdpMetadata::from(IpEndpoint::from((to.address, to.port)));
        metadata.local_address = Some(own.into());
        self.last_destination = Some(to.address);
        self.sockets.get_mut::<Socket>(self.handle).send_slice(data, metadata)
    }

    /// Looks after the datagrams that wait to be sent, after an attempt: when none of them could be for too long, they are
    /// dropped, since one dead neighbour would hold up all others. Returns when to look again.
    pub fn check_stuck(&mut self, now: Duration, progress: Progress) -> Option<Duration> {
        if self.socket_ref().send_queue() == 0 {
            self.stuck_since = None;
            return None;
        }
        if progress == Progress::Some {
            self.stuck_since = None;
        }
        let give_up = *self.stuck_since.get_or_insert(now) + DATAGRAM_TIMEOUT;
        if now < give_up {
            return Some(give_up);
        }
        // smoltcp can only empty both directions.
        let socket = self.sockets.get_mut::<Socket>(self.handle);
        socket.close();
        let _bound_before = socket.bind(self.port);
        self.dropped += self.queued as u64;
        self.queued = 0;
        self.stuck_since = None;
        None
    }

    fn socket_ref(&self) -> &Socket<'static> {
        self.sockets.get(self.handle)
    }
}

/// Whether an attempt to send got any datagram away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// At least one.
    Some,
    /// None.
    None,
}

/// Room for [`DATAGRAMS`] datagrams, of [`DATAGRAM_BYTES`] bytes together. smoltcp pads to the end of the ring at most once for
/// each datagram, so twice as many descriptions never run out.
fn buffer() -> Option<PacketBuffer<'static>> {
    let (mut metadata, mut bytes) = (Vec::new(), Vec::new());
    metadata.try_reserve_exact(2 * DATAGRAMS).ok()?;
    metadata.resize(2 * DATAGRAMS, PacketMetadata::EMPTY);
    bytes.try_reserve_exact(DATAGRAM_BYTES).ok()?;
    bytes.resize(DATAGRAM_BYTES, 0);
    Some(PacketBuffer::new(metadata, bytes))
}
