//! The stack: one interface, its sockets, and the rounds of work between two sleeps.
//!
//! ```text
//!            frames            ingest            work queue           serve
//!   NIC  ============> classify ----> interface -----------> pump, send, arm  ====> streams, waiting calls
//!                          |                ^                      |
//!                      refused          own socket set        deadlines
//! ```
//!
//! [`Stack::run`] does one bounded round; its caller lets other tasks run in between and sleeps when nothing is left.

mod clients;
mod configure;
mod ingest;
mod recovery;
mod serve;
#[cfg(test)]
mod tests;

pub use clients::{BindError, ConnectError, ListenError, SendError};

use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    vec,
    vec::Vec,
};
use core::time::Duration;

use ring::{PeerFault, SharedMemory, Sleep, frame::ClientWants};
use smoltcp::{
    iface::{Interface, SocketSet, SocketStorage},
    wire::{EthernetAddress, Ipv4Address},
};

use crate::{
    arguments::Addressing,
    device::{LargestCut, Session, Traffic},
    dhcp::Dhcp,
    doorbell::Doorbell,
    frame::{ConnectionKey, Identity},
    limits::{Limits, ROUND},
    network::{Mtu, NetworkConfiguration, Route},
    resolver::Resolver,
    table::{Id, Table},
    tcp::{Connection, Listener, buffers::Store},
    udp::UdpSocket,
    work::Work,
};

/// Where random numbers come from.
pub type Random = Box<dyn FnMut() -> u64>;

/// The TCP/IP stack of one interface. `M` is the memory shared with driver and clients, `D` wakes them.
pub struct Stack<M, D> {
    limits: Limits,
    addressing: Addressing,
    random: Random,

    interface: Interface,
    mac: EthernetAddress,
    /// What the NIC and its buffers carry.
    nic_mtu: Mtu,
    /// What is in use.
    mtu: Mtu,
    /// The largest frame that the NIC cuts into segments.
    largest_cut: LargestCut,
    session: Option<Session<M, D>>,

    configuration: Option<NetworkConfiguration>,
    lease_expires_at: Option<Duration>,
    dhcp: Option<Dhcp>,

    connections: Table<Connection<M, D>>,
    by_key: BTreeMap<ConnectionKey, Id>,
    outgoing: usize,
    /// Connections in TIME-WAIT without a client, oldest first.
    time_wait: VecDeque<Id>,
    store: Store,
    listeners: Table<Listener>,
    listening: BTreeMap<u16, Id>,
    datagrams: Table<UdpSocket<M, D>>,
    by_port: BTreeMap<u16, Id>,
    /// No socket at all: for frames that smoltcp answers by itself.
    nobody: SocketSet<'static>,

    work: Work,
    resolver: Resolver,
    received: Traffic,
    sent: Traffic,
    dropped_frames: u64,
}

/// What a round left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// More at once, after other tasks had their turn.
    Again,
    /// Nothing, until a doorbell rings, a client calls, or the deadline comes.
    Sleep(Option<Duration>),
}

/// What the interface is and does, for `NetworkManager.status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Hardware address.
    pub mac: EthernetAddress,
    /// MTU in use.
    pub mtu: Mtu,
    /// Address, routes and DNS servers, once there are any.
    pub configuration: Option<NetworkConfiguration>,
    /// Where they came from.
    pub source: Source,
    /// What is left of the lease.
    pub lease_left: Duration,
    /// TCP connections in every state.
    pub tcp_sockets: usize,
    /// UDP sockets.
    pub udp_sockets: usize,
    /// Frames that the driver handed over, over all sessions.
    pub received: Traffic,
    /// Frames handed to the driver, over all sessions.
    pub sent: Traffic,
    /// Frames that were refused.
    pub dropped_frames: u64,
    /// Whether there is a session with a driver.
    pub nic_connected: bool,
}

/// Where an address came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// There is none.
    None,
    /// The manifest.
    Static,
    /// A lease.
    Dhcp,
}

