//! What the interface is configured to: address, routes, MTU and DNS servers; and how smoltcp is told.
//!
//! # Routes on link, and gateways off link
//!
//! smoltcp has no routes on link: it resolves and believes only addresses that share a network with an own address.
//! A lease such as GCE's (`10.128.0.2/32`, gateway `10.128.0.1`) shares none. For each network that is on
//! link beyond the own one, the interface is therefore given a second address out of that network, the *stand-in*:
//!
//! ```text
//!   own address       10.128.0.2/32    first, so that it is the source of what the stack sends
//!   stand-in          10.128.0.1/32    makes 10.128.0.1 a neighbour; it belongs to the gateway
//!   route             0.0.0.0/0 via 10.128.0.1
//! ```
//!
//! The stack never acts as the owner of a stand-in: [`crate::frame`] drops every frame that is addressed to anything but the own
//! address before smoltcp sees it, sockets are bound to the own address, and [`crate::device`] writes the
//! own address into each ARP packet that leaves.

use alloc::vec::Vec;

use smoltcp::{
    iface::{Interface, Route as InterfaceRoute},
    wire::{IpAddress, IpCidr, Ipv4Address, Ipv4Cidr},
};

/// Bytes of an Ethernet header, which smoltcp counts into its MTU.
pub const ETHERNET_HEADER: usize = 14;

/// Bytes of IP packet that fit one frame: 68 to 9216.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mtu(u16);

impl Mtu {
    /// What every Ethernet carries.
    pub const ETHERNET: Self = Self(1500);
    /// The least that is put to use. Less is legal [RFC 791 3.2: 68], but the stack does not fragment, so its own DHCP
    /// messages (576 bytes, which every host must take [RFC 791 3.1]) could no longer renew the lease.
    const LEAST_USED: Self = Self(576);

    /// A legal MTU.
    pub const fn new(bytes: u16) -> Option<Self> {
        if bytes >= 68 && bytes <= 9216 { Some(Self(bytes)) } else { None }
    }

    /// Its bytes.
    pub const fn bytes(self) -> u16 {
        self.0
    }

    /// What is put to use when `self` is asked for on a NIC that carries `nic`.
    #[must_use]
    pub fn used_on(self, nic: Self) -> Self {
        self.max(Self::LEAST_USED).min(nic)
    }
}

/// One route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub destination: Ipv4Cidr,
    /// The next hop; `None` when the destination is on link.
    pub gateway: Option<Ipv4Address>,
}

impl Route {
    /// The destination of a default route.
    pub const EVERYWHERE: Ipv4Cidr = Ipv4Cidr::new(Ipv4Address::UNSPECIFIED, 0);
}

/// A whole configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfiguration {
    /// Own address and the network that it says is on link.
    pub address: Ipv4Cidr,
    /// Routes beyond that network.
    pub routes: Vec<Route>,
    /// The MTU asked for; `None` for the NIC's.
    pub mtu: Option<Mtu>,
    /// DNS servers, best first.
    pub dns_servers: Vec<Ipv4Address>,
}

impl NetworkConfiguration {
    /// The most DNS servers that are kept.
    pub const MAXIMUM_DNS_SERVERS: usize = 3;

    /// A configuration of nothing but an address.
    pub fn new(address: Ipv4Cidr) -> Self {
        Self { address, routes: Vec::new(), mtu: None, dns_servers: Vec::new() }
    }

    /// Whether a packet to `destination` can leave the interface.
    pub fn reaches(&self, destination: Ipv4Address) -> bool {
        destination.is_broadcast() || destination.is_multicast() || self.next_hop(destination).is_some()
    }

    /// The neighbour that packets to `destination` are handed to: itself on link, else the gateway of the most specific
    /// route. The same choice that smoltcp makes.
    pub fn next_hop(&self, destination: Ipv4Address) -> Option<Ipv4Address> {
        let on_link =
            self.routes.iter().filter(|route| route.gateway.is_none()).map(|route| route.destination);
        let gateways = self.routes.iter().filter_map(|route| route.gateway);
        if core::iter::once(self.address).chain(on_link).any(|network| network.contains_addr(&destination))
            || gateways.clone().any(|gateway| gateway == destination)
        {
            return Some(destination);
        }
        self.routes
            .iter()
            .filter(|route| route.destination.contains_addr(&destination))
            .max_by_key(|route| route.destination.prefix_len())
            .and_then(|route| route.gateway)
    }

    /// Networks on link besides the own one: those that routes say are, and a host route to each gateway in none of them.
    fn stand_ins(&self) -> Vec<Ipv4Cidr> {
        let mut networks: Vec<Ipv4Cidr> = self
            .routes
            .iter()
            .filter(|route| route.gateway.is_none())
            .map(|route| route.destination)
            .collect();
        for gateway in self.routes.iter().filter_map(|route| route.gateway) {
            let known = |network: &Ipv4Cidr| network.contains_addr(&gateway);
            if !known(&self.address) && !networks.iter().any(known) {
                networks.push(Ipv4Cidr::new(gateway, 32));
            }
        }
        networks.retain(|network| *network != self.address.network());
        networks
    }

