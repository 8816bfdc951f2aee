//! The device below a format: transport, queue and the driver's own memory.

use alloc::{rc::Rc, vec, vec::Vec};
use core::fmt;
use device::DmaRegion;
use virtio::{
    AddError, DeviceFault, DmaMemory, Notifications, Part, PciTransport, Queue, QueueError, SetupError,
    Transport, TransportFault, Used,
};

/// Room of a slot for a header, for what the driver sends behind it, and for an answer.
pub const REQUEST_BYTES: u32 = 64;
/// See [`REQUEST_BYTES`].
pub const EXTRA_BYTES: u32 = 64;
/// See [`REQUEST_BYTES`].
pub const RESPONSE_BYTES: u32 = 128;
const SLOT_BYTES: u32 = REQUEST_BYTES + EXTRA_BYTES + RESPONSE_BYTES;

/// The most requests in flight.
const SLOTS: u16 = 128;

/// The driver's own page of zeroes, and one for what is asked before there are disks; behind the slots.
const ZEROES: u32 = SLOTS as u32 * SLOT_BYTES;
const SCRATCH: u32 = ZEROES + PAGE;
const PAGE: u32 = device::PAGE_BYTES;

/// Index of the driver's own memory in the queue; buffers of queue n of the clients are n + 1.
const OWN: u8 = 0;

/// How the device reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Number of the queue that is used.
    pub queue: u16,
    /// Vector for changes of the configuration.
    pub config_vector: u16,
    /// Vector of the queue.
    pub queue_vector: u16,
    /// Whether each interrupt must be asked what it was for: a line.
    pub line: bool,
}

/// What a driver can do of what its device offers.
pub type Choose = fn(&PciTransport, u64) -> u64;

/// The driver's own memory: headers, answers, zeroes.
pub struct Headers {
    region: DmaRegion,
    memory: Rc<DmaMemory>,
}

impl Headers {
    /// Pages that it takes.
    pub const PAGES: u32 = (SCRATCH + PAGE).div_ceil(PAGE);

    /// Takes zeroed memory of [`Self::PAGES`] pages. `None` when it is smaller.
    pub fn new(region: DmaRegion) -> Option<Self> {
        let whole = region.part(0, Self::PAGES * PAGE)?;
        let bus = whole.bus();
        let memory = DmaMemory::new(whole, bus).ok()?;
        Some(Self { region, memory: Rc::new(memory) })
    }
}

