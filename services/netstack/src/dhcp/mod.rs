//! The DHCP client: smoltcp's state machine [RFC 2131 4.4], and the lease that comes of it.

mod options;

use core::time::Duration;

use smoltcp::{
    iface::{SocketHandle, SocketSet, SocketStorage},
    socket::dhcpv4,
    wire::{Ipv4Address, Ipv4Packet, UdpPacket},
};

use crate::{
    network::{ETHERNET_HEADER, NetworkConfiguration, Route, is_host},
    time::instant,
};
use alloc::vec;
pub use options::Options;

/// What the client asks the server for: mask, classless routes ahead of the routers [RFC 3442], routers, DNS, MTU,
/// NTP, lease and renewal times.
const REQUESTED: &[u8] = &[
    1,
    options::CLASSLESS_ROUTES,
    options::ROUTER,
    6,
    options::INTERFACE_MTU,
    options::NTP_SERVERS,
    options::LEASE_TIME,
    58,
    59,
];

/// Time between DISCOVER messages while nobody answers.
const DISCOVER_INTERVAL: smoltcp::time::Duration = smoltcp::time::Duration::from_secs(3);

/// A lease of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What it says the network is.
    pub configuration: NetworkConfiguration,
    /// When it ends unless it is renewed.
    pub expires_at: Duration,
    /// An NTP server that it names.
    pub ntp_server: Option<Ipv4Address>,
}

/// What became of the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new, changed or renewed lease.
    Bound(Lease),
    /// There is none any more: it expired, or the server took it back.
    Lost,
}

/// The client, on a socket set of its own.
pub struct Dhcp {
    sockets: SocketSet<'static>,
    handle: SocketHandle,
}

impl Dhcp {
    /// A client that starts to look for a server.
    pub fn new() -> Self {
        let mut socket = dhcpv4::Socket::new();
        socket.set_parameter_request_list(REQUESTED);
        let mut retry = socket.get_retry_config();
        retry.discover_timeout = DISCOVER_INTERVAL;
        socket.set_retry_config(retry);
        // With a buffer for them set, even one that none fits into, each renewal is reported, and not only those
        // that change what smoltcp reads itself. The options are taken from the frame instead.
        socket.set_receive_packet_buffer(&mut []);
        let mut sockets = SocketSet::new(vec![SocketStorage::EMPTY]);
        let handle = sockets.add(socket);
        Self { sockets, handle }
    }

    /// The socket set to poll the interface with.
    pub fn sockets(&mut self) -> &mut SocketSet<'static> {
        &mut self.sockets
    }

    /// Forgets everything and starts over, as for a NIC with another hardware address.
    pub fn restart(&mut self) {
        self.sockets.get_mut::<dhcpv4::Socket>(self.handle).reset();
    }

    /// What has changed since the last call. `options` are those of the message that was just processed, if one was.
    pub fn take_change(&mut self, options: Option<Options>, now: Duration) -> Option<Change> {
        let socket = self.sockets.get_mut::<dhcpv4::Socket>(self.handle);
        match socket.poll()? {
            dhcpv4::Event::Deconfigured => Some(Change::Lost),
            dhcpv4::Event::Configured(config) => {
                let lease = options.and_then(|options| lease(&config, options, now));
                if lease.is_none() {
                    log::warn!(
                        "DHCP server {} leased an unusable address, starting over",
                        config.server.identifier
                    );
                    socket.reset();
                    // The reset reports itself once more; this call already says it.
                    let _deconfigured = socket.poll();
                }
                Some(lease.map_or(Change::Lost, Change::Bound))
            }
        }
    }

    /// When the client has something to do next.
    pub fn poll_at(&self, interface: &mut smoltcp::iface::Interface, now: Duration) -> Option<Duration> {
        interface.poll_at(instant(now), &self.sockets).map(crate::time::duration)
    }
}

impl Default for Dhcp {
    fn default() -> Self {
        Self::new()
    }
}

/// Puts what smoltcp read and the extra options together. `None` when no host can have the address.
fn lease(config: &dhcpv4::Config, options: Options, now: Duration) -> Option<Lease> {
    let address = config.address;
    if !is_host(address.address()) {
        return None;
    }
    let mut configuration = NetworkConfiguration {
        mtu: options.mtu,
        routes: options.routes,
        dns_servers: config.dns_servers.iter().copied().filter(|server| is_host(*server)).collect(),
        ..NetworkConfiguration::new(address)
    };
    for Route { gateway, .. } in &mut configuration.routes {
        // A route through the own address is one on link, as some servers write it.
        *gateway = gateway.filter(|gateway| *gateway != address.address());
    }
    Some(Lease { configuration, expires_at: now + options.lease, ntp_server: options.ntp_server })
}

/// The extra options in a whole frame that was classified as DHCP.
#[inline(never)]
pub fn options_of_frame(frame: &[u8]) -> Option<Options> {
    let packet = Ipv4Packet::new_checked(frame.get(ETHERNET_HEADER..)?).ok()?;
    let datagram = UdpPacket::new_checked(packet.payload()).ok()?;
    Options::parse(datagram.payload())
}
