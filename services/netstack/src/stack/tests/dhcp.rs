//! DHCP against a scripted server: leases as the clouds give them, renewal, expiry, and servers that lie.

use std::time::Duration;

use ring::frame::Checksum;
use smoltcp::wire::{
    DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr, EthernetAddress,
    EthernetFrame, EthernetProtocol, EthernetRepr, IpProtocol, Ipv4Address, Ipv4Cidr, Ipv4Packet, Ipv4Repr,
    UdpPacket, UdpRepr,
};

use super::harness::{Node, Wire, address, mac, repair};
use crate::{
    arguments::Addressing,
    frame::{Flow, Identity, classify},
    limits::Limits,
    network::{Mtu, Route},
    stack::Source,
    udp::Peer,
};

/// What the server gives.
#[derive(Clone)]
struct Terms {
    address: Ipv4Address,
    mask: [u8; 4],
    router: Option<[u8; 4]>,
    seconds: u32,
    options: Vec<(u8, Vec<u8>)>,
}

fn plain() -> Terms {
    Terms {
        address: address(15),
        mask: [255, 255, 255, 0],
        router: Some([10, 0, 2, 2]),
        seconds: 3600,
        options: vec![],
    }
}

/// As GCE answers: no neighbours, the gateway by option 121, an MTU of 1460.
fn gce() -> Terms {
    let routes = vec![32, 10, 128, 0, 1, 0, 0, 0, 0, 0, 10, 128, 0, 1];
    Terms {
        address: Ipv4Address::new(10, 128, 0, 2),
        mask: [255; 4],
        router: Some([10, 128, 0, 1]),
        seconds: 86_400,
        options: vec![(26, vec![5, 0xb4]), (121, routes), (42, vec![169, 254, 169, 254])],
    }
}

const SERVER: Ipv4Address = Ipv4Address::new(169, 254, 169, 254);
const CLIENT: u8 = 3;

/// A machine that is a DHCP client, and the messages that it sent.
struct Bench {
    node: Node,
    now: Duration,
    /// ARP requests that the client sent: who is asked for, and who says so.
    asked: Vec<(Ipv4Address, Ipv4Address)>,
    /// Other frames that the client sent.
    other: Vec<Vec<u8>>,
}

impl Bench {
    fn new() -> Self {
        Self::with(Addressing::Dhcp { mtu: None })
    }

    fn with(addressing: Addressing) -> Self {
        let node = Node::new(CLIENT, addressing, Limits::STANDARD);
        Self { node, now: Duration::from_secs(1), asked: Vec::new(), other: Vec::new() }
    }

    /// Runs the client, and returns the DHCP messages that it sent, each with its destination.
    fn messages(&mut self) -> Vec<(Ipv4Address, Vec<u8>)> {
        self.node.run(self.now);
        let mut messages = Vec::new();
        for frame in self.node.nic.take_sent() {
            let ethernet = EthernetFrame::new_checked(&frame[..]).unwrap();
            if ethernet.ethertype() == EthernetProtocol::Arp {
                let packet = smoltcp::wire::ArpPacket::new_checked(ethernet.payload()).unwrap();
                let octets = |bytes: &[u8]| Ipv4Address::from(<[u8; 4]>::try_from(bytes).unwrap());
                self.asked
                    .push((octets(packet.target_protocol_addr()), octets(packet.source_protocol_addr())));
                continue;
            }
            let packet = Ipv4Packet::new_checked(ethernet.payload()).unwrap();
            let is_dhcp = packet.next_header() == IpProtocol::Udp
                && UdpPacket::new_checked(packet.payload()).unwrap().dst_port() == DHCP_SERVER_PORT;
            if is_dhcp {
                let datagram = UdpPacket::new_checked(packet.payload()).unwrap();
                messages.push((packet.dst_addr(), datagram.payload().to_vec()));
            } else {
                self.other.push(frame.clone());
            }
        }
        messages
    }

    /// The server answers all messages of the client by its terms, until the client is content.
    fn serve(&mut self, terms: &Terms) {
        for _ in 0..10 {
            for (_, message) in self.messages() {
                if let Some(answer) = answer(&message, terms) {
                    assert!(self.node.nic.deliver(&answer));
                }
            }
        }
    }

    /// Lets time pass from deadline to deadline; the server answers if it has terms. Returns where requests went.
    fn pass(&mut self, time: Duration, terms: Option<&Terms>) -> Vec<(Duration, Ipv4Address)> {
        let end = self.now + time;
        let mut sent = Vec::new();
        while self.now < end {
            let next = self.node.run(self.now).unwrap_or(end).clamp(self.now + Duration::from_millis(1), end);
            self.now = next;
            for (destination, message) in self.messages() {
                sent.push((self.now, destination));
                if let Some(answer) = terms.and_then(|terms| answer(&message, terms)) {
                    self.node.nic.deliver(&answer);
                }
            }
        }
        self.node.run(self.now);
        sent
    }

