//! The two virtqueues of a session, and what may go through them.
//!
//! Each frame takes two descriptors: the virtio header, in the driver's own memory, and the frame, in a buffer
//! that is shared with the client.

use crate::{
    device::{Counters, Fault},
    init::MAXIMUM_BUFFERS,
    offload::{self, HEADER_STRIDE, Receiving, Sending},
    spec::{ETHERNET_HEADER_BYTES, HEADER_BYTES, LEGACY_HEADER_BYTES, RECEIVE_QUEUE, SEND_QUEUE},
};
use alloc::{rc::Rc, vec};
use ring::{
    SharedMemory,
    frame::{NicSide, ReceiveBuffer, SendFrame},
};
use virtio::{DmaMemory, Notifications, Part, PciTransport, Queue, QueueError, Transport, Used};

/// Bytes of the driver's own memory for headers.
pub const HEADERS_BYTES: u32 = 2 * MAXIMUM_BUFFERS * HEADER_STRIDE;

/// Where the headers of frames to send are, which only the device reads.
const SEND_HEADERS: u32 = 0;
/// Where the headers of received frames go.
const RECEIVE_HEADERS: u32 = MAXIMUM_BUFFERS * HEADER_STRIDE;

/// Index of the headers' and the buffers' memory in the queues.
const HEADERS: u8 = 0;
const BUFFERS: u8 = 1;

/// Descriptors that one frame takes.
pub const DESCRIPTORS_PER_FRAME: u16 = 2;

/// The most frames that one pass moves in each direction, so that no side waits long for the other.
const BUDGET: usize = 64;

/// Bytes of a header; there is nothing of use behind those of a legacy device's.
fn header_bytes(transport: &PciTransport) -> u32 {
    if transport.requires_legacy_layout() { LEGACY_HEADER_BYTES } else { HEADER_BYTES }
}

/// What one pass over a queue did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Frames that went through.
    pub frames: usize,
    /// Whether the device got new descriptors.
    pub submitted: bool,
}

impl Moved {
    /// Whether the pass ended for its budget, with more to do.
    pub fn is_full(&self) -> bool {
        self.frames >= BUDGET
    }
}

/// Receive buffers on their way through the device.
pub struct ReceiveQueue {
    queue: Queue<ReceiveBuffer>,
    headers: Rc<DmaMemory>,
    header_bytes: u32,
    receiving: Receiving,
    /// The largest frame that the device may claim.
    largest: u32,
}

impl ReceiveQueue {
    /// Sets the queue up for so many buffers.
    pub fn new(
        transport: &mut PciTransport,
        vector: u16,
        buffers: u16,
        [headers, memory]: [&Rc<DmaMemory>; 2],
        (receiving, largest): (Receiving, u32),
    ) -> Result<Self, QueueError> {
        let memories = vec![Rc::clone(headers), Rc::clone(memory)];
        let header_bytes = header_bytes(transport);
        let queue = Queue::new(transport, RECEIVE_QUEUE, vector, buffers, memories)?;
        Ok(Self { queue, headers: Rc::clone(headers), header_bytes, receiving, largest })
    }

    /// Hands received frames to the client and gives free buffers to the device.
    pub fn pass<M: SharedMemory>(
        &mut self,
        side: &mut NicSide<M>,
        counters: &mut Counters,
    ) -> Result<Moved, Fault> {
        let mut moved = Moved::default();
        while moved.frames < BUDGET {
            let Some(used) = self.queue.take_used()? else { break };
            moved.frames += 1;
            match self.frame_length(&used) {
                Some(length) => {
                    counters.received_frames += 1;
                    counters.received_bytes += u64::from(length);
                    let header = receive_header(&used.tag);
                    let checksum = offload::read_header(&self.headers, header, self.receiving);
                    side.deliver(used.tag, 0, length, checksum)?;
                }
                None => {
                    counters.receive_errors += 1;
                    self.post(used.tag)?;
                    moved.submitted = true;
                }
            }
        }
        // The ring holds no more than there are buffers, so this ends.
        while let Some(buffer) = side.take_free()? {
            self.post(buffer)?;
            moved.submitted = true;
        }
        Ok(moved)
    }

    /// Length of a received frame, unless the device claims one that cannot be.
    fn frame_length(&self, used: &Used<ReceiveBuffer>) -> Option<u32> {
        let length = used.claimed.checked_sub(self.header_bytes)?;
        let fits = (ETHERNET_HEADER_BYTES..=self.largest).contains(&length);
        (used.claimed <= used.room && fits).then_some(length)
    }

