//! A host of the test's own on the guest's Ethernet, beside QEMU's user network.
//!
//! ```text
//!   user network <──────────┬──> network card of the guest
//!                 filters:  │
//!        frames from the guest are copied here, frames from here are let in
//!                           │
//!                         Wire
//! ```
//!
//! On the sockets a frame follows its length, 4 bytes, the most significant first.

use std::{
    ffi::OsString,
    io::{Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use smoltcp::{
    phy::ChecksumCapabilities,
    wire::{
        ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr,
        Icmpv4Packet, Icmpv4Repr, IpProtocol, Ipv4Address, Ipv4Packet, Ipv4Repr,
    },
};
use tempfile::TempDir;

/// This host.
const OWN_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 0x77]);
const OWN: Ipv4Address = Ipv4Address::new(10, 0, 2, 77);

/// The guest, as QEMU's user network names it.
pub const GUEST: Ipv4Address = Ipv4Address::new(10, 0, 2, 15);

/// No frame is larger.
const MAXIMUM_FRAME: usize = 1 << 16;

/// The sockets, before QEMU has connected to them.
pub struct Listeners {
    incoming: UnixListener,
    outgoing: UnixListener,
    folder: TempDir,
}

impl Listeners {
    /// Listens in `folder`.
    pub fn new(folder: TempDir) -> Result<Self> {
        let bind = |name| UnixListener::bind(folder.path().join(name));
        Ok(Self { incoming: bind("from-guest")?, outgoing: bind("to-guest")?, folder })
    }

    /// What QEMU must be told.
    pub fn arguments(&self) -> Vec<OsString> {
        let path = |name| self.folder.path().join(name).display().to_string();
        [
            "-chardev".into(),
            format!("socket,id=from-guest,path={}", path("from-guest")),
            "-chardev".into(),
            format!("socket,id=to-guest,path={}", path("to-guest")),
            "-object".into(),
            "filter-mirror,id=mirror,netdev=net0,queue=rx,outdev=from-guest".into(),
            "-object".into(),
            "filter-redirector,id=redirector,netdev=net0,queue=tx,indev=to-guest".into(),
        ]
        .map(|argument: String| argument.into())
        .into()
    }

    /// The wire, once QEMU runs.
    pub fn accept(self, deadline: Instant) -> Result<Wire> {
        let (incoming, _) = self.incoming.accept()?;
        let (outgoing, _) = self.outgoing.accept()?;
        let (sender, frames) = mpsc::channel();
        // QEMU stands still while nobody reads. The thread ends with QEMU.
        thread::spawn(move || read_frames(incoming, &sender));
        Ok(Wire { incoming: frames, outgoing, guest: None, deadline })
    }
}

/// Frames to and from the guest.
pub struct Wire {
    incoming: Receiver<Vec<u8>>,
    outgoing: UnixStream,
    /// The guest's hardware address, once it was asked for.
    guest: Option<EthernetAddress>,
    deadline: Instant,
}

impl Wire {
    /// Sends a frame as it is.
    pub fn send(&mut self, frame: &[u8]) -> Result<()> {
        self.outgoing.write_all(&u32::try_from(frame.len())?.to_be_bytes())?;
        self.outgoing.write_all(frame)?;
        Ok(())
    }

    /// Sends the head of an Ethernet frame to the guest and what `payload` holds.
    pub fn send_payload(&mut self, protocol: EthernetProtocol, payload: &[u8]) -> Result<()> {
        let to = self.guest.unwrap_or(EthernetAddress::BROADCAST);
        let head = EthernetRepr { src_addr: OWN_MAC, dst_addr: to, ethertype: protocol };
        let mut frame = vec![0; head.buffer_len() + payload.len()];
        head.emit(&mut EthernetFrame::new_unchecked(&mut frame[..]));
        EthernetFrame::new_unchecked(&mut frame[..]).payload_mut().copy_from_slice(payload);
        self.send(&frame)
    }

    /// Asks for the guest's hardware address.
    pub fn resolve(&mut self) -> Result<EthernetAddress> {
        self.guest = None;
        self.send_arp(ArpOperation::Request, EthernetAddress([0; 6]), GUEST)?;
        let address = self.receive_until("the answer to ARP", |frame| {
            let Some(ArpRepr::EthernetIpv4 { operation, source_hardware_addr, source_protocol_addr, .. }) =
                arp(frame)
            else {
                return None;
            };
            (operation == ArpOperation::Reply && source_protocol_addr == GUEST)
                .then_some(source_hardware_addr)
        })?;
        self.guest = Some(address);
        Ok(address)
    }