    fn address(&self) -> Option<Ipv4Cidr> {
        Some(self.node.stack.status(self.now).configuration?.address)
    }
}

/// What a server with these terms says to a message.
fn answer(message: &[u8], terms: &Terms) -> Option<Vec<u8>> {
    let packet = DhcpPacket::new_checked(message).unwrap();
    let request = DhcpRepr::parse(&packet).unwrap();
    let message_type = match request.message_type {
        DhcpMessageType::Discover => DhcpMessageType::Offer,
        DhcpMessageType::Request => DhcpMessageType::Ack,
        _ => return None,
    };
    let options: Vec<_> = terms.options.iter().map(|(kind, data)| DhcpOption { kind: *kind, data }).collect();
    let repr = DhcpRepr {
        message_type,
        your_ip: terms.address,
        server_ip: SERVER,
        router: terms.router.map(Into::into),
        subnet_mask: Some(terms.mask.into()),
        client_ip: Ipv4Address::UNSPECIFIED,
        client_identifier: None,
        requested_ip: None,
        server_identifier: Some(SERVER),
        parameter_request_list: None,
        dns_servers: Some([SERVER].into_iter().collect()),
        max_size: None,
        lease_duration: Some(terms.seconds),
        additional_options: &options,
        ..request
    };
    let mut bytes = vec![0; repr.buffer_len()];
    repr.emit(&mut DhcpPacket::new_unchecked(&mut bytes[..])).unwrap();
    Some(frame(&bytes, Ipv4Address::BROADCAST))
}

/// A DHCP message in a frame from the server.
fn frame(message: &[u8], destination: Ipv4Address) -> Vec<u8> {
    let udp = UdpRepr { src_port: DHCP_SERVER_PORT, dst_port: DHCP_CLIENT_PORT };
    let ip = Ipv4Repr {
        src_addr: SERVER,
        dst_addr: destination,
        next_header: IpProtocol::Udp,
        payload_len: udp.header_len() + message.len(),
        hop_limit: 64,
    };
    let ethernet = EthernetRepr {
        src_addr: mac(99),
        dst_addr: EthernetAddress::BROADCAST,
        ethertype: EthernetProtocol::Ipv4,
    };
    let mut frame = vec![0; 14 + 20 + 8 + message.len()];
    let none = smoltcp::phy::ChecksumCapabilities::ignored();
    ethernet.emit(&mut EthernetFrame::new_unchecked(&mut frame));
    ip.emit(&mut Ipv4Packet::new_unchecked(&mut frame[14..]), &none);
    udp.emit(
        &mut UdpPacket::new_unchecked(&mut frame[34..]),
        &SERVER.into(),
        &destination.into(),
        message.len(),
        |payload| payload.copy_from_slice(message),
        &none,
    );
    repair(&mut frame);
    frame
}

#[test]
fn a_plain_lease_is_taken() {
    let mut bench = Bench::new();
    assert_eq!(bench.node.stack.status(bench.now).source, Source::None);
    bench.serve(&plain());
    let status = bench.node.stack.status(bench.now);
    let configuration = status.configuration.clone().expect("there is a lease");
    assert_eq!(configuration.address, Ipv4Cidr::new(address(15), 24));
    assert_eq!(configuration.routes, [Route { destination: Route::EVERYWHERE, gateway: Some(address(2)) }]);
    assert_eq!(configuration.dns_servers, [SERVER]);
    assert_eq!((status.source, status.mtu), (Source::Dhcp, Mtu::ETHERNET));
    assert_eq!(status.lease_left, Duration::from_secs(3600));
    assert_eq!(status.routes().len(), 2);
}

#[test]
fn the_client_asks_for_what_it_can_use() {
    let mut bench = Bench::new();
    let messages = bench.messages();
    let (destination, message) = &messages[0];
    assert_eq!(*destination, Ipv4Address::BROADCAST);
    let packet = DhcpPacket::new_checked(&message[..]).unwrap();
    let list = DhcpRepr::parse(&packet).unwrap().parameter_request_list.unwrap();
    for option in [1, 3, 6, 26, 42, 121] {
        assert!(list.contains(&option), "option {option}");
    }
    let place = |option| list.iter().position(|other| *other == option);
    assert!(place(121) < place(3), "[RFC 3442]");
}

