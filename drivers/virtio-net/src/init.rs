//! Bringing the device up, and down again.
//!
//! ```text
//!                    begin_reset                 prepare                  start
//!   (any state) -------------------> Resetting ------------> Idle ---------------------> Live
//!                                        ^     device is       ^  queues, DRIVER_OK        |
//!                                        |     reset           |                           |
//!                                        `---- begin_reset ----+--------- begin_reset -----'
//! ```
//!
//! A session ends by a reset of the whole device: virtio has no other way to take buffers back. Its memory is held until
//! the device says that it is reset.

use crate::{
    offload::{Offloads, Receiving, Sending},
    queue::{DESCRIPTORS_PER_FRAME, HEADERS_BYTES, ReceiveQueue, SendQueue},
    regs::Facts,
    spec::{ETHERNET_HEADER_BYTES, MAXIMUM_MTU, RECEIVE_QUEUE, SEND_QUEUE, VLAN_TAG_BYTES},
};
use alloc::{rc::Rc, sync::Arc};
use core::fmt;
use ring::{
    LayoutError, SharedMemory,
    frame::{FrameLayout, MERGED_BYTES, NicSide},
};
use virtio::{DmaMemory, InterruptPlan, PciTransport, QueueError, SetupError, Transport, TransportFault};

/// The most buffers of each kind.
pub const MAXIMUM_BUFFERS: u32 = 128;
/// The fewest that are worth while.
const MINIMUM_BUFFERS: u32 = 2;
/// Memory for the buffers of one kind, where the fewest buffers do not need more.
const WHOLE_BYTES: u32 = 256 << 10;
/// The same for receive buffers that hold merged segments, and for send buffers that hold packets to be cut.
const MERGED_TOTAL: u32 = 32 * MERGED_BYTES;
const SEGMENTS_TOTAL: u32 = 32 * SEGMENTS_BYTES;
/// Bytes of a send buffer for a packet that the device cuts into segments: some forty of Ethernet's.
const SEGMENTS_BYTES: u32 = MERGED_BYTES;
/// Bytes of a page.
const PAGE_BYTES: u32 = 4096;
/// Smallest buffer: a full Ethernet frame, and a power of two.
const MINIMUM_BUFFER_BYTES: u32 = 2048;

/// A session's hold on the device.
pub struct Session<M> {
    /// The rings that are shared with the client.
    pub side: NicSide<M>,
    /// Virtqueue 0.
    pub receive: ReceiveQueue,
    /// Virtqueue 1.
    pub send: SendQueue,
}

/// Where the device stands.
pub enum State<M> {
    /// It was told to reset; it may still use the memory of its last session.
    Resetting(Option<Session<M>>),
    /// Features are negotiated, no queues are set up.
    Idle,
    /// It works.
    Live(Session<M>),
}

