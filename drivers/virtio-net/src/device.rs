//! The device with its session: everything that the driver does without waiting.

use crate::{
    init::{self, Session, StartError, State},
    offload::Offloads,
    queue::Moved,
    regs::{self, Facts, Link},
    watch::Sight,
};
use alloc::{rc::Rc, sync::Arc};
use core::fmt;
use ring::{
    PeerFault, SharedMemory, Sleep,
    frame::{FrameLayout, NicWants},
};
use virtio::{
    AddError, DeviceFault, DeviceStatus, DmaMemory, InterruptPlan, Notifications, PciTransport, SetupError,
    Transport,
};

/// What has passed since the driver started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames handed to clients.
    pub received_frames: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Frames given to the device.
    pub sent_frames: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Frames dropped because the device gave a bad length.
    pub receive_errors: u64,
    /// Descriptors from clients that named a bad place or length.
    pub send_errors: u64,
}

/// Why a session ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client broke the rings' protocol.
    Client(PeerFault),
    /// The device broke the queues' protocol.
    Device(DeviceFault),
    /// The device asks to be reset.
    NeedsReset,
    /// The device is not in the state that it was brought to.
    Stopped,
    /// The device uses buffers, and its interrupts do not come.
    Silent,
    /// The device does not send what it was given.
    Stalled,
    /// This driver gave a queue what it cannot take.
    Internal(AddError),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(fault) => write!(f, "client: {fault}"),
            Self::Device(fault) => fault.fmt(f),
            Self::NeedsReset => write!(f, "the device asks to be reset"),
            Self::Stopped => write!(f, "the device has stopped"),
            Self::Silent => write!(f, "the device's interrupts do not come"),
            Self::Stalled => write!(f, "the device sends nothing"),
            Self::Internal(error) => write!(f, "a queue refused its own buffers: {error:?}"),
        }
    }
}

impl core::error::Error for Fault {}

impl From<PeerFault> for Fault {
    fn from(fault: PeerFault) -> Self {
        Self::Client(fault)
    }
}

impl From<DeviceFault> for Fault {
    fn from(fault: DeviceFault) -> Self {
        Self::Device(fault)
    }
}

/// Whether a turn left something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// There may be more: take another turn.
    More,
    /// Nothing: both sides will signal.
    None,
}

/// What a turn asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Whether to go on.
    pub work: Work,
    /// Whether the client's doorbell is to be rung.
    pub ring: bool,
}

/// One virtio network device. `M` is the memory of the rings that are shared with its client.
pub struct Device<M> {
    transport: PciTransport,
    interrupts: InterruptPlan,
    headers: Rc<DmaMemory>,
    state: State<M>,
    facts: Facts,
    counters: Counters,
    /// Signals were asked for, and none has been heard since.
    asleep: bool,
}

impl<M: SharedMemory> Device<M> {
    /// Takes a device over and tells it to reset; what it did before is unknown. `headers` is one zeroed page that
    /// only driver and device reach.
    pub fn new(mut transport: PciTransport, interrupts: InterruptPlan, headers: DmaMemory) -> Self {
        virtio::begin_reset(&mut transport);
        Self {
            transport,
            interrupts,
            headers: Rc::new(headers),
            state: State::Resetting(None),
            facts: Facts { features: 0, mac: None, mtu: crate::spec::DEFAULT_MTU, link: Link::Down },
            counters: Counters::default(),
            asleep: false,
        }
    }

    /// Tells the device to reset, which ends a session.
    pub fn begin_reset(&mut self) {
        virtio::begin_reset(&mut self.transport);
        self.state = match core::mem::replace(&mut self.state, State::Idle) {
            State::Resetting(session) => State::Resetting(session),
            State::Live(session) => State::Resetting(Some(session)),
            State::Idle => State::Resetting(None),
        };
    }

    /// Whether the device has come out of reset; to be asked again after a pause if not.
    pub fn is_reset(&self) -> bool {
        virtio::is_reset(&self.transport)
    }

    /// Negotiates features with a reset device, and reads what it says about itself. The memory of the last session is let go.
    pub fn prepare(&mut self) -> Result<Facts, SetupError> {
        if !self.is_reset() {
            return Err(SetupError::ResetTimeout);
        }
        self.state = State::Resetting(None);
        let features = virtio::negotiate(&mut self.transport, regs::choose)?;
        self.facts = regs::read_facts(&self.transport, features)?;
        self.state = State::Idle;
        Ok(self.facts)
    }

    /// The buffers that a session should have, `halvings` times fewer than planned.
    pub fn plan(&mut self, halvings: u32) -> Result<FrameLayout, StartError> {
        match self.state {
            State::Idle => init::plan(&mut self.transport, &self.facts, halvings),
            State::Resetting(_) | State::Live(_) => Err(StartError::NotIdle),
        }
    }

    /// Starts a session on new, zeroed `rings`, and on `buffers` that are the session's alone while it lasts.
    pub fn start(
        &mut self,
        layout: FrameLayout,
        rings: &Arc<M>,
        buffers: &Rc<DmaMemory>,
    ) -> Result<(), StartError> {
        let State::Idle = self.state else { return Err(StartError::NotIdle) };
        let transport = &mut self.transport;
        let memories = [&self.headers, buffers];
        match init::start(transport, self.interrupts, &self.facts, layout, rings, memories) {
            Ok(session) => {
                virtio::finish(transport);
                self.state = State::Live(session);
                Ok(())
            }
            Err(error) => {
                // Queues may be half set up.
                self.begin_reset();
                Err(error)
            }
        }
    }