#[test]
fn the_lease_is_renewed_in_time_and_nothing_is_disturbed() {
    let mut bench = Bench::new();
    bench.serve(&plain());
    let udp = bench.node.stack.bind(0).unwrap();
    let sent = bench.pass(Duration::from_secs(1805), Some(&plain()));
    // The renewal is to go to the server itself, which asks the neighbour that leads there.
    assert_eq!(sent.len(), 0);
    assert_eq!(bench.asked.last(), Some(&(address(2), address(15))));
    let answer = crate::resolver::request(mac(99), address(2), address(15));
    bench.node.nic.deliver(&answer);
    let sent = bench.pass(Duration::from_secs(60), Some(&plain()));
    assert_eq!(sent.first().map(|(_, destination)| *destination), Some(SERVER));
    let left = bench.node.stack.status(bench.now).lease_left;
    assert!(left > Duration::from_secs(3500), "{left:?}");
    assert_eq!(bench.address(), Some(Ipv4Cidr::new(address(15), 24)));
    assert!(bench.node.stack.datagram_info(udp).is_some());
}

#[test]
fn a_renewal_can_change_mtu_and_routes() {
    let mut bench = Bench::new();
    bench.serve(&plain());
    let changed = Terms { options: vec![(26, vec![0x05, 0x78])], router: Some([10, 0, 2, 3]), ..plain() };
    // Past the time of the broadcast, so that no neighbour is needed.
    bench.pass(Duration::from_secs(3300), Some(&changed));
    let status = bench.node.stack.status(bench.now);
    assert_eq!(status.mtu, Mtu::new(1400).unwrap());
    assert_eq!(status.configuration.unwrap().routes[0].gateway, Some(address(3)));
}

#[test]
fn a_lease_that_nobody_renews_expires_and_is_sought_again() {
    let mut bench = Bench::new();
    bench.serve(&plain());
    bench.pass(Duration::from_secs(3599), None);
    assert!(bench.address().is_some());
    bench.pass(Duration::from_secs(2), None);
    assert_eq!((bench.address(), bench.node.stack.status(bench.now).lease_left), (None, Duration::ZERO));
    let sent = bench.pass(Duration::from_secs(30), None);
    assert!((5..15).contains(&sent.len()), "{} DISCOVERs in 30 s", sent.len());
    bench.pass(Duration::from_secs(10), Some(&plain()));
    assert!(bench.address().is_some());
}

#[test]
fn connections_from_a_lost_address_end() {
    let mut bench = Bench::new();
    bench.serve(&plain());
    let id = bench.node.stack.connect(Peer { address: address(7), port: 80 }, bench.now).unwrap();
    let waiting = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(bench.node.stack.poll_connected(id, &waiting).is_pending());
    let moved = Terms { address: address(16), ..plain() };
    bench.pass(Duration::from_secs(10), Some(&moved));
    bench.pass(Duration::from_secs(3600), Some(&moved));
    assert!(bench.node.stack.poll_connected(id, &waiting).is_ready());
    assert_eq!(bench.address(), Some(Ipv4Cidr::new(address(16), 24)));
}

#[test]
fn the_mtu_of_the_lease_is_used_within_reason() {
    for (option, expected) in [
        (vec![5, 0xb4], 1460),
        (vec![0x23, 0x29], 1500),
        (vec![0, 68], 576),
        (vec![0, 67], 1500),
        (vec![0xff, 0xff], 1500),
        (vec![5], 1500),
    ] {
        let mut bench = Bench::new();
        bench.serve(&Terms { options: vec![(26, option.clone())], ..plain() });
        assert_eq!(bench.node.stack.status(bench.now).mtu.bytes(), expected, "{option:?}");
    }
}

#[test]
fn the_manifest_decides_over_the_mtu() {
    let mut bench = Bench::with(Addressing::Dhcp { mtu: Mtu::new(1300) });
    bench.serve(&gce());
    assert_eq!(bench.node.stack.status(bench.now).mtu.bytes(), 1300);
}

#[test]
fn a_lease_without_neighbours_reaches_the_world_through_its_gateway() {
    let without_121 = Terms { options: vec![], ..gce() };
    for terms in [gce(), without_121] {
        let mut bench = Bench::new();
        bench.serve(&terms);
        let own = terms.address;
        let gateway = Ipv4Address::new(10, 128, 0, 1);
        assert_eq!(bench.address(), Some(Ipv4Cidr::new(own, 32)));
        let udp = bench.node.stack.bind(5000).unwrap();
        // Far away, another machine of the same subnet, and the gateway itself: all by the gateway.
        let far = [Ipv4Address::new(1, 1, 1, 1), Ipv4Address::new(10, 128, 0, 3), gateway];
        for destination in far {
            bench.node.stack.send_datagram(udp, Peer { address: destination, port: 53 }, b"query").unwrap();
        }
        bench.messages();
        bench.asked.dedup();
        assert_eq!(bench.asked, [(gateway, own)], "the own address asks for the gateway and nobody else");
        // The gateway answers; everything leaves to its hardware address, from the own address.
        bench.node.nic.deliver(&crate::resolver::request(mac(99), gateway, own));
        bench.other.clear();
        bench.messages();
        let sent: Vec<_> = bench
            .other
            .iter()
            .filter_map(|frame| {
                let ethernet = EthernetFrame::new_checked(&frame[..]).unwrap();
                let packet = Ipv4Packet::new_checked(ethernet.payload()).unwrap();
                assert_eq!((ethernet.dst_addr(), packet.src_addr()), (mac(99), own));
                (packet.next_header() == IpProtocol::Udp).then_some(packet.dst_addr())
            })
            .collect();
        assert_eq!(sent, far);
        // And what is for the gateway is still not ours.
        let identity = Identity { mac: mac(CLIENT), address: bench.address() };
        let asked_for_gateway = crate::resolver::request(mac(98), Ipv4Address::new(10, 128, 0, 7), gateway);
        assert_ne!(classify(&asked_for_gateway, Checksum::Unknown, &identity), Ok(Flow::Arp));
    }
}

