//! What clients ask for: listeners, connections and datagram sockets.

use alloc::{collections::VecDeque, string::ToString};
use core::{
    fmt,
    task::{Context, Poll},
    time::Duration,
};

use ring::{
    SharedMemory,
    datagram::Datagrams,
    stream::{End, StreamLayout},
};
use smoltcp::{
    socket::tcp::State,
    wire::{DHCP_CLIENT_PORT, IpAddress, IpEndpoint, IpListenEndpoint, Ipv4Address},
};

use super::Stack;
use crate::{
    doorbell::Doorbell,
    frame::ConnectionKey,
    limits::{MAXIMUM_BACKLOG, MAXIMUM_DATAGRAM, ORPHAN_TIMEOUT, RESET_TIMEOUT},
    network::{NetworkConfiguration, is_host},
    table::Id,
    tcp::{
        ConnectFailure, Connection, ConnectionInfo, Listener, Look, Origin, Phase, Stream,
        pump::ClientDirection,
    },
    udp::{Peer, UdpSocket},
    waiters::Waiters,
};

/// First of the ports that are given out [RFC 6335 6].
const FIRST_EPHEMERAL: u16 = 49_152;

/// Bytes of IPv4 and UDP header.
const DATAGRAM_HEADERS: usize = 28;

/// Why a port cannot be listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenError {
    /// Port 0.
    NoPort,
    /// A backlog of 0 or above [`MAXIMUM_BACKLOG`].
    Backlog(u16),
    /// Another listener has the port.
    PortTaken(u16),
    /// All listeners are in use.
    TooMany,
}

/// Why a connection cannot be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// Port 0, or an address that no host has, or the own one.
    BadPeer,
    /// The interface has no address yet.
    NoAddress,
    /// No route leads there.
    NoRoute(Ipv4Address),
    /// The limit of outgoing or of all connections is reached.
    TooMany,
    /// There is not memory enough.
    NoMemory,
}

/// Why a UDP port cannot be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindError {
    /// Another socket, or the DHCP client, has the port.
    PortTaken(u16),
    /// All sockets or ports are in use.
    TooMany,
    /// There is not memory enough.
    NoMemory,
}

/// Why a datagram cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The socket is gone.
    Gone,
    /// Port 0 or the address 0.0.0.0.
    BadPeer,
    /// The interface has no address yet.
    NoAddress,
    /// No route leads there.
    NoRoute(Ipv4Address),
    /// More bytes than the MTU or a message allows.
    TooLong {
        /// What it has.
        bytes: usize,
        /// What it may have.
        most: usize,
    },
    /// The send buffer is full.
    Full,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPort => write!(f, "port 0 cannot be listened on"),
            Self::Backlog(backlog) => write!(f, "a backlog of {backlog} is not from 1 to {MAXIMUM_BACKLOG}"),
            Self::PortTaken(port) => write!(f, "TCP port {port} is taken"),
            Self::TooMany => write!(f, "all listeners are in use"),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadPeer => write!(f, "no other host can have this address and port"),
            Self::NoAddress => write!(f, "the interface has no address"),
            Self::NoRoute(address) => write!(f, "no route to {address}"),
            Self::TooMany => write!(f, "all TCP connections are in use"),
            Self::NoMemory => write!(f, "not enough memory for another TCP connection"),
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PortTaken(port) => write!(f, "UDP port {port} is taken"),
            Self::TooMany => write!(f, "all UDP sockets are in use"),
            Self::NoMemory => write!(f, "not enough memory for another UDP socket"),
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => write!(f, "the socket is gone"),
            Self::BadPeer => write!(f, "no host can have this address and port"),
            Self::NoAddress => write!(f, "the interface has no address"),
            Self::NoRoute(address) => write!(f, "no route to {address}"),
            Self::TooLong { bytes, most } => {
                write!(f, "{bytes} bytes are more than the {most} of a datagram here")
            }
            Self::Full => write!(f, "the send buffer is full"),
        }
    }
}

