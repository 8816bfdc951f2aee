//! The other end of the guest's cable: a gateway with DHCP, and a client behind it that has a TCP stack of its own.

use std::{
    cell::RefCell,
    collections::{BTreeSet, VecDeque},
    io::Write as _,
    os::unix::net::{UnixListener, UnixStream},
    rc::Rc,
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use smoltcp::{
    iface::{Config, Interface, SocketSet},
    phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken},
    socket::tcp,
    time::Instant as Moment,
    wire::{
        ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, HardwareAddress,
        IpCidr, Ipv4Address, Ipv4Cidr,
    },
};
use tempfile::TempDir;

use super::dhcp;
use crate::smoke::scenarios::{live::Response, wire::read_frames};

/// The guest's address: alone on its link.
pub const GUEST: Ipv4Address = Ipv4Address::new(10, 128, 0, 5);
/// What it is told to send everything to.
pub const GATEWAY: Ipv4Address = Ipv4Address::new(10, 128, 0, 1);
/// A client somewhere in the world.
pub const CLIENT: Ipv4Address = Ipv4Address::new(203, 0, 113, 9);
/// Hardware addresses are made of the Internet's.
pub const GUEST_MAC: &str = "42:01:0a:80:00:05";
/// The gateway's.
pub const GATEWAY_MAC: EthernetAddress = EthernetAddress([0x42, 0x01, 10, 128, 0, 1]);
/// Most bytes of a packet on this network.
pub const MTU: usize = 1460;

/// The page's port.
const PORT: u16 = 8080;
/// First port of the client's connections.
const CLIENT_PORT: u16 = 50_000;
/// Buffers of a connection: more than one window scale, so that losses of order would show.
const BUFFER: usize = 1 << 17;
/// Longest wait for a frame before time is looked at again.
const STEP: Duration = Duration::from_millis(5);
/// Frames whose protocol a network interface does not know.
const ETHERNET_HEAD: usize = 14;

/// The socket that QEMU's card is to connect to.
pub struct Cable {
    listener: UnixListener,
    folder: TempDir,
}

impl Cable {
    /// Listens in `folder`.
    pub fn new(folder: TempDir) -> Result<Self> {
        Ok(Self { listener: UnixListener::bind(folder.path().join("cable"))?, folder })
    }

    /// What QEMU must be told.
    pub fn netdev(&self, id: &str) -> String {
        let path = self.folder.path().join("cable");
        format!("stream,id={id},server=off,addr.type=unix,addr.path={}", path.display())
    }

    /// This end of the cable, once QEMU runs.
    pub fn accept(self, deadline: Instant) -> Result<Port> {
        self.listener.set_nonblocking(true)?;
        let outgoing = loop {
            match self.listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                    thread::sleep(STEP);
                }
                Err(error) => return Err(error).context("QEMU's card does not connect"),
            }
        };
        outgoing.set_nonblocking(false)?;
        let incoming = outgoing.try_clone()?;
        let (sender, frames) = mpsc::channel();
        // The thread ends with QEMU.
        thread::spawn(move || read_frames(incoming, &sender));
        Ok(Port {
            frames,
            outgoing: Rc::new(RefCell::new(outgoing)),
            waiting: VecDeque::new(),
            seen: Seen::default(),
        })
    }
}

/// What the guest sent.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Bytes of the largest frame.
    pub largest_frame: usize,
    /// Addresses that it asked for by ARP.
    pub asked_for: BTreeSet<Ipv4Address>,
}

/// Frames to and from the guest; DHCP is answered here, below the client's stack.
pub struct Port {
    frames: Receiver<Vec<u8>>,
    outgoing: Rc<RefCell<UnixStream>>,
    waiting: VecDeque<Vec<u8>>,
    seen: Seen,
}

impl Port {
    /// Takes what has come, after waiting a moment for the first.
    fn fill(&mut self, patience: Duration) -> Result<()> {
        let mut next = self.frames.recv_timeout(patience).ok();
        while let Some(frame) = next {
            self.seen.note(&frame);
            match dhcp::answer(&frame) {
                Some(answer) => send(&self.outgoing, &answer?)?,
                None => self.waiting.push_back(frame),
            }
            next = self.frames.try_recv().ok();
        }
        Ok(())
    }
}

impl Seen {
    fn note(&mut self, frame: &[u8]) {
        self.largest_frame = self.largest_frame.max(frame.len());
        let Ok(frame) = EthernetFrame::new_checked(frame) else { return };
        if frame.ethertype() != EthernetProtocol::Arp {
            return;
        }
        let arp =
            ArpPacket::new_checked(frame.payload()).ok().and_then(|packet| ArpRepr::parse(&packet).ok());
        if let Some(ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request, target_protocol_addr, ..
        }) = arp
        {
            self.asked_for.insert(target_protocol_addr);
        }
    }
}

