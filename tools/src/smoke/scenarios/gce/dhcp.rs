//! DHCP as Compute Engine answers it: an address alone on its link, and a gateway that only option 121 explains.

use anyhow::{Context as _, Result};
use smoltcp::{
    phy::ChecksumCapabilities,
    wire::{
        DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr,
        EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, IpAddress, IpProtocol, Ipv4Address,
        Ipv4Packet, Ipv4Repr, UdpPacket, UdpRepr,
    },
};

use super::network::{GATEWAY, GATEWAY_MAC, GUEST, MTU};

/// Who answers: the metadata server, which is also the DNS and NTP server.
const SERVER: Ipv4Address = Ipv4Address::new(169, 254, 169, 254);

/// A day.
const LEASE_SECONDS: u32 = 86_400;

/// The answer to a frame, if that is a DHCP message which wants one.
pub fn answer(frame: &[u8]) -> Option<Result<Vec<u8>>> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    if ethernet.ethertype() != EthernetProtocol::Ipv4 {
        return None;
    }
    let packet = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
    if packet.next_header() != IpProtocol::Udp {
        return None;
    }
    let datagram = UdpPacket::new_checked(packet.payload()).ok()?;
    if datagram.dst_port() != DHCP_SERVER_PORT {
        return None;
    }
    let packet = DhcpPacket::new_checked(datagram.payload()).ok()?;
    let request = DhcpRepr::parse(&packet).ok()?;
    let answer = match request.message_type {
        DhcpMessageType::Discover => DhcpMessageType::Offer,
        DhcpMessageType::Request => DhcpMessageType::Ack,
        _ => return None,
    };
    Some(build(&request, answer))
}

fn build(request: &DhcpRepr<'_>, message_type: DhcpMessageType) -> Result<Vec<u8>> {
    let gateway = GATEWAY.octets();
    // The gateway alone is on the link, and everything is behind it. [RFC 3442]
    let routes = [&[32][..], &gateway, &[0, 0, 0, 0], &[0], &gateway].concat();
    let server = SERVER.octets();
    let mtu = u16::try_from(MTU)?.to_be_bytes();
    let options = [
        DhcpOption { kind: 6, data: &server },
        DhcpOption { kind: 26, data: &mtu },
        DhcpOption { kind: 42, data: &server },
        DhcpOption { kind: 121, data: &routes },
    ];
    let answer = DhcpRepr {
        message_type,
        transaction_id: request.transaction_id,
        secs: 0,
        client_hardware_address: request.client_hardware_address,
        client_ip: Ipv4Address::UNSPECIFIED,
        your_ip: GUEST,
        server_ip: SERVER,
        router: Some(GATEWAY),
        subnet_mask: Some(Ipv4Address::BROADCAST),
        relay_agent_ip: Ipv4Address::UNSPECIFIED,
        broadcast: false,
        requested_ip: None,
        client_identifier: None,
        server_identifier: Some(SERVER),
        parameter_request_list: None,
        dns_servers: None,
        max_size: None,
        lease_duration: Some(LEASE_SECONDS),
        renew_duration: None,
        rebind_duration: None,
        additional_options: &options,
    };
    let udp = UdpRepr { src_port: DHCP_SERVER_PORT, dst_port: DHCP_CLIENT_PORT };
    let length = udp.header_len() + answer.buffer_len();
    let ip = Ipv4Repr {
        src_addr: SERVER,
        dst_addr: GUEST,
        next_header: IpProtocol::Udp,
        payload_len: length,
        hop_limit: 64,
    };
    let head = EthernetRepr {
        src_addr: GATEWAY_MAC,
        dst_addr: EthernetAddress(request.client_hardware_address.0),
        ethertype: EthernetProtocol::Ipv4,
    };
    let mut frame = vec![0; head.buffer_len() + ip.buffer_len() + length];
    head.emit(&mut EthernetFrame::new_unchecked(&mut frame[..]));
    let checksums = ChecksumCapabilities::default();
    let packet = frame.get_mut(head.buffer_len()..).context("a frame with a packet")?;
    ip.emit(&mut Ipv4Packet::new_unchecked(&mut packet[..]), &checksums);
    let datagram = packet.get_mut(ip.buffer_len()..).context("a packet with a datagram")?;
    let mut emitted = Ok(());
    udp.emit(
        &mut UdpPacket::new_unchecked(datagram),
        &IpAddress::Ipv4(SERVER),
        &IpAddress::Ipv4(GUEST),
        answer.buffer_len(),
        |payload| emitted = answer.emit(&mut DhcpPacket::new_unchecked(payload)),
        &checksums,
    );
    emitted.ok().context("the answer does not fit")?;
    Ok(frame)
}