/// Why the device cannot be brought up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// Its set-up failed.
    Setup(SetupError),
    /// It cannot take its interrupt vectors.
    Transport(TransportFault),
    /// Its queue cannot be used.
    Queue(QueueError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup(error) => error.fmt(f),
            Self::Transport(fault) => fault.fmt(f),
            Self::Queue(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for StartError {}

/// What the device says to a question before there are disks.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    /// The answer.
    pub answer: Vec<u8>,
    /// The data.
    pub data: Vec<u8>,
}

/// A device with one queue of requests.
pub struct Hardware {
    transport: PciTransport,
    plan: Plan,
    choose: Choose,
    headers: Headers,
    queue: Option<Queue<u16>>,
    features: u64,
}

impl Hardware {
    /// Takes a device over that was reset.
    pub fn new(transport: PciTransport, plan: Plan, choose: Choose, headers: Headers) -> Self {
        Self { transport, plan, choose, headers, queue: None, features: 0 }
    }

    /// Tells the device to reset.
    pub fn begin_reset(&mut self) {
        virtio::begin_reset(&mut self.transport);
    }

    /// Whether it is reset: it has nothing of ours any more.
    pub fn is_reset(&self) -> bool {
        virtio::is_reset(&self.transport)
    }

    /// Brings a reset device up.
    pub fn start(&mut self) -> Result<(), StartError> {
        if !self.is_reset() {
            return Err(StartError::Setup(SetupError::ResetTimeout));
        }
        // The old queue's memory is free from here on.
        self.queue = None;
        let transport = &mut self.transport;
        self.features = virtio::negotiate(transport, self.choose).map_err(StartError::Setup)?;
        transport.set_config_vector(self.plan.config_vector).map_err(StartError::Transport)?;
        let memories = vec![Rc::clone(&self.headers.memory)];
        let queue = Queue::new(transport, self.plan.queue, self.plan.queue_vector, SLOTS, memories);
        self.queue = Some(queue.map_err(StartError::Queue)?);
        virtio::finish(transport);
        Ok(())
    }

    /// The device, for its configuration.
    pub fn transport(&self) -> &PciTransport {
        &self.transport
    }

    /// The features that were accepted.
    pub fn features(&self) -> u64 {
        self.features
    }

    /// Whether the device says that it needs a reset, or is gone.
    pub fn needs_reset(&self) -> bool {
        // A device that is gone reads as all ones.
        self.transport.get_status().contains(virtio::DeviceStatus::DEVICE_NEEDS_RESET)
    }

    /// Requests that fit the queue.
    pub fn slots(&self) -> u16 {
        let parts = u16::try_from(virtio::MAXIMUM_PARTS).unwrap_or(u16::MAX);
        let size = self.queue.as_ref().map_or(0, Queue::size);
        SLOTS.min(u16::try_from(size).unwrap_or(u16::MAX) / parts)
    }

    fn at(slot: u16) -> u32 {
        u32::from(slot) * SLOT_BYTES
    }

    /// Writes a slot's header and what is sent behind it.
    pub(crate) fn write_request(&self, slot: u16, header: &[u8], extra: &[u8]) {
        // Both fit their room: they are arrays of its size.
        let _fits = self.headers.region.write(Self::at(slot), header);
        let _fits = self.headers.region.write(Self::at(slot) + REQUEST_BYTES, extra);
        // An answer that was never written is an error.
        let blank = [0xff; RESPONSE_BYTES as usize];
        let _fits = self.headers.region.write(Self::at(slot) + REQUEST_BYTES + EXTRA_BYTES, &blank);
    }

    /// A slot's answer.
    pub(crate) fn response(&self, slot: u16, bytes: u32) -> [u8; RESPONSE_BYTES as usize] {
        let mut response = [0; RESPONSE_BYTES as usize];
        if let Some(part) = response.get_mut(..bytes as usize) {
            let _inside = self.headers.region.read(Self::at(slot) + REQUEST_BYTES + EXTRA_BYTES, part);
        }
        response
    }

    pub(crate) fn header_part(slot: u16, bytes: u32) -> Part {
        Part { memory: OWN, offset: Self::at(slot), length: bytes }
    }

    pub(crate) fn extra_part(slot: u16, bytes: u32) -> Part {
        Part { memory: OWN, offset: Self::at(slot) + REQUEST_BYTES, length: bytes }
    }

    pub(crate) fn response_part(slot: u16, bytes: u32) -> Part {
        Part { memory: OWN, offset: Self::at(slot) + REQUEST_BYTES + EXTRA_BYTES, length: bytes }
    }

    pub(crate) fn zeroes_part(bytes: u32) -> Part {
        Part { memory: OWN, offset: ZEROES, length: bytes.min(PAGE) }
    }

    fn scratch_part(bytes: u32) -> Part {
        Part { memory: OWN, offset: SCRATCH, length: bytes.min(PAGE) }
    }

    /// The part of a client's buffers.
    pub(crate) fn data_part(
        &mut self,
        queue: u16,
        pool: &Rc<DmaMemory>,
        offset: u32,
        length: u32,
    ) -> Result<Part, AddError> {
        let memory = u8::try_from(queue + 1).map_err(|_| AddError::BadPart)?;
        let own = self.queue.as_mut().ok_or(AddError::Full)?;
        if !own.has_memory(memory, pool) {
            own.set_memory(memory, pool)?;
        }
        Ok(Part { memory, offset, length })
    }

    /// Gives a chain to the device.
    pub(crate) fn add(&mut self, readable: &[Part], writable: &[Part], slot: u16) -> Result<(), AddError> {
        let queue = self.queue.as_mut().ok_or(AddError::Full)?;
        queue.add(readable, writable, slot).map_err(|(error, _)| error)
    }

    /// The next slot that the device is done with.
    pub(crate) fn take_used(&mut self) -> Result<Option<Used<u16>>, DeviceFault> {
        self.queue.as_mut().map_or(Ok(None), Queue::take_used)
    }

    /// Tells the device of what was added, if it wants to be told.
    pub fn notify(&mut self) {
        if let Some(queue) = &self.queue
            && queue.must_notify()
        {
            self.transport.notify(self.plan.queue);
        }
    }

    /// Asks for interrupts or not; whether the device has used something.
    pub(crate) fn want(&mut self, notifications: Notifications) -> bool {
        self.queue.as_mut().is_some_and(|queue| {
            queue.set_notifications(notifications);
            queue.has_used()
        })
    }

    /// Takes an interrupt line down, where there is one.
    pub(crate) fn acknowledge(&mut self) {
        if self.plan.line {
            let _what = self.transport.ack_interrupt();
        }
    }

    /// Asks for one thing before there are disks: `header`, then `sent` bytes or room for `wanted` bytes of data. To be
    /// followed by [`Self::answer`].
    pub fn ask(
        &mut self,
        header: &[u8],
        response: u32,
        wanted: u32,
        order: ResponseOrder,
    ) -> Result<(), AddError> {
        let mut bytes = [0; REQUEST_BYTES as usize];
        bytes.get_mut(..header.len()).ok_or(AddError::BadPart)?.copy_from_slice(header);
        self.write_request(0, &bytes, &[]);
        // A header is at most its room.
        let header = Self::header_part(0, header.len() as u32);
        let (answer, data) = (Self::response_part(0, response), Self::scratch_part(wanted));
        match (wanted, order) {
            (0, _) => self.add(&[header], &[answer], 0)?,
            (_, ResponseOrder::First) => self.add(&[header], &[answer, data], 0)?,
            (_, ResponseOrder::Last) => self.add(&[header], &[data, answer], 0)?,
        }
        self.notify();
        Ok(())
    }

    /// The answer to what was asked, and its data, once they are there.
    pub fn answer(&mut self, response: u32, wanted: u32) -> Result<Option<Reply>, DeviceFault> {
        self.acknowledge();
        if self.take_used()?.is_none() {
            return Ok(None);
        }
        let mut data = vec![0; wanted.min(PAGE) as usize];
        let _inside = self.headers.region.read(SCRATCH, &mut data);
        let answer = self.response(0, response);
        let answer = answer.get(..response as usize).unwrap_or_default().to_vec();
        Ok(Some(Reply { answer, data }))
    }
}

/// Where the answer lies among what the device writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseOrder {
    /// Before the data.
    First,
    /// Behind it.
    Last,
}

impl Drop for Hardware {
    fn drop(&mut self) {
        self.begin_reset();
        if !self.is_reset() {
            // The device may still write to the queue's memory, so it stays until the kernel has stopped the device.
            core::mem::forget(self.queue.take());
            core::mem::forget(Rc::clone(&self.headers.memory));
        }
    }
}