    /// Moves what there is to move, within bounds, and asks for signals when there was nothing. Without a session there
    /// is never anything.
    // Not inlined among what is rare, so that what frames need lies together.
    #[inline(never)]
    pub fn turn(&mut self) -> Result<Turn, Fault> {
        let State::Live(session) = &mut self.state else { return Ok(Turn { work: Work::None, ring: false }) };
        // What is to be sent comes first: the network is at work with it while the rest is done.
        let sent = session.submit(&mut self.transport, &mut self.counters)?;
        let received = session.receive.pass(&mut session.side, &mut self.counters)?;
        if received.submitted {
            session.receive.signals().notify(&mut self.transport);
        }
        // Buffers of sent frames go back after the next frames, which is soon enough while the client has others.
        let returned = if sent.submitted || session.is_crowded() {
            session.send.give_back(&mut session.side)?
        } else {
            Moved::default()
        };
        let ring = session.side.must_ring();
        // To arm is to look again, so there is no need for a turn that finds nothing.
        let full = sent.is_full() || received.is_full() || returned.is_full();
        let work = if full { Work::More } else { session.arm()? };
        self.asleep = work == Work::None;
        Ok(Turn { work, ring })
    }

    /// Gives the device what the client still has to send, and receives nothing; how many frames have not left yet.
    pub fn drain(&mut self) -> Result<usize, Fault> {
        let State::Live(session) = &mut self.state else { return Ok(0) };
        session.submit(&mut self.transport, &mut self.counters)?;
        session.send.give_back(&mut session.side)?;
        Ok(session.send.in_flight())
    }

    /// Asks for no signals, at the start of a run of turns.
    pub fn wake(&mut self) {
        self.asleep = false;
        if let State::Live(session) = &mut self.state {
            session.disarm();
        }
    }

    /// Looks at the link and at the device's health, after an interrupt that says that something changed.
    pub fn look(&mut self) -> Result<Link, Fault> {
        if self.transport.get_status().contains(DeviceStatus::DEVICE_NEEDS_RESET) {
            return Err(Fault::NeedsReset);
        }
        if let Some(link) = regs::read_link(&self.transport, self.facts.features) {
            self.facts.link = link;
        }
        Ok(self.facts.link)
    }

    /// Looks at a device that may have stopped, and takes what it has sent. `None` without a session.
    pub fn sight(&mut self) -> Result<Option<Sight>, Fault> {
        let State::Live(session) = &mut self.state else { return Ok(None) };
        let status = self.transport.get_status();
        if status.contains(DeviceStatus::DEVICE_NEEDS_RESET) {
            return Err(Fault::NeedsReset);
        }
        if !status.contains(DeviceStatus::DRIVER_OK) {
            return Err(Fault::Stopped);
        }
        let returned = session.send.give_back(&mut session.side)?.frames > 0;
        Ok(Some(Sight {
            used: self.asleep && session.receive.signals().has_used(),
            returned,
            sending: session.send.in_flight() > 0,
            // At least as many were given to it as it has.
            sent: self.counters.sent_frames.saturating_sub(session.send.in_flight() as u64),
        }))
    }

    /// Reads and clears the interrupt status; only for a device without MSI-X.
    pub fn acknowledge(&mut self) -> virtio::InterruptStatus {
        self.transport.ack_interrupt()
    }

    /// What the device does for its client.
    pub fn offloads(&self) -> Offloads {
        Offloads::of(self.facts.features)
    }

    /// What the device said about itself.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What has passed.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whether it is ready for a session.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }
}

impl<M: SharedMemory> Session<M> {
    /// Asks both sides for signals, then looks again: the work-arm-re-check-sleep protocol on all six queues.
    fn arm(&mut self) -> Result<Work, Fault> {
        self.receive.signals().want(Notifications::Wanted);
        // Sent frames need no interrupt while the client has buffers.
        let crowded = self.is_crowded();
        self.send.signals().want(if crowded { Notifications::Wanted } else { Notifications::Unwanted });
        // Free buffers likewise, while the device has half of them.
        let scarce = self.receive.posted() * 2 < self.side.layout().receive_buffers() as usize;
        let wants = if scarce { NicWants::SendAndFree } else { NicWants::Send };
        let sleep = self.side.arm(wants)?;
        let used = self.receive.signals().has_used() || (crowded && self.send.signals().has_used());
        if sleep == Sleep::Allowed && !used {
            return Ok(Work::None);
        }
        self.disarm();
        Ok(Work::More)
    }

    /// Gives the client's next frames to the device, and tells it.
    #[inline]
    fn submit(&mut self, transport: &mut PciTransport, counters: &mut Counters) -> Result<Moved, Fault> {
        let sent = self.send.submit(&mut self.side, counters)?;
        if sent.submitted {
            self.send.signals().notify(transport);
        }
        Ok(sent)
    }

    /// Whether the device has half of the buffers for sending or more: the client could wait for them.
    fn is_crowded(&self) -> bool {
        self.send.in_flight() * 2 >= self.side.layout().send_buffers() as usize
    }

    fn disarm(&mut self) {
        self.side.disarm();
        self.receive.signals().want(Notifications::Unwanted);
        self.send.signals().want(Notifications::Unwanted);
    }
}

impl<M> Drop for Device<M> {
    fn drop(&mut self) {
        virtio::begin_reset(&mut self.transport);
        if !virtio::is_reset(&self.transport) {
            // The device may still write to the session's memory, so it stays until the kernel has stopped the device.
            core::mem::forget(core::mem::replace(&mut self.state, State::Idle));
        }
    }
}
