//! The NIC session as smoltcp's device: frames are read where the driver put them and written where the NIC
//! sends them from, without a copy.

use alloc::{sync::Arc, vec};
use core::num::NonZeroUsize;

use ring::{
    LayoutError, PeerFault, SharedMemory, Sleep,
    frame::{
        Buffers, ClientSide, ClientWants, FrameLayout, Offload, ReceivedFrame, SegmentBytes, SendBuffer,
    },
};
use smoltcp::{
    phy::{self, ChecksumCapabilities, DeviceCapabilities, Medium, PacketMeta},
    time::Instant,
    wire::Ipv4Address,
};

use crate::{
    doorbell::Doorbell,
    frame::finish,
    network::{ETHERNET_HEADER, Mtu},
};

/// An open session with a NIC driver.
pub struct Session<M, D> {
    /// The receive buffers, apart from the sender so that a frame can be read while its answer is written.
    buffers: Buffers<M>,
    /// The sending half and the rings.
    pub sender: Sender<M>,
    doorbell: D,
    /// The largest IP packet that fits a buffer.
    mtu: Mtu,
}

/// What the NIC does to sent frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Abilities {
    /// Nothing.
    #[default]
    None,
    /// It fills TCP and UDP checksums in.
    Checksums,
    /// That, and it cuts TCP packets into segments.
    Segments,
}

/// Bytes of the largest frame that the NIC cuts into segments, if it does that.
pub type LargestCut = Option<NonZeroUsize>;

/// Why a session cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionError {
    /// The rings do not fit the memory that the driver gave.
    Layout(LayoutError),
    /// The buffers are too small for any IP packet.
    Buffers(u32),
}

impl core::fmt::Display for SessionError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Layout(error) => error.fmt(f),
            Self::Buffers(bytes) => write!(f, "buffers of {bytes} bytes hold no IP packet"),
        }
    }
}

impl<M: SharedMemory, D: Doorbell> Session<M, D> {
    /// Starts on what `Nic.open` answered with.
    pub fn new(
        rings: &Arc<M>,
        buffers: &Arc<M>,
        layout: FrameLayout,
        abilities: Abilities,
        doorbell: D,
    ) -> Result<Self, SessionError> {
        let bytes = layout.receive_bytes().min(layout.send_bytes());
        let mtu = (bytes as usize)
            .checked_sub(ETHERNET_HEADER)
            // The largest MTU that we use is 9216, so a larger buffer is cut to it.
            .and_then(|bytes| Mtu::new(bytes.min(9216) as u16))
            .ok_or(SessionError::Buffers(bytes))?;
        let rings = ClientSide::new(rings, buffers, layout).map_err(SessionError::Layout)?;
        let buffers = rings.buffers().clone();
        let sender = Sender {
            rings,
            buffers: buffers.clone(),
            abilities,
            ready: None,
            own: None,
            exhausted: false,
            asked: None,
            fault: None,
            sent: Traffic::default(),
        };
        Ok(Self { buffers, sender, doorbell, mtu })
    }

    /// The largest IP packet that fits a buffer.
    pub fn mtu(&self) -> Mtu {
        self.mtu
    }

    /// The largest frame that the NIC cuts into segments.
    pub fn largest_cut(&self) -> LargestCut {
        let largest = NonZeroUsize::new(self.buffers.maximum_frame());
        largest.filter(|_| self.sender.abilities == Abilities::Segments)
    }

    /// The buffers, to look at a received frame.
    pub fn buffers(&self) -> &Buffers<M> {
        &self.buffers
    }

    /// Takes the next received frame, if an answer to it could be sent.
    pub fn receive(&mut self) -> Result<Option<ReceivedFrame>, PeerFault> {
        if !self.sender.make_ready() {
            return self.sender.fault.map_or(Ok(None), Err);
        }
        self.sender.rings.receive()
    }

    /// Lends the bytes of a received frame, and the sender for an answer.
    pub fn with_frame<R>(
        &mut self,
        frame: &ReceivedFrame,
        f: impl FnOnce(&[u8], &mut Sender<M>) -> R,
    ) -> Option<R> {
        let sender = &mut self.sender;
        self.buffers.with_received(frame, |bytes| f(bytes, sender))
    }

    /// Gives a frame's buffer back to the driver.
    pub fn give_back(&mut self, frame: ReceivedFrame) -> Result<(), PeerFault> {
        self.sender.rings.give_back(frame)
    }

    /// Rings the driver's doorbell if it sleeps and something was handed over.
    pub fn flush(&mut self) {
        if self.sender.rings.must_ring() {
            self.doorbell.ring();
        }
    }

    /// Asks for the own doorbell, and says whether there is still something to do.
    pub fn arm(&mut self, wants: ClientWants) -> Result<Sleep, PeerFault> {
        self.sender.rings.arm(wants)
    }
}

/// Frames and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames.
    pub frames: u64,
    /// Bytes of them, from the Ethernet header on.
    pub bytes: u64,
}

impl Traffic {
    /// Counts one frame.
    pub fn count(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
    }
}