impl<M: SharedMemory, D: Doorbell> Stack<M, D> {
    /// A stack for a NIC with this hardware address and MTU; there is no session with it yet.
    pub fn new(
        mac: EthernetAddress,
        nic_mtu: Mtu,
        addressing: Addressing,
        limits: Limits,
        mut random: Random,
        now: Duration,
    ) -> Self {
        let interface = configure::interface(mac, nic_mtu, None, &mut random, now);
        let items = limits.tcp_sockets + limits.udp_sockets + 1;
        let mut stack = Self {
            random,
            interface,
            mac,
            nic_mtu,
            mtu: nic_mtu,
            largest_cut: None,
            session: None,
            configuration: None,
            lease_expires_at: None,
            dhcp: None,
            connections: Table::new(limits.tcp_sockets),
            by_key: BTreeMap::new(),
            outgoing: 0,
            time_wait: VecDeque::new(),
            store: Store::new(),
            listeners: Table::new(limits.listeners),
            listening: BTreeMap::new(),
            datagrams: Table::new(limits.udp_sockets),
            by_port: BTreeMap::new(),
            nobody: SocketSet::new(Vec::<SocketStorage>::new()),
            work: Work::new(items),
            resolver: Resolver::default(),
            received: Traffic::default(),
            sent: Traffic::default(),
            dropped_frames: 0,
            addressing: addressing.clone(),
            limits,
        };
        match addressing {
            Addressing::Static(configuration) => stack.configure(Some(configuration), now),
            Addressing::Dhcp { .. } => {
                stack.dhcp = Some(Dhcp::new());
                stack.work.add(stack.dhcp_item());
            }
        }
        stack
    }

    /// Does one round of work: takes frames in, serves sockets, sends. An error is the driver's fault and has ended the session.
    pub fn run(&mut self, now: Duration) -> Result<Turn, PeerFault> {
        self.work.add_due(now);
        if self.work.is_parked() && self.session.as_mut().is_some_and(|session| session.sender.make_ready()) {
            self.work.unpark();
        }
        let frames = self.ingest_round(now);
        let mut served = 0;
        while served < ROUND {
            let Some(item) = self.work.next() else { break };
            self.serve(item, now);
            served += 1;
        }
        if let Some(session) = &mut self.session {
            session.flush();
            let sent = session.sender.take_sent();
            self.sent.frames += sent.frames;
            self.sent.bytes += sent.bytes;
            if let Some(fault) = frames.err().or(session.sender.fault()) {
                self.close_session();
                return Err(fault);
            }
        }
        if frames == Ok(ROUND) || !self.work.is_empty() {
            return Ok(Turn::Again);
        }
        Ok(Turn::Sleep(self.work.earliest()))
    }

    /// Asks the NIC's driver for its doorbell; to be called before sleeping.
    pub fn arm(&mut self) -> Result<Sleep, PeerFault> {
        let Some(session) = &mut self.session else { return Ok(Sleep::Allowed) };
        // Frames wait in the ring as well while no answer to them could be sent.
        let wants = if self.work.is_parked() || !session.sender.make_ready() {
            ClientWants::ReceivedAndSent
        } else {
            ClientWants::Received
        };
        let armed = session.arm(wants);
        if armed.is_err() {
            self.close_session();
        }
        armed
    }

    /// What the interface is and does.
    pub fn status(&self, now: Duration) -> Status {
        let source = match (&self.configuration, &self.addressing) {
            (None, _) => Source::None,
            (Some(_), Addressing::Static(_)) => Source::Static,
            (Some(_), Addressing::Dhcp { .. }) => Source::Dhcp,
        };
        Status {
            mac: self.mac,
            mtu: self.mtu,
            configuration: self.configuration.clone(),
            source,
            lease_left: self.lease_expires_at.map_or(Duration::ZERO, |at| at.saturating_sub(now)),
            tcp_sockets: self.connections.len(),
            udp_sockets: self.datagrams.len(),
            received: self.received,
            sent: self.sent,
            dropped_frames: self.dropped_frames,
            nic_connected: self.session.is_some(),
        }
    }

    /// Who the interface is.
    fn identity(&self) -> Identity {
        Identity {
            mac: self.mac,
            address: self.configuration.as_ref().map(|configuration| configuration.address),
        }
    }

    /// The own address, if there is one.
    fn own_address(&self) -> Option<Ipv4Address> {
        Some(self.configuration.as_ref()?.address.address())
    }

    /// The work item of a connection.
    fn connection_item(&self, id: Id) -> usize {
        id.index()
    }

    /// The work item of a UDP socket.
    fn datagram_item(&self, id: Id) -> usize {
        self.limits.tcp_sockets + id.index()
    }

    /// The work item of the DHCP client.
    fn dhcp_item(&self) -> usize {
        self.limits.tcp_sockets + self.limits.udp_sockets
    }
}

/// A session without routes still has the network of its own address: for status.
impl Status {
    /// All routes, with the one of the own network first.
    pub fn routes(&self) -> Vec<Route> {
        let Some(configuration) = &self.configuration else { return Vec::new() };
        let mut routes = vec![Route { destination: configuration.address.network(), gateway: None }];
        routes.extend_from_slice(&configuration.routes);
        routes
    }
}
