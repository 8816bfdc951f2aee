//! Serving one socket: bytes moved, frames sent, its state looked at, and the next deadline set.

use core::time::Duration;

use ring::{PeerFault, SharedMemory, Sleep};
use smoltcp::{
    iface::{Interface, PollResult, SocketSet},
    socket::tcp::{Socket, State},
    wire::Ipv4Address,
};

use super::{Stack, clients::may_send};
use crate::{
    device::{LargestCut, Sender, Step},
    doorbell::Doorbell,
    limits::{FRAMES_PER_TURN, HANDSHAKE_TIMEOUT, PEER_TIMEOUT, RESET_TIMEOUT},
    network::Mtu,
    resolver,
    table::Id,
    tcp::{
        ConnectFailure, Connection, Look, Origin, Phase, Stream, forget,
        pump::{self, ClientDirection},
    },
    time::{duration, instant, span},
    udp::{Peer, Progress, UdpSocket},
};

/// Shortest time until a socket is looked at again that wants to send, cannot, and does not say when it will.
const RETRY: Duration = Duration::from_millis(1);

/// How sending went.
struct Sent {
    /// Whether any frame left.
    progress: Progress,
    /// What comes next.
    next: Next,
}

/// What is left to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Nothing before this time.
    At(Option<Duration>),
    /// More, after the others had their turn.
    More,
    /// Something, once the NIC has room.
    Parked,
    /// Something, at this time or once the neighbour is known.
    Stalled(Duration),
}

/// Sends what one socket set has to send, up to a turn's worth.
#[inline]
fn send<M: SharedMemory>(
    interface: &mut Interface,
    mut sender: Option<&mut Sender<M>>,
    (mtu, largest_cut): (Mtu, LargestCut),
    sockets: &mut SocketSet<'static>,
    now: Duration,
) -> Sent {
    let (mut frames, mut idle) = (0, 0);
    loop {
        let progress = if frames == 0 { Progress::None } else { Progress::Some };
        // Asking is about as dear as trying, so it is done where the answer is likely "nothing": before the first
        // frame, after it, and when trying has brought nothing.
        if frames < 2 || idle != 0 {
            let next = interface.poll_at(instant(now), sockets).map(duration);
            if next.is_none_or(|at| at > now) {
                let next = match next {
                    Some(at) if idle != 0 && frames == 0 => Next::Stalled(at),
                    next => Next::At(next),
                };
                return Sent { progress, next };
            }
        }
        if frames == FRAMES_PER_TURN {
            return Sent { progress, next: Next::More };
        }
        if idle == 2 {
            return Sent { progress, next: Next::Stalled(now + RETRY) };
        }
        let Some(sender) = &mut sender else { return Sent { progress, next: Next::Parked } };
        let mut step = Step { frame: None, sender: Some(&mut **sender), mtu, largest_cut };
        match interface.poll_egress(instant(now), &mut step, sockets) {
            PollResult::SocketStateChanged => (frames, idle) = (frames + 1, 0),
            // The socket changed its state only, or waits for room or a neighbour.
            PollResult::None => idle += 1,
        }
        if sender.take_exhausted() {
            return Sent { progress, next: Next::Parked };
        }
    }
}

impl<M: SharedMemory, D: Doorbell> Stack<M, D> {
    /// Serves one work item.
    pub(super) fn serve(&mut self, item: usize, now: Duration) {
        if item < self.limits.tcp_sockets {
            if let Some(id) = self.connections.id_at(item) {
                self.serve_connection(id, now);
            }
        } else if item == self.dhcp_item() {
            self.serve_dhcp(now);
        } else if let Some(id) = self.datagrams.id_at(item - self.limits.tcp_sockets) {
            self.serve_datagrams(id, now);
        }
    }