/// Sends frames out of the session's send buffers.
pub struct Sender<M> {
    rings: ClientSide<M>,
    buffers: Buffers<M>,
    abilities: Abilities,
    /// The buffer that the next frame will be written to.
    ready: Option<SendBuffer>,
    /// The address that ARP packets name as their sender.
    own: Option<Ipv4Address>,
    /// Whether a frame could not be sent for want of a buffer since this was last cleared.
    exhausted: bool,
    /// The neighbour that smoltcp asked for last.
    asked: Option<Ipv4Address>,
    /// What the driver did wrong; the session is over.
    fault: Option<PeerFault>,
    /// What was sent since this was last taken.
    sent: Traffic,
}

impl<M: SharedMemory> Sender<M> {
    /// Sets the address that ARP packets name as their sender.
    pub fn set_own_address(&mut self, own: Option<Ipv4Address>) {
        self.own = own;
    }

    /// Whether a frame can be sent now.
    #[inline]
    pub fn make_ready(&mut self) -> bool {
        if self.ready.is_none() {
            match self.rings.take_send_buffer() {
                Ok(buffer) => self.ready = buffer,
                Err(fault) => self.fault = Some(fault),
            }
        }
        self.ready.is_some() && self.fault.is_none()
    }

    /// What the driver did wrong, if it did.
    pub fn fault(&self) -> Option<PeerFault> {
        self.fault
    }

    /// Whether a frame could not be sent since the last call.
    pub fn take_exhausted(&mut self) -> bool {
        core::mem::take(&mut self.exhausted)
    }

    /// The neighbour that smoltcp asked for since the last call.
    pub fn take_asked(&mut self) -> Option<Ipv4Address> {
        self.asked.take()
    }

    /// Sends a small frame that is complete already. Lost when there is no room.
    pub fn send_copy(&mut self, frame: &[u8]) {
        if self.make_ready()
            && let Some(mut buffer) = self.ready.take()
        {
            let length = self.buffers.copy_to_send(&mut buffer, frame).map_or(0, |()| frame.len());
            self.hand_over(buffer, length, Offload::None);
        }
    }

    /// What was sent since the last call.
    pub fn take_sent(&mut self) -> Traffic {
        core::mem::take(&mut self.sent)
    }

    #[inline]
    fn hand_over(&mut self, buffer: SendBuffer, length: usize, offload: Offload) {
        match self.rings.send_offloaded(buffer, length, offload) {
            Ok(()) => self.sent.count(length),
            Err(fault) => self.fault = Some(fault),
        }
    }

    /// Has `write` fill a frame of `length` bytes in a send buffer, and sends it, cut into `segments`.
    fn send<R>(
        &mut self,
        length: usize,
        segments: Option<SegmentBytes>,
        write: impl FnOnce(&mut [u8]) -> R,
    ) -> R {
        let (own, abilities) = (self.own, self.abilities);
        let buffer = if length <= self.buffers.maximum_frame() { self.ready.take() } else { None };
        let Some(mut buffer) = buffer else {
            // Cannot happen while the interface keeps to the MTU; the frame is lost then, as any frame may be.
            self.exhausted = true;
            return write(&mut vec![0; length]);
        };
        let (result, finished) = self
            .buffers
            .with_send(&mut buffer, length, |bytes| (write(bytes), finish(bytes, own, abilities, segments)))
            .expect("the length was checked against the buffer's");
        self.asked = finished.asked.or(self.asked);
        self.hand_over(buffer, length, finished.offload);
        result
    }
}

/// smoltcp's device for one step: with a frame to process, or without, for sending.
pub struct Step<'a, M> {
    /// The frame to process, until it was.
    pub frame: Option<&'a [u8]>,
    /// Where frames go; none while there is no NIC.
    pub sender: Option<&'a mut Sender<M>>,
    /// Largest IP packet to send.
    pub mtu: Mtu,
    /// Larger TCP packets are for the NIC to cut.
    pub largest_cut: LargestCut,
}

impl<M: SharedMemory> phy::Device for Step<'_, M> {
    type RxToken<'b>
        = Received<'b>
    where
        Self: 'b;
    type TxToken<'b>
        = Sending<'b, M>
    where
        Self: 'b;

    fn receive(&mut self, _now: Instant) -> Option<(Received<'_>, Sending<'_, M>)> {
        let sender = self.sender.as_deref_mut()?;
        Some((Received(self.frame.take()?), Sending { sender, segments: None }))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Sending<'_, M>> {
        let sender = self.sender.as_deref_mut()?;
        if sender.make_ready() {
            return Some(Sending { sender, segments: None });
        }
        sender.exhausted = true;
        None
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = usize::from(self.mtu.bytes()) + ETHERNET_HEADER;
        // Verified by `frame::classify` and filled in by `frame::finish`.
        capabilities.checksum = ChecksumCapabilities::ignored();
        capabilities.segmentation.tcpv4 = self.largest_cut;
        capabilities
    }
}

/// The right to read one frame.
pub struct Received<'a>(&'a [u8]);

impl phy::RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// The right to send one frame.
pub struct Sending<'a, M> {
    sender: &'a mut Sender<M>,
    segments: Option<SegmentBytes>,
}

impl<M: SharedMemory> phy::TxToken for Sending<'_, M> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        self.sender.send(length, self.segments, f)
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        // A segment is no larger than the MTU.
        self.segments = meta.segmentation_offload_size.and_then(|bytes| SegmentBytes::new(bytes.get()));
    }
}
