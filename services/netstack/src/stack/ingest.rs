//! Frames in: each is classified, given to the one socket that it is for, and its buffer goes back to the driver.

use core::time::Duration;

use ring::{PeerFault, SharedMemory};
use smoltcp::{iface::SocketSet, socket::tcp::State};

use super::Stack;
use crate::{
    device::Step,
    dhcp::{self, Options},
    doorbell::Doorbell,
    frame::{ConnectionKey, Datagram, Flow, Refusal, Segment, classify},
    limits::ROUND,
    table::Id,
    tcp::{Connection, Origin, Phase, buffers::SocketCell, forget},
    time::instant,
    waiters::Waiters,
};

/// How long a half-open connection is safe from being replaced while the backlog is full: some round trips.
const HALF_OPEN_GRACE: Duration = Duration::from_secs(1);

/// Connections that are kept in TIME-WAIT.
const TIME_WAIT: usize = 32;

/// Who gets a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receiver {
    Connection(Id),
    Datagrams(Id, usize),
    /// A UDP socket with rings.
    Ring(Id, Datagram),
    Dhcp,
    /// smoltcp itself: ARP, ICMP, and all that is answered with RST or "unreachable".
    Interface,
}

impl<M: SharedMemory, D: Doorbell> Stack<M, D> {
    /// Takes frames in, up to a round's worth; returns how many.
    pub(super) fn ingest_round(&mut self, now: Duration) -> Result<usize, PeerFault> {
        for count in 0..ROUND {
            let Some(session) = &mut self.session else { return Ok(count) };
            let Some(frame) = session.receive()? else { return Ok(count) };
            self.received.count(frame.len());
            let identity = self.identity();
            let checksum = frame.checksum();
            let flow = match &self.session {
                Some(session) => {
                    session.buffers().with_received(&frame, |bytes| classify(bytes, checksum, &identity))
                }
                None => None,
            };
            match flow.unwrap_or(Err(Refusal::Malformed)) {
                Ok(flow) => {
                    if let Some(receiver) = self.receiver(flow, now) {
                        self.process(&frame, receiver, now);
                        if flow == Flow::Arp {
                            self.work.unstall();
                        }
                    }
                }
                Err(Refusal::NotForUs) => {}
                Err(_) => self.dropped_frames += 1,
            }
            if let Some(session) = &mut self.session {
                session.give_back(frame)?;
            }
        }
        Ok(ROUND)
    }

    /// Who a frame is for; `None` when it is to be dropped.
    fn receiver(&mut self, flow: Flow, now: Duration) -> Option<Receiver> {
        match flow {
            Flow::Arp | Flow::Other => Some(Receiver::Interface),
            Flow::Dhcp => self.dhcp.is_some().then_some(Receiver::Dhcp),
            Flow::Udp(datagram) => match self.by_port.get(&datagram.port) {
                Some(&id) => {
                    let socket = self.datagrams.get_mut(id)?;
                    if socket.is_open() {
                        return Some(Receiver::Ring(id, datagram));
                    }
                    socket.has_room().then_some(Receiver::Datagrams(id, datagram.length))
                }
                None => Some(Receiver::Interface),
            },
            Flow::Tcp(key, segment) => {
                if let Some(&id) = self.by_key.get(&key) {
                    // A new connection may follow one that is over, also in TIME-WAIT [RFC 1122 4.2.2.13]. A client that
                    // still has the old one keeps it; it just gets no more frames.
                    match self.connections.get(id).map(Connection::state) {
                        Some(State::TimeWait | State::Closed) if segment == Segment::Opening => {
                            self.by_key.remove(&key);
                            if self.connections.get(id).is_some_and(|old| old.phase == Phase::Resting) {
                                self.free(id);
                            }
                        }
                        _ => return Some(Receiver::Connection(id)),
                    }
                }
                match self.listening.get(&key.local_port) {
                    Some(&listener) if segment == Segment::Opening => {
                        self.admit(listener, key, now).map(Receiver::Connection)
                    }
                    _ => Some(Receiver::Interface),
                }
            }
        }
    }

