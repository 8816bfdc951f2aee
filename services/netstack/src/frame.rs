//! What a received frame is for, and whether it is sound: the one place where frames are refused.
//!
//! Every length and checksum is checked here before smoltcp sees the frame, so that refused frames
//! are counted, so that each goes straight to the one socket that it is for, and so that nothing
//! reaches the interface that is not addressed to its own address (see [`crate::network`] on stand-ins).

use core::cmp::Ordering;

use ring::frame::{Checksum, Offload, SegmentBytes, Transport};
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, DHCP_CLIENT_PORT, DHCP_SERVER_PORT, EthernetAddress, EthernetFrame,
    EthernetProtocol, IpProtocol, Ipv4Address, Ipv4Cidr, Ipv4Packet, TcpPacket, UdpPacket,
};

use crate::{
    checksum::Sum,
    device::Abilities,
    network::{ETHERNET_HEADER, is_host},
    udp::Peer,
};

/// Bytes of a UDP header.
const UDP_HEADER: usize = 8;

/// Who the interface is.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Its hardware address.
    pub mac: EthernetAddress,
    /// Its address and network, once it has one.
    pub address: Option<Ipv4Cidr>,
}

/// A TCP connection, by what differs between those of one address: the peer, and the own port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionKey {
    /// The peer's address.
    pub peer_address: Ipv4Address,
    /// The peer's port.
    pub peer_port: u16,
    /// The own port.
    pub local_port: u16,
}

impl ConnectionKey {
    /// All of it in one word, for comparing.
    fn word(self) -> u64 {
        u64::from(self.peer_address.to_bits()) << 32
            | u64::from(self.peer_port) << 16
            | u64::from(self.local_port)
    }
}

impl Ord for ConnectionKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.word().cmp(&other.word())
    }
}

impl PartialOrd for ConnectionKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Whether a segment asks for a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// SYN without ACK or RST.
    Opening,
    /// Anything else.
    Other,
}

/// Which part of the stack a sound frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// ARP to the own address.
    Arp,
    /// A DHCP server's message.
    Dhcp,
    /// A TCP segment.
    Tcp(ConnectionKey, Segment),
    /// A datagram.
    Udp(Datagram),
    /// ICMP, or a protocol that will be answered as unreachable.
    Other,
}

/// Where a datagram is from and for, and where its data lies in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The own port.
    pub port: u16,
    /// Who sent it.
    pub from: Peer,
    /// First byte of the data.
    pub offset: usize,
    /// Bytes of data.
    pub length: usize,
}

/// Why a frame goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is sound as far as was looked, and for somebody else or of a protocol that the stack does not speak. Not counted:
    /// each network is full of these.
    NotForUs,
    /// A header or a length is wrong.
    Malformed,
    /// A checksum is wrong.
    Checksum,
    /// A fragment of an IP packet. Peers on today's networks learn the MTU instead.
    Fragment,
    /// The source is an address that no host can have, or the own one.
    Source,
}

impl From<smoltcp::wire::Error> for Refusal {
    fn from(_: smoltcp::wire::Error) -> Self {
        Self::Malformed
    }
}

/// Checks a frame and says what it is for. A transport checksum that the device has checked is not checked again.
pub fn classify(bytes: &[u8], checksum: Checksum, identity: &Identity) -> Result<Flow, Refusal> {
    let frame = EthernetFrame::new_checked(bytes)?;
    let destination = frame.dst_addr();
    if destination != identity.mac && !destination.is_broadcast() {
        return Err(Refusal::NotForUs);
    }
    if !frame.src_addr().is_unicast() || frame.src_addr() == identity.mac {
        return Err(Refusal::Source);
    }
    match frame.ethertype() {
        EthernetProtocol::Arp => classify_arp(frame.payload(), identity),
        EthernetProtocol::Ipv4 => classify_ipv4(frame.payload(), checksum, identity),
        _ => Err(Refusal::NotForUs),
    }
}

fn classify_arp(bytes: &[u8], identity: &Identity) -> Result<Flow, Refusal> {
    let own = identity.address.ok_or(Refusal::NotForUs)?.address();
    let ArpRepr::EthernetIpv4 { source_hardware_addr, source_protocol_addr, target_protocol_addr, .. } =
        ArpRepr::parse(&ArpPacket::new_checked(bytes)?)?
    else {
        return Err(Refusal::NotForUs);
    };
    if target_protocol_addr != own {
        return Err(Refusal::NotForUs);
    }
    if source_protocol_addr == own || !source_hardware_addr.is_unicast() {
        return Err(Refusal::Source);
    }
    Ok(Flow::Arp)
}