fn send(outgoing: &RefCell<UnixStream>, frame: &[u8]) -> Result<()> {
    let mut outgoing = outgoing.borrow_mut();
    outgoing.write_all(&u32::try_from(frame.len())?.to_be_bytes())?;
    outgoing.write_all(frame)?;
    Ok(())
}

/// A frame that was received.
pub struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.0)
    }
}

/// Room for a frame to send.
pub struct Room(Rc<RefCell<UnixStream>>);

impl TxToken for Room {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        let mut frame = vec![0; length];
        let result = fill(&mut frame);
        // A guest that is gone answers nothing, which the client notices.
        let _ = send(&self.0, &frame);
        result
    }
}

impl Device for Port {
    type RxToken<'a> = Received;
    type TxToken<'a> = Room;

    fn receive(&mut self, _: Moment) -> Option<(Received, Room)> {
        let frame = self.waiting.pop_front()?;
        Some((Received(frame), Room(Rc::clone(&self.outgoing))))
    }

    fn transmit(&mut self, _: Moment) -> Option<Room> {
        Some(Room(Rc::clone(&self.outgoing)))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = MTU + ETHERNET_HEAD;
        capabilities
    }
}

/// The gateway, and the client behind it: to the guest both are at the same hardware address.
pub struct Gateway {
    port: Port,
    interface: Interface,
    started: Instant,
    deadline: Instant,
    connections: u16,
}

impl Gateway {
    /// At this end of a cable.
    pub fn new(mut port: Port, deadline: Instant) -> Self {
        let mut interface =
            Interface::new(Config::new(HardwareAddress::Ethernet(GATEWAY_MAC)), &mut port, Moment::ZERO);
        interface.update_ip_addrs(|addresses| {
            // The gateway reaches the guest directly, as it does any machine of its network.
            let own = [Ipv4Cidr::new(GATEWAY, 20), Ipv4Cidr::new(CLIENT, 32)];
            addresses.extend(own.map(IpCidr::Ipv4));
        });
        Self { port, interface, started: Instant::now(), deadline, connections: 0 }
    }

    /// What the guest sent so far.
    pub fn seen(&self) -> &Seen {
        &self.port.seen
    }

    /// Answers DHCP and ARP until something has happened.
    pub fn serve_until(&mut self, done: impl Fn() -> bool) -> Result<()> {
        let mut none = SocketSet::new(Vec::new());
        while !done() {
            self.step(&mut none).context("the guest does not come up")?;
        }
        Ok(())
    }

    /// Gets a path of the page, from the client, on a connection of its own.
    pub fn get(&mut self, path: &str) -> Result<Response> {
        let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER]);
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(tcp::Socket::new(buffer(), buffer()));
        let own = (CLIENT, CLIENT_PORT + self.connections);
        self.connections += 1;
        let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket
            .connect(self.interface.context(), (GUEST, PORT), own)
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {GUEST}\r\nConnection: close\r\n\r\n");
        let (mut unsent, mut answer) = (request.as_bytes(), Vec::new());
        loop {
            let socket = sockets.get_mut::<tcp::Socket<'_>>(handle);
            if socket.can_send() && !unsent.is_empty() {
                let sent = socket.send_slice(unsent).map_err(|error| anyhow::anyhow!("{error}"))?;
                unsent = unsent.get(sent..).unwrap_or_default();
            }
            if socket.can_recv() {
                let part = socket.recv(|bytes| (bytes.len(), bytes.to_vec()));
                answer.extend(part.map_err(|error| anyhow::anyhow!("{error}"))?);
            } else if unsent.is_empty() && !socket.may_recv() && socket.state() != tcp::State::SynSent {
                break;
            }
            self.step(&mut sockets).with_context(|| format!("GET {path}: {} bytes so far", answer.len()))?;
        }
        sockets.get_mut::<tcp::Socket<'_>>(handle).close();
        self.step(&mut sockets)?;
        let (response, rest) = Response::parse(&answer).with_context(|| format!("GET {path}"))?;
        ensure!(rest.is_empty(), "GET {path}: {} bytes behind the answer", rest.len());
        Ok(response)
    }

    fn step(&mut self, sockets: &mut SocketSet<'_>) -> Result<()> {
        ensure!(Instant::now() < self.deadline, "the time is over");
        self.port.fill(STEP)?;
        let now = Moment::from_micros(i64::try_from(self.started.elapsed().as_micros())?);
        self.interface.poll(now, &mut self.port, sockets);
        Ok(())
    }
}