    /// Makes a half-open connection for a SYN; `None` when there is no room, and the peer is to try again.
    #[inline(never)]
    fn admit(&mut self, listener_id: Id, key: ConnectionKey, now: Duration) -> Option<Id> {
        let local_address = self.own_address()?;
        let listener = self.listeners.get(listener_id)?;
        if listener.half_open.len() + listener.waiting.len() >= listener.backlog {
            let oldest = *listener.half_open.front()?;
            let since = match self.connections.get(oldest)?.phase {
                Phase::HalfOpen(since) => since,
                _ => now,
            };
            if now.saturating_sub(since) < HALF_OPEN_GRACE {
                return None;
            }
            // Without a RST: a flood's sources are forged, and an honest peer will be told when it goes on.
            self.free(oldest);
        }
        let listener = self.listeners.get(listener_id)?;
        if listener.connections >= self.limits.sockets_per_listener
            || !self.make_room(Origin::Listener(listener_id))
        {
            return None;
        }
        let mut cell = self.take_socket()?;
        if cell.socket().listen(key.local_port).is_err() {
            self.store.give_back(cell);
            return None;
        }
        let id = self.insert(Connection {
            key,
            local_address,
            cell,
            origin: Origin::Listener(listener_id),
            phase: Phase::HalfOpen(now),
            stream: None,
            waiters: Waiters::default(),
        })?;
        if let Some(listener) = self.listeners.get_mut(listener_id) {
            listener.half_open.push_back(id);
        }
        Some(id)
    }

    /// Whether one more connection of this origin fits beside what is reserved for the listeners; makes a connection in
    /// TIME-WAIT give way if that helps.
    pub(super) fn make_room(&mut self, origin: Origin) -> bool {
        let reserved: usize = self
            .listeners
            .iter()
            .filter(|(id, _)| origin != Origin::Listener(*id))
            .map(|(_, listener)| self.limits.listener_reserve.saturating_sub(listener.connections))
            .sum();
        while self.connections.len() + reserved >= self.limits.tcp_sockets {
            let Some(&oldest) = self.time_wait.front() else {
                // Its own reserve is open to a listener even when the others have eaten into the rest.
                let Origin::Listener(id) = origin else { return false };
                let own = self.listeners.get(id).map_or(usize::MAX, |listener| listener.connections);
                return own < self.limits.listener_reserve && !self.connections.is_full();
            };
            self.free(oldest);
        }
        true
    }

    /// Adds a connection to the tables and counts.
    pub(super) fn insert(&mut self, connection: Connection<M, D>) -> Option<Id> {
        let (key, origin) = (connection.key, connection.origin);
        match self.connections.insert(connection) {
            Ok(id) => {
                self.by_key.insert(key, id);
                self.count(origin, 1);
                Some(id)
            }
            Err(connection) => {
                self.store.give_back(connection.cell);
                None
            }
        }
    }

    /// Puts a datagram into the ring of its socket's client, who is woken when the socket is served.
    #[inline(never)]
    fn deliver(&mut self, frame: &ring::frame::ReceivedFrame, id: Id, datagram: Datagram) {
        let (Some(session), Some(socket)) = (&self.session, self.datagrams.get_mut(id)) else { return };
        let Datagram { from, offset, length, .. } = datagram;
        let delivered = session.buffers().with_received(frame, |bytes| {
            bytes.get(offset..).and_then(|bytes| bytes.get(..length)).map(|data| socket.deliver(from, data))
        });
        if let Some(Some(Err(error))) = delivered {
            log::warn!("client broke its datagram rings: {error}");
            socket.close();
        }
        self.work.add(self.datagram_item(id));
    }

