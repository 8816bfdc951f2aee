//! What a neighbour on the Ethernet sees: the page to the byte, ping, and no harm from broken frames.

use anyhow::{Context as _, Result, ensure};
use smoltcp::wire::EthernetProtocol;

use super::{live, wire::Listeners};
use crate::{
    qemu::{Machine, Nic},
    smoke::{Context, Scenario},
};

const LIMIT: u64 = 60;

/// Lengths of data in an echo request, up to what fits a frame.
const SIZES: [usize; 7] = [0, 1, 8, 56, 512, 1471, 1472];

/// Rounds of pings: more than a queue of the card has buffers.
const ROUNDS: u16 = 60;

/// Each kind of card, each board, each number of processors.
const MACHINES: [(Nic, &str, u32); 6] = [
    (Nic::Modern, "q35", 1),
    (Nic::Legacy, "pc", 4),
    (Nic::Line, "q35", 4),
    (Nic::LegacyLine, "pc", 1),
    (Nic::Modern, "pc", 4),
    (Nic::Legacy, "q35", 1),
];

/// One scenario for each machine.
pub fn scenarios() -> Vec<Scenario> {
    let ping = |(nic, board, processors): (Nic, &'static str, u32)| {
        let name = format!("net-ping-{}-{board}-{processors}", nic.name());
        Scenario::new(name, "ping, curl and a download through the network card", LIMIT, move |context| {
            let mut machine = Machine::new(context.direct("manifests/default.capnp")?);
            machine.nic = Some(nic);
            machine.board = board.into();
            machine.processors = processors;
            reached(context, machine)
        })
    };
    let mut all: Vec<_> = MACHINES.into_iter().map(ping).collect();
    all.push(Scenario::new("net-broken-frames", "frames that are broken harm nobody", LIMIT, |context| {
        let mut machine = Machine::new(context.direct("manifests/default.capnp")?);
        machine.nic = Some(Nic::Modern);
        broken_frames(context, machine)
    }));
    all
}

fn reached(context: &Context, mut machine: Machine) -> Result<()> {
    let listeners = Listeners::new(context.temporary()?)?;
    machine.more.extend(listeners.arguments());
    let (_guest, address) = live::start(context, machine)?;
    let mut wire = listeners.accept(context.deadline())?;
    wire.resolve()?;
    let data: Vec<u8> = (0..1472).map(|index: u32| (index % 251) as u8).collect();
    for round in 0..ROUNDS {
        let size = SIZES.into_iter().cycle().nth(round.into()).unwrap_or(0);
        wire.ping(round, data.get(..size).unwrap_or_default())?;
    }
    curl(context, &format!("http://{address}"))
}

/// The page by curl, the client that people use.
fn curl(context: &Context, url: &str) -> Result<()> {
    let output = context.curl(&["--include", &format!("{url}/healthz")])?;
    ensure!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr).trim());
    let (response, rest) = live::Response::parse(&output.stdout)?;
    live::ensure_health(&response)?;
    ensure!(rest.is_empty(), "{} bytes behind the answer", rest.len());
    let page = context.get(&format!("{url}/"))?;
    ensure!(page.contains("</html>"), "the page is cut off");
    for _ in 0..20 {
        ensure!(context.get(&format!("{url}/"))? == page, "the page comes in two versions");
    }
    Ok(())
}

fn broken_frames(context: &Context, mut machine: Machine) -> Result<()> {
    let listeners = Listeners::new(context.temporary()?)?;
    machine.more.extend(listeners.arguments());
    let (guest, address) = live::start(context, machine)?;
    let mut wire = listeners.accept(context.deadline())?;
    wire.resolve()?;
    for (name, protocol, payload) in broken() {
        wire.send_payload(protocol, &payload).with_context(|| name)?;
    }
    for length in [1, 2, 13, 14, 15, 33] {
        wire.send(&vec![0xff; length])?;
    }
    wire.ping(1, b"still there?").context("after broken frames")?;
    live::wait_healthy(address, context.deadline())?;
    let died =
        guest.lines().into_iter().find(|line| line.contains("process ") && line.contains("restarting"));
    ensure!(died.is_none(), "a process died: {died:?}");
    Ok(())
}

/// Packets whose lengths do not fit what they are in.
fn broken() -> Vec<(&'static str, EthernetProtocol, Vec<u8>)> {
    let ip = |change: fn(&mut Vec<u8>)| {
        // To the guest's port 8080 from 10.0.2.77, without checksums: a stack may look at lengths first or last.
        let mut packet = vec![
            0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 2, 77, 10, 0, 2, 15, 0x30, 0x39, 0x1f, 0x90, 0,
            0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0x10, 0, 0, 0, 0, 0,
        ];
        change(&mut packet);
        let sum = packet.chunks(2).take(10).map(|pair| match pair {
            [high, low] => u32::from(*high) << 8 | u32::from(*low),
            _ => 0,
        });
        let sum: u32 = sum.sum();
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        if let Some(field) = packet.get_mut(10..12) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
        packet
    };
    vec![
        ("an empty packet", EthernetProtocol::Ipv4, Vec::new()),
        ("half a header", EthernetProtocol::Ipv4, vec![0x45; 10]),
        ("longer than its frame", EthernetProtocol::Ipv4, ip(|packet| packet[2..4].fill(0xff))),
        ("shorter than its header", EthernetProtocol::Ipv4, ip(|packet| packet[3] = 19)),
        ("a header longer than the packet", EthernetProtocol::Ipv4, ip(|packet| packet[0] = 0x4f)),
        ("a header of nothing", EthernetProtocol::Ipv4, ip(|packet| packet[0] = 0x40)),
        ("another version", EthernetProtocol::Ipv4, ip(|packet| packet[0] = 0x65)),
        ("a fragment", EthernetProtocol::Ipv4, ip(|packet| packet[6] = 0x3f)),
        ("TCP options behind the end", EthernetProtocol::Ipv4, ip(|packet| packet[32] = 0xf0)),
        ("a TCP header of nothing", EthernetProtocol::Ipv4, ip(|packet| packet[32] = 0)),
        ("a cut TCP header", EthernetProtocol::Ipv4, ip(|packet| packet.truncate(30))),
        ("UDP in place of TCP", EthernetProtocol::Ipv4, ip(|packet| packet[9] = 17)),
        ("ICMP in place of TCP", EthernetProtocol::Ipv4, ip(|packet| packet[9] = 1)),
        ("IGMP in place of TCP", EthernetProtocol::Ipv4, ip(|packet| packet[9] = 2)),
        ("from the guest itself", EthernetProtocol::Ipv4, ip(|packet| packet[15] = 15)),
        ("from everybody", EthernetProtocol::Ipv4, ip(|packet| packet[12..16].fill(0xff))),
        ("an empty ARP packet", EthernetProtocol::Arp, Vec::new()),
        ("an ARP packet of long addresses", EthernetProtocol::Arp, vec![0, 1, 8, 0, 255, 255, 0, 1, 0, 0]),
        ("IPv6", EthernetProtocol::Ipv6, vec![0x60; 60]),
        ("a protocol that nobody has", EthernetProtocol::Unknown(0x88b5), vec![0; 1500]),
        ("more than the MTU", EthernetProtocol::Ipv4, ip(|packet| packet.resize(4000, 0))),
    ]
}