    #[inline]
    fn post(&mut self, buffer: ReceiveBuffer) -> Result<(), Fault> {
        let range = buffer.range();
        let header = Part { memory: HEADERS, offset: receive_header(&buffer), length: self.header_bytes };
        let frame = Part { memory: BUFFERS, offset: range.start, length: range.end - range.start };
        // There are at least as many descriptors as all buffers need: a failure is an error of this driver.
        self.queue.add(&[], &[header, frame], buffer).map_err(|(error, _)| Fault::Internal(error))
    }

    /// Buffers that the device can still fill.
    pub fn posted(&self) -> usize {
        self.queue.in_flight()
    }

    /// The virtqueue, for its signals.
    pub fn signals(&mut self) -> &mut dyn Signals {
        &mut self.queue
    }
}

/// Frames on their way out through the device.
pub struct SendQueue {
    queue: Queue<SendFrame>,
    headers: Rc<DmaMemory>,
    header_bytes: u32,
    sending: Sending,
    /// The largest frame that the network takes.
    largest: u32,
}

impl SendQueue {
    /// Sets the queue up for so many frames.
    pub fn new(
        transport: &mut PciTransport,
        vector: u16,
        frames: u16,
        [headers, memory]: [&Rc<DmaMemory>; 2],
        (sending, largest): (Sending, u32),
    ) -> Result<Self, QueueError> {
        let memories = vec![Rc::clone(headers), Rc::clone(memory)];
        let header_bytes = header_bytes(transport);
        let queue = Queue::new(transport, SEND_QUEUE, vector, frames, memories)?;
        Ok(Self { queue, headers: Rc::clone(headers), header_bytes, sending, largest })
    }

    /// Gives the buffers of sent frames back to the client.
    #[inline]
    pub fn give_back<M: SharedMemory>(&mut self, side: &mut NicSide<M>) -> Result<Moved, Fault> {
        let mut moved = Moved::default();
        while moved.frames < BUDGET {
            let Some(used) = self.queue.take_used()? else { break };
            moved.frames += 1;
            side.finish_send(used.tag)?;
        }
        Ok(moved)
    }

    /// Gives the client's next frames to the device.
    #[inline]
    pub fn submit<M: SharedMemory>(
        &mut self,
        side: &mut NicSide<M>,
        counters: &mut Counters,
    ) -> Result<Moved, Fault> {
        let mut moved = Moved::default();
        while moved.frames < BUDGET {
            let Some(frame) = side.take_send().inspect_err(|_| counters.send_errors += 1)? else { break };
            moved.frames += 1;
            let range = frame.range();
            let length = range.end - range.start;
            if !offload::is_possible(&frame, self.sending, ETHERNET_HEADER_BYTES..self.largest + 1) {
                // Inside its buffer, but nothing that device and network take.
                counters.send_errors += 1;
                side.finish_send(frame)?;
                continue;
            }
            // Each buffer has its own header, and the device is done with that once the buffer is free.
            let offset = SEND_HEADERS + frame.number() * HEADER_STRIDE;
            offload::write_header(&self.headers, offset, frame.offload());
            let header = Part { memory: HEADERS, offset, length: self.header_bytes };
            let part = Part { memory: BUFFERS, offset: range.start, length };
            // As in `ReceiveQueue::post`.
            self.queue.add(&[header, part], &[], frame).map_err(|(error, _)| Fault::Internal(error))?;
            moved.submitted = true;
            counters.sent_frames += 1;
            counters.sent_bytes += u64::from(length);
        }
        Ok(moved)
    }

    /// Frames that the device has not sent yet, or not told so.
    pub fn in_flight(&self) -> usize {
        self.queue.in_flight()
    }

    /// The virtqueue, for its signals.
    pub fn signals(&mut self) -> &mut dyn Signals {
        &mut self.queue
    }
}

/// Where the header of a buffer's frame goes.
fn receive_header(buffer: &ReceiveBuffer) -> u32 {
    RECEIVE_HEADERS + buffer.number() * HEADER_STRIDE
}

/// The signals between driver and device on one virtqueue.
pub trait Signals {
    /// Tells the device of new descriptors if it wants to be told.
    fn notify(&mut self, transport: &mut PciTransport);
    /// Asks for interrupts, or not.
    fn want(&mut self, notifications: Notifications);
    /// Whether the device has used something.
    fn has_used(&self) -> bool;
}

impl<T> Signals for Queue<T> {
    fn notify(&mut self, transport: &mut PciTransport) {
        if self.must_notify() {
            transport.notify(self.index());
        }
    }

    fn want(&mut self, notifications: Notifications) {
        self.set_notifications(notifications);
    }

    fn has_used(&self) -> bool {
        Queue::has_used(self)
    }
}