    /// Has smoltcp process a frame with the sockets of its receiver, which will be served.
    fn process(&mut self, frame: &ring::frame::ReceivedFrame, receiver: Receiver, now: Duration) {
        if let Receiver::Ring(id, datagram) = receiver {
            return self.deliver(frame, id, datagram);
        }
        let Some(session) = &mut self.session else { return };
        let mut before = 0;
        let sockets: &mut SocketSet<'static> = match receiver {
            Receiver::Connection(id) => match self.connections.get_mut(id) {
                Some(connection) => connection.cell.sockets(),
                None => return,
            },
            Receiver::Datagrams(id, _) => match self.datagrams.get_mut(id) {
                Some(socket) => {
                    before = socket.received_bytes();
                    socket.sockets()
                }
                None => return,
            },
            Receiver::Dhcp => match &mut self.dhcp {
                Some(dhcp) => dhcp.sockets(),
                None => return,
            },
            Receiver::Interface | Receiver::Ring(..) => &mut self.nobody,
        };
        let (interface, mtu, largest_cut) = (&mut self.interface, self.mtu, self.largest_cut);
        let options: Option<Options> = session
            .with_frame(frame, |bytes, sender| {
                let options = (receiver == Receiver::Dhcp).then(|| dhcp::options_of_frame(bytes)).flatten();
                let mut step = Step { frame: Some(bytes), sender: Some(sender), mtu, largest_cut };
                // What may have changed is known from the receiver.
                let _result = interface.poll_ingress_single(instant(now), &mut step, sockets);
                options
            })
            .flatten();
        match receiver {
            Receiver::Connection(id) => self.work.add(self.connection_item(id)),
            Receiver::Datagrams(id, length) => {
                if let Some(socket) = self.datagrams.get_mut(id) {
                    socket.received(length, before);
                }
            }
            Receiver::Dhcp => {
                if let Some(change) = self.dhcp.as_mut().and_then(|dhcp| dhcp.take_change(options, now)) {
                    self.change_lease(change, now);
                }
                self.work.add(self.dhcp_item());
            }
            Receiver::Interface | Receiver::Ring(..) => {}
        }
    }

    /// Adds to or takes from the count of connections of an origin.
    fn count(&mut self, origin: Origin, change: isize) {
        let count = match origin {
            Origin::Listener(id) => self.listeners.get_mut(id).map(|listener| &mut listener.connections),
            Origin::Outgoing => Some(&mut self.outgoing),
            Origin::Nobody => None,
        };
        if let Some(count) = count {
            *count = count.saturating_add_signed(change);
        }
    }

    /// Has a connection count for nobody any more.
    pub(super) fn disown(&mut self, id: Id) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let origin = core::mem::replace(&mut connection.origin, Origin::Nobody);
        self.count(origin, -1);
        if let Origin::Listener(listener) = origin
            && let Some(listener) = self.listeners.get_mut(listener)
        {
            forget(&mut listener.half_open, id);
            forget(&mut listener.waiting, id);
        }
    }

    /// Forgets a connection at once, without a word to the peer.
    pub(super) fn free(&mut self, id: Id) {
        self.disown(id);
        let Some(mut connection) = self.connections.remove(id) else { return };
        if self.by_key.get(&connection.key) == Some(&id) {
            self.by_key.remove(&connection.key);
        }
        if connection.phase == Phase::Resting {
            // Mostly the oldest, which is at the front.
            match self.time_wait.front() {
                Some(front) if *front == id => drop(self.time_wait.pop_front()),
                _ => forget(&mut self.time_wait, id),
            }
        }
        self.work.clear_deadline(self.connection_item(id));
        connection.waiters.wake();
        if let Some(mut stream) = connection.stream.take() {
            stream.end.reset();
            if stream.end.must_ring() {
                stream.doorbell.ring();
            }
        }
        self.store.give_back(connection.cell);
    }

    /// Takes a socket for a new connection. One that rests needs no large buffers, and gives way to it.
    pub(super) fn take_socket(&mut self) -> Option<SocketCell> {
        if self.store.is_out_of_large() {
            let is_large = |id: &&Id| self.connections.get(**id).is_some_and(|old| old.cell.is_large());
            if let Some(&oldest) = self.time_wait.iter().find(is_large) {
                self.free(oldest);
            }
        }
        self.store.take()
    }

    /// Lets a connection without a client rest in TIME-WAIT, where the oldest makes place.
    #[inline(never)]
    pub(super) fn rest(&mut self, id: Id) {
        self.disown(id);
        let Some(connection) = self.connections.get_mut(id) else { return };
        connection.stream = None;
        connection.phase = Phase::Resting;
        self.time_wait.push_back(id);
        if self.time_wait.len() > TIME_WAIT
            && let Some(&oldest) = self.time_wait.front()
        {
            self.free(oldest);
        }
    }
}
