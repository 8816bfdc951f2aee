//! Asking for neighbours' hardware addresses beside smoltcp.
//!
//! smoltcp keeps the cache and answers requests, but asks for one neighbour a second in all, so a client that tries
//! to reach a host that does not exist would keep all others from reaching new ones. Whoever waits for a neighbour
//! is therefore asked for here, each neighbour once a second; smoltcp takes the answer in.

use alloc::vec::Vec;
use core::time::Duration;

use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr,
    Ipv4Address,
};

use crate::network::ETHERNET_HEADER;

/// Time between two requests for the same neighbour [RFC 1122 2.3.2.1].
const INTERVAL: Duration = Duration::from_secs(1);

/// Neighbours that can be asked for within one interval.
const MAXIMUM_ASKED: usize = 64;

/// Bytes of an ARP request for IPv4 on Ethernet.
const REQUEST_BYTES: usize = ETHERNET_HEADER + 28;

/// Who was asked for, and when.
#[derive(Default)]
pub struct Resolver {
    asked: Vec<(Ipv4Address, Duration)>,
}

impl Resolver {
    /// Whether a neighbour is to be asked for now; if so, it counts as asked for.
    pub fn is_due(&mut self, neighbour: Ipv4Address, now: Duration) -> bool {
        self.asked.retain(|(_, at)| now.saturating_sub(*at) < INTERVAL);
        if self.asked.len() >= MAXIMUM_ASKED || self.asked.iter().any(|(asked, _)| *asked == neighbour) {
            return false;
        }
        self.asked.push((neighbour, now));
        true
    }
}

/// The frame that asks for a neighbour.
pub fn request(mac: EthernetAddress, own: Ipv4Address, neighbour: Ipv4Address) -> [u8; REQUEST_BYTES] {
    let mut bytes = [0; REQUEST_BYTES];
    let ethernet = EthernetRepr {
        src_addr: mac,
        dst_addr: EthernetAddress::BROADCAST,
        ethertype: EthernetProtocol::Arp,
    };
    let mut frame = EthernetFrame::new_unchecked(&mut bytes[..]);
    ethernet.emit(&mut frame);
    let arp = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr: mac,
        source_protocol_addr: own,
        target_hardware_addr: EthernetAddress([0; 6]),
        target_protocol_addr: neighbour,
    };
    arp.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_neighbour_is_asked_for_once_a_second() {
        let mut resolver = Resolver::default();
        let neighbour = |number| Ipv4Address::new(10, 0, 0, number);
        let at = Duration::from_millis;
        assert!(resolver.is_due(neighbour(1), at(5000)) && resolver.is_due(neighbour(2), at(5100)));
        assert!(!resolver.is_due(neighbour(1), at(5999)));
        assert!(resolver.is_due(neighbour(1), at(6000)) && !resolver.is_due(neighbour(2), at(6000)));
    }

    #[test]
    fn the_number_of_requests_is_bounded() {
        let mut resolver = Resolver::default();
        let due = (0..200)
            .filter(|number| resolver.is_due(Ipv4Address::new(10, 0, 0, *number), Duration::ZERO))
            .count();
        assert_eq!(due, MAXIMUM_ASKED);
    }
}
