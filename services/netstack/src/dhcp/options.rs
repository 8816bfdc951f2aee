//! The options of a DHCP answer that smoltcp's client does not read.
//!
//! smoltcp checks the message, its addresses and times. Here are read, with every length checked, the options on top:
//! routers beyond one [RFC 2132 3.5], MTU [RFC 2132 5.1], lease time [RFC 2132 9.2] and classless routes [RFC 3442].

use alloc::vec::Vec;
use core::time::Duration;

use smoltcp::wire::{DhcpPacket, Ipv4Address, Ipv4Cidr};

use crate::network::{Mtu, Route, is_host};

/// Router addresses.
pub(super) const ROUTER: u8 = 3;
/// MTU of the interface.
pub(super) const INTERFACE_MTU: u8 = 26;
/// NTP server addresses.
pub(super) const NTP_SERVERS: u8 = 42;
/// Seconds that the lease lasts.
pub(super) const LEASE_TIME: u8 = 51;
/// Classless static routes.
pub(super) const CLASSLESS_ROUTES: u8 = 121;

/// Lease time of an answer that names none; the same as smoltcp's own.
const DEFAULT_LEASE: Duration = Duration::from_secs(120);

/// The most routes of one lease that are kept.
pub(super) const MAXIMUM_ROUTES: usize = 16;

/// What the extra options of one answer say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Option 121, or else a default route through the first usable router of option 3.
    pub routes: Vec<Route>,
    /// Option 26, when it holds a legal value.
    pub mtu: Option<Mtu>,
    /// Option 51.
    pub lease: Duration,
    /// Option 42, its first server.
    pub ntp_server: Option<Ipv4Address>,
}

impl Options {
    /// Reads the options of a DHCP message; `None` when it is shorter than its fixed part.
    pub fn parse(message: &[u8]) -> Option<Self> {
        let packet = DhcpPacket::new_checked(message).ok()?;
        let (mut router, mut ntp_server, mut mtu, mut lease) = (None, None, None, DEFAULT_LEASE);
        // An option longer than 255 bytes comes in pieces, which are to be put together [RFC 3396].
        let mut classless: Option<Vec<u8>> = None;
        for option in packet.options() {
            match (option.kind, option.data) {
                (ROUTER, data) => router = first_host(data),
                (NTP_SERVERS, data) => ntp_server = first_host(data),
                (INTERFACE_MTU, &[high, low]) => mtu = Mtu::new(u16::from_be_bytes([high, low])),
                (LEASE_TIME, &[a, b, c, d]) => {
                    lease = Duration::from_secs(u32::from_be_bytes([a, b, c, d]).into());
                }
                (CLASSLESS_ROUTES, data) => classless.get_or_insert_default().extend_from_slice(data),
                _ => {}
            }
        }
        // A sound option 121 replaces option 3, even if it has no default route [RFC 3442, "DHCP Client Behavior"].
        let routes = classless.as_deref().and_then(classless_routes).unwrap_or_else(|| {
            router
                .map(|router| Route { destination: Route::EVERYWHERE, gateway: Some(router) })
                .into_iter()
                .collect()
        });
        Some(Self { routes, mtu, lease, ntp_server })
    }
}

/// The first usable address of a list of addresses.
fn first_host(data: &[u8]) -> Option<Ipv4Address> {
    let (addresses, _) = data.as_chunks::<4>();
    addresses.iter().map(|octets| Ipv4Address::from(*octets)).find(|address| is_host(*address))
}

