//! UDP sockets: smoltcp's, with a count of what they had no room for and an end to waiting for lost neighbours.
//!
//! What comes for a socket with open rings goes from the frame to the ring of its client; smoltcp only sends for it.

use alloc::{vec, vec::Vec};
use core::time::Duration;

use ring::{
    SharedMemory, Sleep,
    datagram::{Datagrams, Sent},
    stream::StreamError,
};
use smoltcp::{
    iface::{SocketHandle, SocketSet, SocketStorage},
    socket::udp::{PacketBuffer, PacketMetadata, SendError, Socket, UdpMetadata},
    wire::{IpEndpoint, Ipv4Address},
};

use crate::{
    doorbell::Doorbell,
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

/// The rings that a client reads and writes.
struct Rings<M, D> {
    end: Datagrams<M>,
    doorbell: D,
    /// Whether something may have been left in the client's ring.
    backlog: bool,
}

/// One UDP socket, on a socket set of its own.
pub struct UdpSocket<M, D> {
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    port: u16,
    /// Datagrams that wait to be received.
    queued: usize,
    dropped: u64,
    /// Whether smoltcp was given something to send; it does not tell an empty datagram from none.
    has_unsent: bool,
    /// Where the last datagram was sent.
    last_destination: Option<Ipv4Address>,
    /// Since when nothing could be sent although something is there.
    stuck_since: Option<Duration>,
    rings: Option<Rings<M, D>>,
    /// Tasks that wait in `receive`.
    pub waiters: Waiters,
}

impl<M: SharedMemory, D: Doorbell> UdpSocket<M, D> {
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
            has_unsent: false,
            last_destination: None,
            stuck_since: None,
            rings: None,
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

    /// Whether a client has its rings.
    pub fn is_open(&self) -> bool {
        self.rings.is_some()
    }

    /// Gives it the rings of its client.
    pub fn open(&mut self, end: Datagrams<M>, doorbell: D) {
        self.rings = Some(Rings { end, doorbell, backlog: true });
    }

    /// Puts a datagram that came into the client's ring; counts it as dropped if there is no room. An error is the client's
    /// fault.
    pub fn deliver(&mut self, from: Peer, data: &[u8]) -> Result<(), StreamError> {
        let Some(Rings { end, .. }) = &mut self.rings else { return Ok(()) };
        if end.send(from.address.to_bits(), from.port, data)? == Sent::Full {
            self.dropped += 1;
        }
        Ok(())
    }

    /// Moves some of the client's datagrams to smoltcp as long as there is room and `may_send` has nothing against where they go and how
    /// long they are. An error is the client's fault.
    pub fn from_client(
        &mut self,
        own: Ipv4Address,
        mut may_send: impl FnMut(Peer, usize) -> bool,
    ) -> Result<(), StreamError> {
        let Some(Rings { end, backlog, .. }) = &mut self.rings else { return Ok(()) };
        *backlog = true;
        let socket = self.sockets.get_mut::<Socket>(self.handle);
        // Bounded, since a client can put in what is only dropped.
        for _ in 0..DATAGRAMS {
            let Some(head) = end.peek()? else {
                *backlog = false;
                return Ok(());
            };
            let to = Peer { address: Ipv4Address::from_bits(head.address), port: head.port };
            if !may_send(to, head.length.into()) {
                end.receive(&mut [])?;
                self.dropped += 1;
                continue;
            }
            match socket.send(head.length.into(), metadata(own, to)) {
                Ok(target) => {
                    end.receive(target)?;
                    self.has_unsent = true;
                    self.last_destination = Some(to.address);
                }
                Err(SendError::BufferFull) => return Ok(()),
                Err(SendError::Unaddressable) => {
                    end.receive(&mut [])?;
                    self.dropped += 1;
                }
            }
        }
        Ok(())
    }

    /// Wakes the client if there is news for it, and asks for its doorbell. [`Sleep::WorkArrived`] when there is news from it
    /// that can be looked at now.
    pub fn attend_client(&mut self) -> Sleep {
        let Some(Rings { end, doorbell, backlog }) = &mut self.rings else { return Sleep::Allowed };
        if end.must_ring() {
            doorbell.ring();
        }
        match (*backlog, self.has_unsent) {
            // It waits for room, and the socket is served again when something was sent.
            (true, true) => Sleep::Allowed,
            (true, false) => Sleep::WorkArrived,
            (false, _) => end.arm(),
        }
    }

    /// Ends the rings of a client that broke their rules, or of a socket that ends.
    pub fn close(&mut self) {
        if let Some(Rings { mut end, doorbell, .. }) = self.rings.take() {
            end.close();
            if end.must_ring() {
                doorbell.ring();
            }
        }
    }

    /// Queues a datagram from `own` to `to`.
    pub fn send(&mut self, own: Ipv4Address, to: Peer, data: &[u8]) -> Result<(), SendError> {
        self.last_destination = Some(to.address);
        self.has_unsent = true;
        self.sockets.get_mut::<Socket>(self.handle).send_slice(data, metadata(own, to))
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

    /// Whether datagrams wait in smoltcp's buffer.
    pub fn has_unsent(&self) -> bool {
        self.has_unsent
    }

    /// Notes that smoltcp has sent all that it had.
    pub fn all_sent(&mut self) {
        self.has_unsent = false;
    }

    fn socket_ref(&self) -> &Socket<'static> {
        self.sockets.get(self.handle)
    }
}

/// From `own` to `to`, for smoltcp.
fn metadata(own: Ipv4Address, to: Peer) -> UdpMetadata {
    let mut metadata = UdpMetadata::from(IpEndpoint::from((to.address, to.port)));
    metadata.local_address = Some(own.into());
    metadata
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