fn classify_ipv4(bytes: &[u8], checksum: Checksum, identity: &Identity) -> Result<Flow, Refusal> {
    let packet = Ipv4Packet::new_checked(bytes)?;
    if packet.version() != 4 {
        return Err(Refusal::Malformed);
    }
    let header = bytes.get(..usize::from(packet.header_len())).ok_or(Refusal::Malformed)?;
    if !Sum::default().with(header).is_valid() {
        return Err(Refusal::Checksum);
    }
    let (source, destination) = (packet.src_addr(), packet.dst_addr());
    let protocol = packet.next_header();
    // Unicast by a server that already knows the hardware address, to an address that is not yet ours [RFC 2131 4.1].
    let is_dhcp = protocol == IpProtocol::Udp && is_dhcp_reply(packet.payload());
    let to_own = identity.address.is_some_and(|own| own.address() == destination);
    let to_all = destination.is_broadcast()
        || identity.address.is_some_and(|own| own.broadcast() == Some(destination));
    // Broadcasts are for UDP alone; echo requests to a broadcast address would make us an amplifier [RFC 1122 3.2.2.6].
    if !(to_own || is_dhcp || (to_all && protocol == IpProtocol::Udp)) {
        return Err(Refusal::NotForUs);
    }
    if packet.more_frags() || packet.frag_offset() != 0 {
        return Err(Refusal::Fragment);
    }
    if !is_host(source) || identity.address.is_some_and(|own| own.address() == source) {
        return Err(Refusal::Source);
    }
    match protocol {
        IpProtocol::Tcp => classify_tcp(packet.payload(), checksum, source, destination),
        IpProtocol::Udp => {
            let mut datagram = classify_udp(packet.payload(), checksum, source, destination)?;
            datagram.offset += ETHERNET_HEADER + header.len();
            Ok(if is_dhcp { Flow::Dhcp } else { Flow::Udp(datagram) })
        }
        IpProtocol::Icmp => {
            let sound = Sum::default().with(packet.payload()).is_valid();
            if sound { Ok(Flow::Other) } else { Err(Refusal::Checksum) }
        }
        _ => Ok(Flow::Other),
    }
}

fn is_dhcp_reply(datagram: &[u8]) -> bool {
    UdpPacket::new_checked(datagram)
        .is_ok_and(|packet| packet.src_port() == DHCP_SERVER_PORT && packet.dst_port() == DHCP_CLIENT_PORT)
}

#[inline]
fn classify_tcp(
    bytes: &[u8],
    checksum: Checksum,
    source: Ipv4Address,
    destination: Ipv4Address,
) -> Result<Flow, Refusal> {
    let packet = TcpPacket::new_checked(bytes)?;
    if packet.src_port() == 0 || packet.dst_port() == 0 {
        return Err(Refusal::Malformed);
    }
    if checksum == Checksum::Unknown {
        // An IP packet is shorter than 65536 bytes.
        let length = u16::try_from(bytes.len()).map_err(|_| Refusal::Malformed)?;
        let sum = Sum::default().with_pseudo_header(source, destination, u8::from(IpProtocol::Tcp), length);
        if !sum.with(bytes).is_valid() {
            return Err(Refusal::Checksum);
        }
    }
    let key =
        ConnectionKey { peer_address: source, peer_port: packet.src_port(), local_port: packet.dst_port() };
    let opening = packet.syn() && !packet.ack() && !packet.rst();
    Ok(Flow::Tcp(key, if opening { Segment::Opening } else { Segment::Other }))
}

/// A datagram with the offset of its data from its own header.
fn classify_udp(
    bytes: &[u8],
    checksum: Checksum,
    source: Ipv4Address,
    destination: Ipv4Address,
) -> Result<Datagram, Refusal> {
    let packet = UdpPacket::new_checked(bytes)?;
    if packet.dst_port() == 0 {
        return Err(Refusal::Malformed);
    }
    // A checksum of zero means none was made [RFC 768].
    if packet.checksum() != 0 && checksum == Checksum::Unknown {
        // The datagram may be shorter than the packet that carries it.
        let bytes = bytes.get(..usize::from(packet.len())).ok_or(Refusal::Malformed)?;
        let sum =
            Sum::default().with_pseudo_header(source, destination, u8::from(IpProtocol::Udp), packet.len());
        if !sum.with(bytes).is_valid() {
            return Err(Refusal::Checksum);
        }
    }
    Ok(Datagram {
        port: packet.dst_port(),
        from: Peer { address: source, port: packet.src_port() },
        offset: UDP_HEADER,
        length: packet.payload().len(),
    })
}

/// What is to be done with a frame that is ready to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// What the NIC is to do to it.
    pub offload: Offload,
    /// The neighbour that it asks for, if it does.
    pub asked: Option<Ipv4Address>,
}

/// Makes a frame that smoltcp wrote ready to leave: fills its checksums in, or leaves that of TCP and UDP to a NIC that can
/// do it, and puts the own address into ARP, where smoltcp may have written a stand-in. `segments` is what a TCP
/// packet is to be cut into.
#[inline]
pub fn finish(
    bytes: &mut [u8],
    own: Option<Ipv4Address>,
    abilities: Abilities,
    segments: Option<SegmentBytes>,
) -> Finished {
    let mut finished = Finished { offload: Offload::None, asked: None };
    let Ok(mut frame) = EthernetFrame::new_checked(bytes) else { return finished };
    match frame.ethertype() {
        EthernetProtocol::Arp => finished.asked = finish_arp(frame.payload_mut(), own),
        EthernetProtocol::Ipv4 => finished.offload = finish_ipv4(frame.payload_mut(), abilities, segments),
        _ => {}
    }
    finished
}