    fn serve_connection(&mut self, id: Id, now: Duration) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let orphaned = matches!(connection.phase, Phase::Orphaned(_));
        if let Some(stream) = &mut connection.stream {
            let socket = connection.cell.socket();
            if let Err(fault) = pump(socket, stream, connection.phase) {
                log::warn!("client broke its stream: {fault}");
                socket.abort();
                stream.end.reset();
                stream.direction = ClientDirection::Reset;
                stream.look = Look::Now;
            }
        }
        if orphaned
            && connection.stream.as_ref().is_some_and(|stream| stream.direction == ClientDirection::Finished)
        {
            // All that the client wrote is in smoltcp's hands; its memory is not needed for the rest.
            connection.stream = None;
        }
        if orphaned && !may_linger(connection, now) {
            connection.cell.socket().abort();
            connection.phase = Phase::Resetting(now + RESET_TIMEOUT);
        }
        let sender = self.session.as_mut().map(|session| &mut session.sender);
        let sent =
            send(&mut self.interface, sender, (self.mtu, self.largest_cut), connection.cell.sockets(), now);
        if !self.advance(id, now) {
            return;
        }
        self.attend_client(id);
        let Some(connection) = self.connections.get(id) else { return };
        let until = match connection.phase {
            Phase::Orphaned(until) | Phase::Resetting(until) => Some(until),
            _ => None,
        };
        if let Next::Stalled(_) = sent.next {
            self.ask_for(connection.key.peer_address, now);
        }
        self.plan(self.connection_item(id), sent.next, until, now);
    }

    /// Moves a connection on in its life, by the state that it has come to. False when that was its end.
    fn advance(&mut self, id: Id, now: Duration) -> bool {
        let Some(connection) = self.connections.get_mut(id) else { return false };
        let state = connection.state();
        match connection.phase {
            Phase::HalfOpen(_) if matches!(state, State::Closed | State::Listen) => {
                self.free(id);
                return false;
            }
            Phase::HalfOpen(_) if state != State::SynReceived => {
                connection.phase = Phase::Waiting;
                establish(connection);
                if let Origin::Listener(listener) = connection.origin
                    && let Some(listener) = self.listeners.get_mut(listener)
                {
                    forget(&mut listener.half_open, id);
                    listener.waiting.push_back(id);
                    listener.waiters.wake();
                }
            }
            Phase::Waiting if state == State::Closed => {
                self.free(id);
                return false;
            }
            Phase::Connecting(since) if state == State::Closed => {
                let failure = if now.saturating_sub(since) >= HANDSHAKE_TIMEOUT {
                    ConnectFailure::TimedOut
                } else {
                    ConnectFailure::Refused
                };
                connection.phase = Phase::Failed(failure);
                connection.waiters.wake();
            }
            Phase::Connecting(_) if Connection::<M, D>::is_established(connection.cell.socket_ref()) => {
                connection.phase = Phase::Held;
                establish(connection);
                connection.waiters.wake();
            }
            Phase::Orphaned(_) if state == State::TimeWait => {
                self.rest(id);
                // The oldest that made place may have been this one.
                return self.connections.get(id).is_some();
            }
            Phase::Orphaned(_) | Phase::Resting if state == State::Closed => {
                self.free(id);
                return false;
            }
            Phase::Resetting(until) if connection.is_silent() || now >= until => {
                self.free(id);
                return false;
            }
            _ => {}
        }
        true
    }

    /// Wakes the client if there is news for it, and asks to be woken by it.
    fn attend_client(&mut self, id: Id) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let orphaned = matches!(connection.phase, Phase::Orphaned(_));
        let Some(stream) = &mut connection.stream else { return };
        // Otherwise nothing was moved, and the doorbell is still asked for.
        if stream.look == Look::Now {
            if stream.end.must_ring() {
                stream.doorbell.ring();
            }
            if !orphaned {
                self.look_at_stream(id);
            }
        }
    }

    /// Queues a connection if its client has news, and asks for its doorbell if not.
    pub(super) fn look_at_stream(&mut self, id: Id) {
        let item = self.connection_item(id);
        let Some(connection) = self.connections.get_mut(id) else { return };
        let Some(stream) = &mut connection.stream else { return };
        let socket = connection.cell.socket_ref();
        stream.look = match pump::wants(socket, stream.direction) {
            Some(wants) if stream.end.arm(wants) == Sleep::WorkArrived => {
                self.work.add(item);
                Look::Now
            }
            _ if stream.direction == ClientDirection::Open && !socket.can_send() => Look::WhenRoom,
            _ => Look::WhenRung,
        };
    }

    #[inline(never)]
    fn serve_datagrams(&mut self, id: Id, now: Duration) {
        self.take_datagrams(id);
        let Some(socket) = self.datagrams.get_mut(id) else { return };
        let sender = self.session.as_mut().map(|session| &mut session.sender);
        let sent = if socket.has_unsent() {
            send(&mut self.interface, sender, (self.mtu, self.largest_cut), socket.sockets(), now)
        } else {
            Sent { progress: Progress::None, next: Next::At(None) }
        };
        if sent.next == Next::At(None) {
            socket.all_sent();
        }
        let until = socket.check_stuck(now, sent.progress);
        if let (Next::Stalled(_), Some(destination)) = (sent.next, socket.last_destination()) {
            self.ask_for(destination, now);
        }
        let item = self.datagram_item(id);
        if self.datagrams.get_mut(id).map(UdpSocket::attend_client) == Some(Sleep::WorkArrived) {
            self.work.add(item);
        }
        self.plan(item, sent.next, until, now);
    }

    /// Takes what the client of a UDP socket with rings wants to send.
    fn take_datagrams(&mut self, id: Id) {
        let most = self.largest_datagram();
        let Some(socket) = self.datagrams.get_mut(id) else { return };
        let configuration = self.configuration.as_ref();
        // Without an address nothing can be sent.
        let own =
            configuration.map_or(Ipv4Address::UNSPECIFIED, |configuration| configuration.address.address());
        let may_send = |to: Peer, length| {
            configuration.is_some_and(|configuration| may_send(configuration, to, length, most).is_ok())
        };
        if let Err(error) = socket.from_client(own, may_send) {
            log::warn!("client broke its datagram rings: {error}");
            socket.close();
        }
    }

    #[inline(never)]
    fn serve_dhcp(&mut self, now: Duration) {
        let Some(dhcp) = &mut self.dhcp else { return };
        let sender = self.session.as_mut().map(|session| &mut session.sender);
        let sent = send(&mut self.interface, sender, (self.mtu, self.largest_cut), dhcp.sockets(), now);
        if let Some(change) = dhcp.take_change(None, now) {
            self.change_lease(change, now);
        }
        self.plan(self.dhcp_item(), sent.next, self.lease_expires_at, now);
    }

    /// Asks for the neighbour that leads to a destination.
    pub(super) fn ask_for(&mut self, destination: Ipv4Address, now: Duration) {
        let (Some(configuration), Some(session)) = (&self.configuration, &mut self.session) else { return };
        let asked = session.sender.take_asked();
        if let Some(neighbour) = configuration.next_hop(destination)
            && self.resolver.is_due(neighbour, now)
            && asked != Some(neighbour)
        {
            session.sender.send_copy(&resolver::request(
                self.mac,
                configuration.address.address(),
                neighbour,
            ));
        }
    }

    /// Sets when an item is served again. `until` is a deadline of our own.
    #[inline]
    fn plan(&mut self, item: usize, next: Next, until: Option<Duration>, now: Duration) {
        let at = match next {
            Next::At(at) => at,
            Next::More => {
                self.work.add(item);
                None
            }
            Next::Parked => {
                self.work.park(item);
                None
            }
            Next::Stalled(at) => {
                self.work.stall(item);
                Some(at)
            }
        };
        let deadline = match (at, until) {
            (Some(at), Some(until)) => Some(at.min(until)),
            (at, until) => at.or(until),
        };
        self.work.set_deadline(item, deadline, now);
    }
}