/// Reads option 121: for each route the prefix length, as many bytes of destination as it covers, and the gateway.
/// `None` when it is not made of whole routes with possible prefix lengths.
fn classless_routes(mut data: &[u8]) -> Option<Vec<Route>> {
    let mut routes = Vec::new();
    while let Some((&length, rest)) = data.split_first() {
        if length > 32 {
            return None;
        }
        let (significant, rest) = rest.split_at_checked(usize::from(length).div_ceil(8))?;
        let (gateway, rest) = rest.split_first_chunk::<4>()?;
        data = rest;
        let mut destination = [0; 4];
        for (target, byte) in destination.iter_mut().zip(significant) {
            *target = *byte;
        }
        // Bits behind the prefix are to be taken as zero.
        let destination = Ipv4Cidr::new(Ipv4Address::from(destination), length).network();
        let gateway = Ipv4Address::from(*gateway);
        let gateway = match gateway {
            Ipv4Address::UNSPECIFIED => None,
            gateway if is_host(gateway) => Some(gateway),
            _ => continue,
        };
        if routes.len() < MAXIMUM_ROUTES {
            routes.push(Route { destination, gateway });
        }
    }
    (!routes.is_empty()).then_some(routes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of nothing but these options.
    fn message(options: &[u8]) -> Vec<u8> {
        let mut message = vec![0; 240];
        message[236..].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
        message.extend_from_slice(options);
        message
    }

    fn read(options: &[u8]) -> Options {
        Options::parse(&message(options)).unwrap()
    }

    fn default_via(gateway: [u8; 4]) -> Route {
        Route { destination: Route::EVERYWHERE, gateway: Some(gateway.into()) }
    }

    #[test]
    fn the_first_usable_router_is_taken() {
        assert_eq!(read(&[3, 8, 0, 0, 0, 0, 10, 0, 2, 2, 255]).routes, [default_via([10, 0, 2, 2])]);
        assert_eq!(read(&[3, 3, 10, 0, 2, 255]).routes, []);
    }

    #[test]
    fn classless_routes_replace_the_router() {
        // As GCE gives them: the gateway on link, everything else through it.
        let options = [3, 4, 10, 128, 0, 9, 121, 14, 32, 10, 128, 0, 1, 0, 0, 0, 0, 0, 10, 128, 0, 1, 255];
        let host = Route { destination: Ipv4Cidr::new(Ipv4Address::new(10, 128, 0, 1), 32), gateway: None };
        assert_eq!(read(&options).routes, [host, default_via([10, 128, 0, 1])]);
    }

    #[test]
    fn classless_routes_may_come_in_pieces() {
        let options = [121, 3, 16, 172, 16, 121, 4, 10, 0, 2, 2, 255];
        let route = Route {
            destination: Ipv4Cidr::new(Ipv4Address::new(172, 16, 0, 0), 16),
            gateway: Some(Ipv4Address::new(10, 0, 2, 2)),
        };
        assert_eq!(read(&options).routes, [route]);
    }

    #[test]
    fn broken_classless_routes_leave_the_router() {
        for broken in
            [&[121, 5, 33, 1, 2, 3, 4][..], &[121, 4, 0, 10, 0, 2], &[121, 0], &[121, 6, 24, 10, 0, 2, 10, 0]]
        {
            let mut options = vec![3, 4, 10, 0, 2, 2];
            options.extend_from_slice(broken);
            options.push(255);
            assert_eq!(read(&options).routes, [default_via([10, 0, 2, 2])], "{broken:?}");
        }
    }

    #[test]
    fn bits_behind_the_prefix_are_dropped() {
        let route = read(&[121, 8, 20, 10, 1, 0xff, 10, 0, 2, 2, 255]).routes[0];
        assert_eq!(route.destination, Ipv4Cidr::new(Ipv4Address::new(10, 1, 0xf0, 0), 20));
    }

    #[test]
    fn mtu_and_lease_need_their_exact_length() {
        let sound = read(&[26, 2, 0x05, 0xb4, 51, 4, 0, 0, 0x0e, 0x10, 255]);
        assert_eq!((sound.mtu, sound.lease), (Mtu::new(1460), Duration::from_secs(3600)));
        for broken in
            [&[26, 1, 5, 255][..], &[26, 2, 0, 67, 255], &[26, 3, 0, 5, 220, 255], &[51, 2, 1, 1, 255]]
        {
            assert_eq!((read(broken).mtu, read(broken).lease), (None, DEFAULT_LEASE), "{broken:?}");
        }
    }

    #[test]
    fn cut_off_messages_are_read_as_far_as_they_go() {
        let whole = message(&[26, 2, 0x05, 0xb4, 121, 14, 32, 10, 128, 0, 1, 0, 0, 0, 0, 0, 10, 128, 0, 1]);
        for length in 0..=whole.len() {
            let options = Options::parse(&whole[..length]);
            assert_eq!(options.is_some(), length >= 240, "{length} bytes");
            if let Some(options) = options {
                assert_eq!(options.routes.is_empty(), length < whole.len());
            }
        }
    }

    #[test]
    fn the_number_of_routes_is_bounded() {
        let mut options = Vec::new();
        for network in 0..40 {
            options.extend_from_slice(&[121, 8, 24, 10, network, 0, 10, 0, 2, 2]);
        }
        assert_eq!(read(&options).routes.len(), MAXIMUM_ROUTES);
    }
}