impl<M: SharedMemory, D: Doorbell> Stack<M, D> {
    /// Listens on a port, with room for `backlog` connections that wait for [`Self::poll_accept`].
    pub fn listen(&mut self, port: u16, backlog: u16) -> Result<Id, ListenError> {
        if port == 0 {
            return Err(ListenError::NoPort);
        }
        if backlog == 0 || backlog > MAXIMUM_BACKLOG {
            return Err(ListenError::Backlog(backlog));
        }
        if self.listening.contains_key(&port) {
            return Err(ListenError::PortTaken(port));
        }
        let listener = Listener {
            port,
            backlog: backlog.into(),
            half_open: VecDeque::new(),
            waiting: VecDeque::new(),
            connections: 0,
            waiters: Waiters::default(),
        };
        let id = self.listeners.insert(listener).map_err(|_| ListenError::TooMany)?;
        self.listening.insert(port, id);
        Ok(id)
    }

    /// Ends a listener. Connections that nobody has accepted are reset; accepted ones go on.
    pub fn close_listener(&mut self, id: Id, now: Duration) {
        let Some(mut listener) = self.listeners.remove(id) else { return };
        self.listening.remove(&listener.port);
        listener.waiters.wake();
        let owned: crate::tcp::Ids = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.origin == Origin::Listener(id))
            .map(|(id, _)| id)
            .collect();
        for id in owned {
            let Some(connection) = self.connections.get_mut(id) else { continue };
            connection.origin = Origin::Nobody;
            if matches!(connection.phase, Phase::HalfOpen(_) | Phase::Waiting) {
                self.abort(id, now);
            }
        }
    }

    /// Takes the next connection of a listener; it is to be opened by [`Self::attach`] or dropped. `None` when the listener is gone.
    pub fn poll_accept(&mut self, id: Id, context: &Context<'_>) -> Poll<Option<Id>> {
        let Some(listener) = self.listeners.get_mut(id) else { return Poll::Ready(None) };
        while let Some(id) = listener.waiting.pop_front() {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.phase = Phase::Claimed;
                return Poll::Ready(Some(id));
            }
        }
        listener.waiters.register(context);
        Poll::Pending
    }

    /// Starts a connection; [`Self::poll_connected`] tells how it went.
    pub fn connect(&mut self, peer: Peer, now: Duration) -> Result<Id, ConnectError> {
        let configuration = self.configuration.as_ref().ok_or(ConnectError::NoAddress)?;
        let own = configuration.address.address();
        if peer.port == 0 || !is_host(peer.address) || peer.address == own {
            return Err(ConnectError::BadPeer);
        }
        if !configuration.reaches(peer.address) {
            return Err(ConnectError::NoRoute(peer.address));
        }
        if self.outgoing >= self.limits.outgoing_sockets || !self.make_room(Origin::Outgoing) {
            return Err(ConnectError::TooMany);
        }
        let key_of =
            |local_port| ConnectionKey { peer_address: peer.address, peer_port: peer.port, local_port };
        let taken = |port| self.by_key.contains_key(&key_of(port)) || self.listening.contains_key(&port);
        let local_port = ephemeral_port(&mut self.random, taken).ok_or(ConnectError::TooMany)?;
        let mut cell = self.take_socket().ok_or(ConnectError::NoMemory)?;
        let remote = IpEndpoint::from((peer.address, peer.port));
        let local = IpListenEndpoint { addr: Some(IpAddress::Ipv4(own)), port: local_port };
        if cell.socket().connect(self.interface.context(), remote, local).is_err() {
            self.store.give_back(cell);
            return Err(ConnectError::BadPeer);
        }
        let connection = Connection {
            key: key_of(local_port),
            local_address: own,
            cell,
            origin: Origin::Outgoing,
            phase: Phase::Connecting(now),
            stream: None,
            waiters: Waiters::default(),
        };
        let id = self.insert(connection).ok_or(ConnectError::TooMany)?;
        self.work.add(self.connection_item(id));
        Ok(id)
    }

    /// Waits until a connection is up or has failed; one that failed is freed.
    pub fn poll_connected(&mut self, id: Id, context: &Context<'_>) -> Poll<Result<(), ConnectFailure>> {
        let Some(connection) = self.connections.get_mut(id) else {
            return Poll::Ready(Err(ConnectFailure::Refused));
        };
        match connection.phase {
            Phase::Connecting(_) => {
                connection.waiters.register(context);
                Poll::Pending
            }
            Phase::Failed(failure) => {
                self.free(id);
                Poll::Ready(Err(failure))
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    /// The layout that the stream of a connection is to have; `None` when it is gone, or has one.
    pub fn stream_layout(&self, id: Id) -> Option<StreamLayout> {
        let connection = self.connections.get(id).filter(|connection| connection.stream.is_none())?;
        Some(connection.cell.size().stream_layout())
    }

    /// Gives a connection the stream by which its client reads and writes it. False when it is gone, or has one.
    pub fn attach(&mut self, id: Id, end: End<M>, doorbell: D) -> bool {
        let item = self.connection_item(id);
        let Some(connection) = self.connections.get_mut(id).filter(|connection| connection.stream.is_none())
        else {
            return false;
        };
        connection.stream = Some(Stream { end, doorbell, direction: ClientDirection::Open, look: Look::Now });
        if connection.phase == Phase::Claimed {
            connection.phase = Phase::Held;
        }
        self.work.add(item);
        true
    }

    /// Resets a connection.
    pub fn abort(&mut self, id: Id, now: Duration) {
        let item = self.connection_item(id);
        let Some(connection) = self.connections.get_mut(id) else { return };
        connection.cell.socket().abort();
        // A client that holds it learns of the end from its stream.
        if connection.phase != Phase::Held {
            connection.phase = Phase::Resetting(now + RESET_TIMEOUT);
        }
        self.work.add(item);
    }

    /// Lets go of a connection that its client has dropped: what the client finished is still delivered, anything else is reset.
    pub fn drop_connection(&mut self, id: Id, now: Duration) {
        let item = self.connection_item(id);
        let Some(connection) = self.connections.get_mut(id) else { return };
        match connection.state() {
            State::Closed if connection.is_silent() => return self.free(id),
            State::TimeWait => self.rest(id),
            _ if connection.stream.is_some() => connection.phase = Phase::Orphaned(now + ORPHAN_TIMEOUT),
            _ => return self.abort_unclaimed(id, now),
        }
        self.work.add(item);
    }

    /// Resets a connection that no client has a stream of.
    fn abort_unclaimed(&mut self, id: Id, now: Duration) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.phase = Phase::Resetting(now + RESET_TIMEOUT);
        }
        self.abort(id, now);
    }

    /// What a client may know of a connection.
    pub fn connection_info(&self, id: Id) -> Option<ConnectionInfo> {
        let connection = self.connections.get(id)?;
        Some(ConnectionInfo {
            local_address: connection.local_address,
            key: connection.key,
            state: connection.state().to_string(),
        })
    }

    /// Has all connections and UDP sockets of a group looked at whose client may have rung the doorbell: those whose index leaves the rest
    /// `group` when divided by `groups`.
    pub fn streams_rang(&mut self, group: usize, groups: usize) {
        for item in (group..self.connections.extent()).step_by(groups.max(1)) {
            if let Some(id) = self.connections.id_at(item) {
                self.look_at_stream(id);
            }
        }
        for index in (group..self.datagrams.extent()).step_by(groups.max(1)) {
            if let Some(id) = self.datagrams.id_at(index)
                && self.datagrams.get(id).is_some_and(UdpSocket::is_open)
            {
                self.work.add(self.datagram_item(id));
            }
        }
    }

    /// Binds a UDP port; 0 picks a free one.
    pub fn bind(&mut self, port: u16) -> Result<Id, BindError> {
        if self.datagrams.is_full() {
            return Err(BindError::TooMany);
        }
        let port = if port == 0 {
            let by_port = &self.by_port;
            ephemeral_port(&mut self.random, |port| by_port.contains_key(&port)).ok_or(BindError::TooMany)?
        } else {
            port
        };
        if self.by_port.contains_key(&port) || port == DHCP_CLIENT_PORT {
            return Err(BindError::PortTaken(port));
        }
        let socket = UdpSocket::new(port).ok_or(BindError::NoMemory)?;
        let id = self.datagrams.insert(socket).map_err(|_| BindError::TooMany)?;
        self.by_port.insert(port, id);
        Ok(id)
    }

    /// Closes a UDP socket.
    pub fn unbind(&mut self, id: Id) {
        if let Some(mut socket) = self.datagrams.remove(id) {
            self.by_port.remove(&socket.port());
            self.work.clear_deadline(self.datagram_item(id));
            socket.close();
            socket.waiters.wake();
        }
    }

    /// Queues a datagram.
    pub fn send_datagram(&mut self, id: Id, to: Peer, data: &[u8]) -> Result<(), SendError> {
        let (item, most) = (self.datagram_item(id), self.largest_datagram().min(MAXIMUM_DATAGRAM));
        let socket = self.datagrams.get_mut(id).ok_or(SendError::Gone)?;
        let configuration = self.configuration.as_ref().ok_or(SendError::NoAddress)?;
        may_send(configuration, to, data.len(), most)?;
        socket.send(configuration.address.address(), to, data).map_err(|error| match error {
            smoltcp::socket::udp::SendError::BufferFull => SendError::Full,
            smoltcp::socket::udp::SendError::Unaddressable => SendError::BadPeer,
        })?;
        self.work.add(item);
        Ok(())
    }

    /// Bytes of the largest datagram that the MTU allows.
    pub(super) fn largest_datagram(&self) -> usize {
        usize::from(self.mtu.bytes()).saturating_sub(DATAGRAM_HEADERS)
    }

    /// Whether a UDP socket is there and can be opened.
    pub fn can_open(&self, id: Id) -> bool {
        self.datagrams.get(id).is_some_and(|socket| !socket.is_open())
    }

    /// Gives a UDP socket the rings by which its client reads and writes it. False when it is gone, or has them.
    pub fn open(&mut self, id: Id, end: Datagrams<M>, doorbell: D) -> bool {
        if !self.can_open(id) {
            return false;
        }
        if let Some(socket) = self.datagrams.get_mut(id) {
            socket.open(end, doorbell);
        }
        self.work.add(self.datagram_item(id));
        true
    }

    /// Takes the next datagram of a socket. `None` when the socket is gone.
    pub fn poll_datagram<R>(
        &mut self,
        id: Id,
        context: &Context<'_>,
        f: impl FnOnce(Peer, &[u8]) -> R,
    ) -> Poll<Option<R>> {
        let Some(socket) = self.datagrams.get_mut(id) else { return Poll::Ready(None) };
        match socket.receive(f) {
            Some(result) => Poll::Ready(Some(result)),
            None => {
                socket.waiters.register(context);
                Poll::Pending
            }
        }
    }

    /// Port of a UDP socket, and how many datagrams it had no room for.
    pub fn datagram_info(&self, id: Id) -> Option<(u16, u64)> {
        self.datagrams.get(id).map(|socket| (socket.port(), socket.dropped()))
    }
}

/// Whether a datagram of `length` bytes can go to `to`.
pub(super) fn may_send(
    configuration: &NetworkConfiguration,
    to: Peer,
    length: usize,
    most: usize,
) -> Result<(), SendError> {
    if to.port == 0 || to.address.is_unspecified() {
        return Err(SendError::BadPeer);
    }
    if !configuration.reaches(to.address) {
        return Err(SendError::NoRoute(to.address));
    }
    if length > most {
        return Err(SendError::TooLong { bytes: length, most });
    }
    Ok(())
}

/// A free port out of those that are given out, from a random one on.
fn ephemeral_port(random: &mut super::Random, taken: impl Fn(u16) -> bool) -> Option<u16> {
    let count = u16::MAX - FIRST_EPHEMERAL + 1;
    // The remainder is below the count, a u16.
    let start = (random() % u64::from(count)) as u16;
    (0..count).map(|step| FIRST_EPHEMERAL + (start + step) % count).find(|port| !taken(*port))
}