/// Moves the bytes of a connection both ways, where there are any. What a peer sends to a client that is gone is left alone.
fn pump<M: SharedMemory, D>(
    socket: &mut Socket<'_>,
    stream: &mut Stream<M, D>,
    phase: Phase,
) -> Result<(), PeerFault> {
    let orphaned = matches!(phase, Phase::Orphaned(_));
    if !orphaned && pump::has_received(socket) {
        pump::to_client(socket, &mut stream.end)?;
        stream.look = Look::Now;
    }
    // A direction that can send no more has an end to be told of.
    let worthwhile = match stream.look {
        Look::Now => true,
        Look::WhenRoom => socket.can_send() || !socket.may_send(),
        Look::WhenRung => orphaned || !socket.may_send(),
    };
    if worthwhile {
        stream.direction = pump::from_client(socket, &mut stream.end)?;
        stream.look = Look::Now;
    }
    Ok(())
}

/// Sets the patience for a peer that has shown that it is there.
fn establish<M, D>(connection: &mut Connection<M, D>) {
    let socket = connection.cell.socket();
    socket.set_timeout(Some(span(PEER_TIMEOUT)));
}

/// Whether a connection whose client is gone can still end in good order.
#[inline(never)]
fn may_linger<M: SharedMemory, D>(connection: &mut Connection<M, D>, now: Duration) -> bool {
    let Phase::Orphaned(until) = connection.phase else { return true };
    let unread = connection.cell.socket_ref().can_recv();
    let unfinished = match &mut connection.stream {
        Some(stream) => match stream.direction {
            ClientDirection::Finished => false,
            // Either the rest waits for room, or the client let go without finishing.
            ClientDirection::Open => !matches!(stream.end.reader.available(), Ok(1..)),
            ClientDirection::Reset => true,
        },
        None => false,
    };
    // Bytes that nobody will read are answered with RST, so that the peer does not believe them received [RFC 2525 2.17].
    now < until && !unread && !unfinished
}