    /// Sends an echo request and waits for its answer, which must hold the same data.
    pub fn ping(&mut self, number: u16, data: &[u8]) -> Result<()> {
        const IDENT: u16 = 0xca05;
        let icmp = Icmpv4Repr::EchoRequest { ident: IDENT, seq_no: number, data };
        let ip = Ipv4Repr {
            src_addr: OWN,
            dst_addr: GUEST,
            next_header: IpProtocol::Icmp,
            payload_len: icmp.buffer_len(),
            hop_limit: 64,
        };
        let checksums = ChecksumCapabilities::default();
        let mut packet = vec![0; ip.buffer_len() + icmp.buffer_len()];
        ip.emit(&mut Ipv4Packet::new_unchecked(&mut packet[..]), &checksums);
        let payload = packet.get_mut(ip.buffer_len()..).context("a packet with a payload")?;
        icmp.emit(&mut Icmpv4Packet::new_unchecked(payload), &checksums);
        self.send_payload(EthernetProtocol::Ipv4, &packet)?;
        let answer = self.receive_until("the answer to ping", |frame| {
            let packet = Ipv4Packet::new_checked(payload_of(frame, EthernetProtocol::Ipv4)?).ok()?;
            let head = Ipv4Repr::parse(&packet, &checksums).ok()?;
            if (head.src_addr, head.dst_addr, head.next_header) != (GUEST, OWN, IpProtocol::Icmp) {
                return None;
            }
            let packet = Icmpv4Packet::new_checked(packet.payload()).ok()?;
            match Icmpv4Repr::parse(&packet, &checksums).ok()? {
                Icmpv4Repr::EchoReply { ident: IDENT, seq_no, data } if seq_no == number => {
                    Some(data.to_vec())
                }
                _ => None,
            }
        })?;
        ensure!(answer == data, "the answer to ping {number} of {} bytes holds other bytes", data.len());
        Ok(())
    }

    fn send_arp(&mut self, operation: ArpOperation, to: EthernetAddress, address: Ipv4Address) -> Result<()> {
        let arp = ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr: OWN_MAC,
            source_protocol_addr: OWN,
            target_hardware_addr: to,
            target_protocol_addr: address,
        };
        let mut packet = vec![0; arp.buffer_len()];
        arp.emit(&mut ArpPacket::new_unchecked(&mut packet[..]));
        self.send_payload(EthernetProtocol::Arp, &packet)
    }

    /// Receives until `find` finds what it looks for; answers the guest's questions for this host's address.
    fn receive_until<T>(&mut self, what: &str, find: impl Fn(&[u8]) -> Option<T>) -> Result<T> {
        loop {
            let frame = self.receive().with_context(|| format!("while waiting for {what}"))?;
            if let Some(found) = find(&frame) {
                return Ok(found);
            }
            if let Some(ArpRepr::EthernetIpv4 {
                operation: ArpOperation::Request,
                source_hardware_addr,
                source_protocol_addr,
                target_protocol_addr: OWN,
                ..
            }) = arp(&frame)
            {
                self.send_arp(ArpOperation::Reply, source_hardware_addr, source_protocol_addr)?;
            }
        }
    }

    fn receive(&mut self) -> Result<Vec<u8>> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        self.incoming.recv_timeout(left).context("no frame came")
    }
}

/// Hands over every frame until the socket's end, or one that no network has.
pub fn read_frames(mut socket: UnixStream, frames: &Sender<Vec<u8>>) {
    let mut length = [0; 4];
    while socket.read_exact(&mut length).is_ok() {
        let mut frame = match usize::try_from(u32::from_be_bytes(length)) {
            Ok(length) if length <= MAXIMUM_FRAME => vec![0; length],
            _ => return,
        };
        if socket.read_exact(&mut frame).is_err() || frames.send(frame).is_err() {
            return;
        }
    }
}

/// The payload of a frame of this protocol.
fn payload_of(frame: &[u8], protocol: EthernetProtocol) -> Option<&[u8]> {
    let frame = EthernetFrame::new_checked(frame).ok()?;
    (frame.ethertype() == protocol).then(|| frame.payload())
}

fn arp(frame: &[u8]) -> Option<ArpRepr> {
    ArpRepr::parse(&ArpPacket::new_checked(payload_of(frame, EthernetProtocol::Arp)?).ok()?).ok()
}