    /// Gives an interface this configuration, and forgets its neighbours. Returns how many routes did not fit.
    pub fn apply(&self, interface: &mut Interface) -> usize {
        let mut left_out = 0;
        let stand_ins = self.stand_ins();
        interface.update_ip_addrs(|addresses| {
            addresses.clear();
            for network in core::iter::once(&self.address).chain(&stand_ins) {
                if addresses.push(IpCidr::Ipv4(*network)).is_err() {
                    left_out += 1;
                }
            }
        });
        interface.routes_mut().update(|table| {
            table.clear();
            for route in &self.routes {
                let Some(gateway) = route.gateway else { continue };
                let route = InterfaceRoute {
                    cidr: IpCidr::Ipv4(route.destination),
                    via_router: IpAddress::Ipv4(gateway),
                    preferred_until: None,
                    expires_at: None,
                };
                if table.push(route).is_err() {
                    left_out += 1;
                }
            }
        });
        left_out
    }

    /// Takes address and routes from an interface.
    pub fn clear(interface: &mut Interface) {
        interface.update_ip_addrs(|addresses| addresses.clear());
        interface.routes_mut().update(|table| table.clear());
    }
}

/// Whether a host can have this address: not unspecified, loopback, multicast, reserved or broadcast.
pub fn is_host(address: Ipv4Address) -> bool {
    let [first, ..] = address.octets();
    first != 0 && first < 224 && !address.is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Ipv4Address = Ipv4Address::new(10, 128, 0, 2);
    const GATEWAY: Ipv4Address = Ipv4Address::new(10, 128, 0, 1);

    fn with(length: u8, routes: &[Route]) -> NetworkConfiguration {
        NetworkConfiguration {
            routes: routes.to_vec(),
            ..NetworkConfiguration::new(Ipv4Cidr::new(OWN, length))
        }
    }

    #[test]
    fn an_on_link_gateway_needs_no_stand_in() {
        let via = Route { destination: Route::EVERYWHERE, gateway: Some(GATEWAY) };
        assert_eq!(with(24, &[via]).stand_ins(), []);
    }

    #[test]
    fn an_off_link_gateway_gets_one_whether_or_not_a_route_says_so() {
        let via = Route { destination: Route::EVERYWHERE, gateway: Some(GATEWAY) };
        let host = Route { destination: Ipv4Cidr::new(GATEWAY, 32), gateway: None };
        assert_eq!(with(32, &[via]).stand_ins(), [Ipv4Cidr::new(GATEWAY, 32)]);
        assert_eq!(with(32, &[host, via]).stand_ins(), [Ipv4Cidr::new(GATEWAY, 32)]);
    }

    #[test]
    fn reach_follows_the_routes() {
        let far = Ipv4Address::new(1, 1, 1, 1);
        assert!(!with(24, &[]).reaches(far));
        assert!(with(24, &[]).reaches(GATEWAY));
        let via = |gateway| Route { destination: Route::EVERYWHERE, gateway: Some(gateway) };
        let narrow =
            Route { destination: Ipv4Cidr::new(far, 16), gateway: Some(Ipv4Address::new(10, 128, 0, 7)) };
        let routed = with(32, &[via(GATEWAY), narrow]);
        assert_eq!(routed.next_hop(far), narrow.gateway);
        assert_eq!(routed.next_hop(Ipv4Address::new(1, 2, 1, 1)), Some(GATEWAY));
        assert_eq!(routed.next_hop(GATEWAY), Some(GATEWAY));
    }

    #[test]
    fn the_mtu_is_clamped_to_what_works() {
        let mtu = |bytes| Mtu::new(bytes).unwrap();
        assert_eq!(mtu(9001).used_on(mtu(1500)), mtu(1500));
        assert_eq!(mtu(1460).used_on(mtu(1500)), mtu(1460));
        assert_eq!(mtu(68).used_on(mtu(1500)), mtu(576));
        assert_eq!(mtu(68).used_on(mtu(300)), mtu(300));
        assert_eq!((Mtu::new(67), Mtu::new(9217)), (None, None));
    }

    #[test]
    fn hosts_are_told_from_the_rest() {
        for host in [[10, 0, 0, 1], [169, 254, 169, 254], [223, 255, 255, 254]] {
            assert!(is_host(Ipv4Address::from(host)), "{host:?}");
        }
        for other in [[0, 0, 0, 0], [0, 1, 2, 3], [127, 0, 0, 1], [224, 0, 0, 1], [240, 0, 0, 1], [255; 4]] {
            assert!(!is_host(Ipv4Address::from(other)), "{other:?}");
        }
    }
}