#[test]
fn a_refusal_takes_the_address_away() {
    let mut bench = Bench::new();
    bench.serve(&plain());
    // Past the middle of the lease, when the client asks again, until it broadcasts.
    bench.pass(Duration::from_secs(3140), None);
    let (_, request) = loop {
        bench.now += Duration::from_secs(5);
        if let Some(message) = bench.messages().pop() {
            break message;
        }
        assert!(bench.now < Duration::from_secs(3600));
    };
    let mut answer = answer(&request, &plain()).unwrap();
    let end = answer.len();
    let place = answer[42 + 240..end].windows(3).position(|option| option == [53, 1, 5]).unwrap();
    answer[42 + 240 + place + 2] = 6;
    repair(&mut answer);
    bench.node.nic.deliver(&answer);
    bench.messages();
    assert_eq!(bench.address(), None);
}

#[test]
fn leases_that_no_host_can_have_are_refused() {
    for bad in [[127, 0, 0, 1], [240, 0, 0, 1], [224, 0, 0, 1], [0, 0, 0, 0], [255; 4]] {
        let mut bench = Bench::new();
        bench.serve(&Terms { address: bad.into(), ..plain() });
        assert_eq!(bench.address(), None, "{bad:?}");
    }
    for mask in [[255, 0, 255, 0], [0, 0, 0, 1]] {
        let mut bench = Bench::new();
        bench.serve(&Terms { mask, ..plain() });
        assert_eq!(bench.address(), None, "{mask:?}");
    }
}

#[test]
fn a_lease_of_no_time_makes_no_storm() {
    let mut bench = Bench::new();
    bench.serve(&Terms { seconds: 0, ..plain() });
    let sent = bench.pass(Duration::from_secs(30), None);
    assert!(sent.len() < 30, "{} messages in 30 s", sent.len());
}

#[test]
fn hostile_answers_change_nothing_and_break_nothing() {
    let mut bench = Bench::new();
    let discover = bench.messages().pop().unwrap().1;
    let offer = answer(&discover, &gce()).unwrap();
    // Every byte of the answer changed in turn, and every length cut off.
    for index in 42..offer.len() {
        for value in [0, 1, 0x7f, 0xff, offer[index] ^ 0x55] {
            let mut bad = offer.clone();
            bad[index] = value;
            repair(&mut bad);
            bench.node.nic.deliver(&bad);
            bench.messages();
        }
    }
    for length in 42..offer.len() {
        let bad = frame(&offer[42..length], Ipv4Address::BROADCAST);
        bench.node.nic.deliver(&bad);
        bench.messages();
    }
    // No message type, and options that reach behind the end.
    for options in
        [&[][..], &[255], &[53], &[53, 200, 2], &[121, 255, 1, 2], &[0; 1000], &[54, 4, 1, 2, 3, 4, 255]]
    {
        let mut message = offer[42..42 + 240].to_vec();
        message.extend_from_slice(options);
        bench.node.nic.deliver(&frame(&message, Ipv4Address::BROADCAST));
        bench.messages();
    }
    // An honest server is still believed.
    bench.pass(Duration::from_secs(60), Some(&plain()));
    assert_eq!(bench.address(), Some(Ipv4Cidr::new(address(15), 24)));
}

#[test]
fn a_leased_address_serves_like_any_other() {
    let mut bench = Bench::new();
    bench.serve(&Terms { address: address(CLIENT), ..plain() });
    let mut wire = Wire::new(vec![bench.node, Node::with_address(2)]);
    let listener = wire.nodes[0].stack.listen(80, 4).unwrap();
    let id = wire.nodes[1].connect(CLIENT, 80, wire.now);
    wire.settle();
    assert!(wire.nodes[1].connected(id).is_ready());
    assert!(wire.nodes[0].accept(listener).is_some());
}