/// Why a session cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// The device is not in a state to start.
    NotIdle,
    /// The device's bring-up failed.
    Setup(SetupError),
    /// The device cannot take its interrupt vectors.
    Transport(TransportFault),
    /// The device's queues cannot be used.
    Queue(QueueError),
    /// The memory does not fit the layout.
    Layout(LayoutError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotIdle => write!(f, "the device is being reset"),
            Self::Setup(error) => error.fmt(f),
            Self::Transport(fault) => fault.fmt(f),
            Self::Queue(error) => error.fmt(f),
            Self::Layout(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for StartError {}

impl From<SetupError> for StartError {
    fn from(error: SetupError) -> Self {
        Self::Setup(error)
    }
}

impl From<QueueError> for StartError {
    fn from(error: QueueError) -> Self {
        Self::Queue(error)
    }
}

impl From<LayoutError> for StartError {
    fn from(error: LayoutError) -> Self {
        Self::Layout(error)
    }
}

/// DMA memory that a device needs, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// For the queues, as one arena.
    pub arena: u32,
    /// For virtio headers.
    pub headers: u32,
    /// For the buffers of one session, at the most.
    pub buffers: u32,
}

impl Needs {
    /// Looks at the queues of a reset device.
    pub fn of(transport: &mut PciTransport) -> Self {
        let mut pages = |queue| {
            let size = u16::try_from(transport.max_queue_size(queue)).unwrap_or(u16::MAX);
            virtio::arena_pages(size)
        };
        // Queues have at most 65535 descriptors: the sum is far below 2^32.
        let arena = (pages(RECEIVE_QUEUE) + pages(SEND_QUEUE)) as u32;
        Self {
            arena,
            headers: HEADERS_BYTES.div_ceil(PAGE_BYTES),
            buffers: (MERGED_TOTAL + SEGMENTS_TOTAL).div_ceil(PAGE_BYTES),
        }
    }

    /// All of it.
    pub const fn total(&self) -> u32 {
        self.arena + self.headers + self.buffers
    }
}

/// The largest frame on a network with this MTU.
pub const fn largest_frame(mtu: u16) -> u32 {
    mtu as u32 + ETHERNET_HEADER_BYTES + VLAN_TAG_BYTES
}

/// The buffers of a session: as many as fit the planned memory and the device's queues, `halvings` times halved.
pub fn plan(transport: &mut PciTransport, facts: &Facts, halvings: u32) -> Result<FrameLayout, StartError> {
    let whole = largest_frame(facts.mtu).max(MINIMUM_BUFFER_BYTES).next_multiple_of(64);
    let Offloads { sending, receiving } = Offloads::of(facts.features);
    let (receive_bytes, receive_total) =
        if receiving == Receiving::Merged { (MERGED_BYTES, MERGED_TOTAL) } else { (whole, WHOLE_BYTES) };
    let (send_bytes, send_total) =
        if sending == Sending::Segments { (SEGMENTS_BYTES, SEGMENTS_TOTAL) } else { (whole, WHOLE_BYTES) };
    let mut count = |queue, total: u32, bytes: u32| {
        let most = (total / bytes).clamp(MINIMUM_BUFFERS, MAXIMUM_BUFFERS) >> halvings.min(31);
        let descriptors = transport.max_queue_size(queue);
        let frames = most.max(MINIMUM_BUFFERS).min(descriptors / u32::from(DESCRIPTORS_PER_FRAME));
        // The largest power of two that is not above it; 0 for a device without the queue.
        if frames == 0 { 0 } else { 1 << frames.ilog2() }
    };
    let receive = count(RECEIVE_QUEUE, receive_total, receive_bytes);
    let send = count(SEND_QUEUE, send_total, send_bytes);
    Ok(FrameLayout::new(receive, send, receive_bytes)?.with_send_bytes(send_bytes)?)
}

const _: () = assert!(largest_frame(MAXIMUM_MTU) <= SEGMENTS_BYTES && SEGMENTS_BYTES <= MERGED_BYTES);

/// Sets up vectors and queues of a negotiated device.
pub fn start<M: SharedMemory>(
    transport: &mut PciTransport,
    interrupts: InterruptPlan,
    facts: &Facts,
    layout: FrameLayout,
    rings: &Arc<M>,
    [headers, buffers]: [&Rc<DmaMemory>; 2],
) -> Result<Session<M>, StartError> {
    let needed = layout.buffers_bytes();
    if (buffers.size() as usize) < needed {
        return Err(LayoutError::MemoryTooSmall { needed, actual: buffers.size() as usize }.into());
    }
    transport.set_config_vector(interrupts.config_vector()).map_err(StartError::Transport)?;
    let vector = interrupts.queue_vector();
    let Offloads { sending, receiving } = Offloads::of(facts.features);
    let largest = largest_frame(facts.mtu);
    let merged = if receiving == Receiving::Merged { layout.receive_bytes() } else { largest };
    // A `FrameLayout` has at most 4096 buffers of each kind.
    let (receive, send) = (layout.receive_buffers() as u16, layout.send_buffers() as u16);
    Ok(Session {
        side: NicSide::new(rings, layout)?,
        receive: ReceiveQueue::new(transport, vector, receive, [headers, buffers], (receiving, merged))?,
        send: SendQueue::new(transport, vector, send, [headers, buffers], (sending, largest))?,
    })
}