fn finish_arp(bytes: &mut [u8], own: Option<Ipv4Address>) -> Option<Ipv4Address> {
    let mut packet = ArpPacket::new_checked(bytes).ok()?;
    // Only for IPv4 addresses, which have the length of ours.
    let ArpRepr::EthernetIpv4 { operation, target_protocol_addr, .. } = ArpRepr::parse(&packet).ok()? else {
        return None;
    };
    if let Some(own) = own {
        packet.set_source_protocol_addr(&own.octets());
    }
    (operation == ArpOperation::Request).then_some(target_protocol_addr)
}

#[inline]
fn finish_ipv4(bytes: &mut [u8], abilities: Abilities, segments: Option<SegmentBytes>) -> Offload {
    let Ok(mut packet) = Ipv4Packet::new_checked(bytes) else { return Offload::None };
    let (source, destination, protocol) = (packet.src_addr(), packet.dst_addr(), packet.next_header());
    let header_length = usize::from(packet.header_len());
    // The NIC looks for the transport header behind a header without options.
    let transport = match protocol {
        IpProtocol::Tcp => Some(Transport::Tcp),
        IpProtocol::Udp => Some(Transport::Udp),
        _ => None,
    };
    let transport = transport.filter(|_| abilities >= Abilities::Checksums && header_length == 20);
    let coverage = if transport.is_some() { Coverage::PseudoHeader } else { Coverage::All };
    finish_transport(packet.payload_mut(), source, destination, protocol, coverage);
    packet.set_checksum(0);
    let bytes = packet.into_inner();
    if let Some(header) = bytes.get_mut(..header_length) {
        let checksum = Sum::default().with(header).checksum();
        Ipv4Packet::new_unchecked(header).set_checksum(u16::from_be_bytes(checksum));
    }
    match (transport, segments) {
        (Some(Transport::Tcp), Some(segments)) => Offload::Segments(segments),
        (Some(transport), _) => Offload::Checksum(transport),
        (None, _) => Offload::None,
    }
}

/// What a transport checksum is made over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coverage {
    /// Pseudo-header, header and data.
    All,
    /// The pseudo-header: the NIC adds the rest, and the complement [VIRTIO-1.2 5.1.6.2.1].
    PseudoHeader,
}

fn finish_transport(
    bytes: &mut [u8],
    source: Ipv4Address,
    destination: Ipv4Address,
    protocol: IpProtocol,
    coverage: Coverage,
) {
    let Ok(length) = u16::try_from(bytes.len()) else { return };
    let pseudo =
        |protocol| Sum::default().with_pseudo_header(source, destination, u8::from(protocol), length);
    // Offsets of the checksum fields: [RFC 9293 3.1], [RFC 768], [RFC 792].
    let (offset, sum) = match protocol {
        IpProtocol::Tcp => (16, pseudo(protocol)),
        IpProtocol::Udp => (6, pseudo(protocol)),
        IpProtocol::Icmp => (2, Sum::default()),
        _ => return,
    };
    let Some(field) = bytes.get_mut(offset..offset + 2) else { return };
    field.fill(0);
    let mut checksum = match coverage {
        Coverage::All => sum.with(bytes).checksum(),
        Coverage::PseudoHeader => sum.partial(),
    };
    if protocol == IpProtocol::Udp && checksum == [0, 0] {
        // Zero would mean that there is none [RFC 768].
        checksum = [0xff, 0xff];
    }
    if let Some(field) = bytes.get_mut(offset..offset + 2) {
        field.copy_from_slice(&checksum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Ipv4Address = Ipv4Address::new(10, 0, 2, 15);
    const NEIGHBOUR: Ipv4Address = Ipv4Address::new(10, 0, 2, 2);
    const MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);

    #[test]
    fn requests_leave_with_the_own_address_and_say_who_is_asked_for() {
        let stand_in = Ipv4Address::new(10, 0, 2, 99);
        let mut request = crate::resolver::request(MAC, stand_in, NEIGHBOUR);
        let finished = finish(&mut request, Some(OWN), Abilities::None, None);
        assert_eq!(finished, Finished { offload: Offload::None, asked: Some(NEIGHBOUR) });
        assert_eq!(request, crate::resolver::request(MAC, OWN, NEIGHBOUR));
    }

    #[test]
    fn arp_for_other_protocols_is_left_alone() {
        // Lengths that are sound in themselves, but not those of IPv4; found by fuzzing.
        let mut request = [crate::resolver::request(MAC, OWN, NEIGHBOUR).as_slice(), &[0; 20]].concat();
        request[19] = 8;
        let before = request.clone();
        assert_eq!(finish(&mut request, Some(OWN), Abilities::Segments, None).asked, None);
        assert_eq!(request, before);
    }
}
