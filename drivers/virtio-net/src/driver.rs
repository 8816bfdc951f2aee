//! The life of sessions: one at a time, each on rings of its own, ended by its client, by the next one or by a fault.
//!
//! The buffers are the same in all sessions, and zeroed between them: DMA memory goes back to the kernel only with the
//! whole device, since nobody else can know when the device has let go of it.

use crate::{
    Counters, Device, Fault, StartError,
    device::Work,
    interrupts::{Bells, Wake},
    offload::Sending,
    regs::Link,
    watch::Watch,
};
use alloc::{format, rc::Rc};
use capnp::{Error, ErrorKind};
use core::{cell::Cell, cell::RefCell, time::Duration};
use ring::frame::FrameLayout;
use rt::memory::{Mapping, Protection};
use schema::{device_capnp::dma_pool, ipc_capnp::signaller, memory_capnp::memory_object};
use tasks::{Event, Turnstile};
use virtio::{DmaMemory, InterruptPlan, InterruptStatus, PciTransport, SetupError};

/// How long a device may take to reset. [VIRTIO-1.2] sets no limit; this is far above any device's need.
const RESET_ATTEMPTS: u32 = 1000;
/// Between two looks at a device that resets.
const RESET_PAUSE: Duration = Duration::from_millis(1);
/// How often the planned buffers are halved when memory is short.
const MAXIMUM_HALVINGS: u32 = 3;
/// Between two looks whether the device still works.
const WATCH: Duration = Duration::from_millis(500);
/// How long a session that its client ends may take until its last frames have left, and between two looks.
const DRAIN: Duration = Duration::from_millis(200);
const DRAIN_PAUSE: Duration = Duration::from_millis(1);
/// Turns that the data path takes before other tasks get theirs.
const TURNS: u32 = 8;

/// The driver of one device.
pub struct Driver {
    device: RefCell<Device<Mapping>>,
    bells: Bells,
    buffers: Buffers,
    mac: [u8; 6],
    /// One session is set up or ended at a time.
    setup: Turnstile,
    session: RefCell<Option<Session>>,
    last_number: Cell<u64>,
    link: Cell<Link>,
    /// What the watch found wrong with the device, until the data path hears it.
    found: Cell<Option<Fault>>,
    /// A change of `link`, of `session` or of `failure`.
    changed: Event,
    failure: RefCell<Option<Error>>,
}

/// The memory of all sessions' buffers.
struct Buffers {
    layout: FrameLayout,
    dma: Rc<DmaMemory>,
    memory: memory_object::Client,
}

/// The session that is on.
struct Session {
    number: SessionNumber,
    doorbell: rt::Doorbell,
}

/// Which session of this driver's life it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionNumber(u64);

/// What a client gets for a new session.
pub struct Opened {
    /// Its number.
    pub number: SessionNumber,
    /// The rings.
    pub rings: memory_object::Client,
    /// The buffers.
    pub buffers: memory_object::Client,
    /// How many of which size.
    pub layout: FrameLayout,
    /// What the device does to sent frames.
    pub sending: Sending,
    /// The driver's doorbell.
    pub doorbell: signaller::Client,
}

/// What the device is and how it is doing.
pub struct Status {
    /// MAC address.
    pub mac: [u8; 6],
    /// Largest IP packet.
    pub mtu: u16,
    /// Link status.
    pub link: Link,
    /// Frames and errors.
    pub counters: Counters,
    /// Interrupts that were seen.
    pub interrupts: u64,
}

impl Driver {
    /// Brings a device up that was told to reset.
    pub async fn new(
        mut device: Device<Mapping>,
        bells: Bells,
        pool: &dma_pool::Client,
    ) -> Result<Rc<Self>, Error> {
        until_reset(|| device.is_reset()).await;
        let facts = device.prepare().map_err(|error| Error::failed(format!("{error}")))?;
        let buffers = open_buffers(&mut device, pool).await?;
        Ok(Rc::new(Self {
            device: RefCell::new(device),
            bells,
            buffers,
            mac: facts.mac.unwrap_or_else(random_mac),
            setup: Turnstile::default(),
            session: RefCell::new(None),
            last_number: Cell::new(0),
            link: Cell::new(facts.link),
            found: Cell::new(None),
            changed: Event::default(),
            failure: RefCell::new(None),
        }))
    }

    /// What the device is and how it is doing.
    pub fn status(&self) -> Status {
        let device = self.device.borrow();
        Status {
            mac: self.mac,
            mtu: device.facts().mtu,
            link: self.link.get(),
            counters: *device.counters(),
            interrupts: self.bells.seen(),
        }
    }

    /// Starts a session whose client is woken by `doorbell`, after ending the one before.
    pub async fn open(self: &Rc<Self>, doorbell: signaller::Client) -> Result<Opened, Error> {
        let _pass = self.setup.enter().await;
        self.end().await?;
        let opened = self.start(doorbell).await;
        if opened.is_err() {
            // What was begun of it is undone, so that the next try finds the device as this one did.
            self.end().await?;
        }
        opened
    }

    /// Ends this session, if it is still on, once its frames have left.
    pub async fn close(&self, number: SessionNumber) {
        let _pass = self.setup.enter().await;
        if !self.is_on(number) {
            return;
        }
        self.drain().await;
        if let Err(error) = self.end().await {
            self.fail(error);
        }
    }

    /// Ends the session and stops the device, once its frames have left: the last thing that this process does.
    pub async fn stop(&self) {
        // No session is opened any more.
        let _pass = self.setup.enter().await;
        self.drain().await;
        self.device.borrow_mut().begin_reset();
        until_reset(|| self.device.borrow().is_reset()).await;
        if self.device.borrow().is_reset() {
            log::info!("the device is shut down");
        } else {
            log::warn!("the device is not shut down in order: {}", SetupError::ResetTimeout);
        }
    }

    /// Waits until what the client has sent has left.
    async fn drain(&self) {
        let until = rt::now() + DRAIN;
        loop {
            let left = match self.device.borrow_mut().drain() {
                Ok(0) => return,
                Ok(left) => left,
                Err(fault) => return log::warn!("the last frames are not sent: {fault}"),
            };
            if rt::now() >= until {
                return log::warn!("{left} frames are not sent in time");
            }
            rt::sleep(DRAIN_PAUSE).await;
        }
    }

    /// Waits until the link differs from what it was. Errors: `disconnected` once this session has ended.
    pub async fn link_change(&self, number: SessionNumber, before: Link) -> Result<Link, Error> {
        self.changed
            .until(|| {
                if !self.is_on(number) {
                    return Some(Err(Error::disconnected("the session has ended".into())));
                }
                let link = self.link.get();
                (link != before).then_some(Ok(link))
            })
            .await
    }

    /// The link as it is.
    pub fn link(&self) -> Link {
        self.link.get()
    }

    /// Moves frames and watches the device, until the device is lost.
    pub async fn run(&self) -> Error {
        loop {
            if let Some(error) = self.failure.take() {
                return error;
            }
            let wake = self.bells.wait().await;
            let served = match self.found.take() {
                Some(fault) => Err(fault),
                None => match self.take_interrupts(wake).await {
                    Ok(()) => self.serve().await,
                    Err(fault) => Err(fault),
                },
            };
            if let Err(fault) = served
                && let Err(error) = rt::rare(self.lose(fault)).await
            {
                return error;
            }
        }
    }

    /// Ends the session for a fault of the client or the device.
    async fn lose(&self, fault: Fault) -> Result<(), Error> {
        log::warn!("the session ends: {fault}");
        let _pass = self.setup.enter().await;
        self.end().await
    }

    /// Looks now and then whether the device still works, for ever.
    pub async fn watch(self: Rc<Self>) {
        let mut watch = Watch::default();
        loop {
            rt::sleep(WATCH).await;
            let found = watch.look(&mut self.device.borrow_mut(), self.bells.seen());
            if found == Ok(Work::None) {
                continue;
            }
            self.found.set(found.err());
            // The data path looks at the queues, or ends the session.
            rt::ring_doorbell(&self.bells.doorbell());
        }
    }

    /// Reads what an interrupt was for, and keeps interrupts coming.
    async fn take_interrupts(&self, wake: Wake) -> Result<(), Fault> {
        let mut config = wake.config;
        match self.bells.plan() {
            InterruptPlan::TwoVectors => {
                if wake.queues || wake.config {
                    self.bells.keep_alive().await;
                }
            }
            InterruptPlan::OneVector => {
                if wake.queues {
                    config = true;
                    self.bells.keep_alive().await;
                }
            }
            InterruptPlan::Line => {
                if wake.queues {
                    // The read takes the line down; only then can it be unmasked.
                    let status = self.device.borrow_mut().acknowledge();
                    config = status.contains(InterruptStatus::DEVICE_CONFIGURATION_INTERRUPT);
                    self.bells.acknowledge().await;
                }
            }
        }
        if config { self.look() } else { Ok(()) }
    }

    /// Looks at the link and at the device's health.
    #[inline(never)]
    fn look(&self) -> Result<(), Fault> {
        let link = self.device.borrow_mut().look()?;
        if self.link.replace(link) != link {
            log::info!("the link is {}", if link == Link::Up { "up" } else { "down" });
            self.changed.notify();
        }
        Ok(())
    }

    /// Takes turns until there is nothing to do.
    async fn serve(&self) -> Result<(), Fault> {
        self.device.borrow_mut().wake();
        loop {
            for _ in 0..TURNS {
                let turn = self.device.borrow_mut().turn()?;
                if turn.ring
                    && let Some(session) = &*self.session.borrow()
                {
                    session.doorbell.ring();
                }
                if turn.work == Work::None {
                    return Ok(());
                }
            }
            rt::yield_now().await;
        }
    }

    /// Ends the session that is on, if any; the device is ready for the next one.
    async fn end(&self) -> Result<(), Error> {
        let session = self.session.take();
        if session.is_none() && self.device.borrow().is_idle() {
            return Ok(());
        }
        self.changed.notify();
        self.device.borrow_mut().begin_reset();
        let prepared = self.prepare().await;
        // The client's last frames may have come back to it.
        if let Some(session) = session {
            session.doorbell.ring();
        }
        prepared
    }

    /// Waits for the reset and negotiates.
    async fn prepare(&self) -> Result<(), Error> {
        until_reset(|| self.device.borrow().is_reset()).await;
        let facts = self.device.borrow_mut().prepare().map_err(|error| Error::failed(format!("{error}")))?;
        if self.link.replace(facts.link) != facts.link {
            self.changed.notify();
        }
        Ok(())
    }

    async fn start(&self, doorbell: signaller::Client) -> Result<Opened, Error> {
        let Buffers { layout, dma, memory } = &self.buffers;
        let pages = pages(layout.rings_bytes())?;
        let rings = rt::memory::allocate(pages).await?;
        let mapping = ring::share(Mapping::new(&rings, 0, pages, Protection::ReadWrite).await?);
        // No client gets what another one sent or received.
        dma.clear();
        self.device.borrow_mut().start(*layout, &mapping, dma).map_err(refused)?;
        let number = SessionNumber(self.last_number.get() + 1);
        self.last_number.set(number.0);
        self.session.replace(Some(Session { number, doorbell: doorbell.into() }));
        // The data path gives the device its receive buffers.
        let own = self.bells.doorbell();
        rt::ring_doorbell(&own);
        let sending = self.device.borrow().offloads().sending;
        Ok(Opened { number, rings, buffers: memory.clone(), layout: *layout, sending, doorbell: own })
    }

    fn is_on(&self, number: SessionNumber) -> bool {
        self.session.borrow().as_ref().is_some_and(|session| session.number == number)
    }

    /// Ends [`Self::run`] with an error.
    fn fail(&self, error: Error) {
        self.failure.replace(Some(error));
        rt::ring_doorbell(&self.bells.doorbell());
    }
}

/// Opens the memory for the buffers: fewer of them when memory is short.
async fn open_buffers(device: &mut Device<Mapping>, pool: &dma_pool::Client) -> Result<Buffers, Error> {
    let mut halvings = 0;
    loop {
        let layout = device.plan(halvings).map_err(refused)?;
        match virtio::pci::buffers(pool, pages(layout.buffers_bytes())?).await {
            Ok((dma, memory)) => return Ok(Buffers { layout, dma: Rc::new(dma), memory }),
            Err(error) if error.kind == ErrorKind::Overloaded && halvings < MAXIMUM_HALVINGS => {
                halvings += 1;
                log::warn!("memory is short, trying half the buffers: {error}");
            }
            Err(error) => return Err(error),
        }
    }
}

/// Resets a device of which nothing is known.
pub async fn reset(transport: &mut PciTransport) -> Result<(), Error> {
    virtio::begin_reset(transport);
    until_reset(|| virtio::is_reset(transport)).await;
    if virtio::is_reset(transport) {
        Ok(())
    } else {
        Err(Error::failed(format!("{}", SetupError::ResetTimeout)))
    }
}

/// Waits until the device says that it is reset, or has had time enough.
async fn until_reset(is_reset: impl Fn() -> bool) {
    for _ in 0..RESET_ATTEMPTS {
        if is_reset() {
            break;
        }
        rt::sleep(RESET_PAUSE).await;
    }
}

/// A locally administered unicast address for a device without one.
fn random_mac() -> [u8; 6] {
    let [first, second, third, fourth, fifth, sixth, ..] = rt::random_u64().to_le_bytes();
    [first & 0xfc | 0x02, second, third, fourth, fifth, sixth]
}

fn pages(bytes: usize) -> Result<u32, Error> {
    u32::try_from(bytes.div_ceil(4096)).map_err(|_| Error::failed("more memory than can be counted".into()))
}

fn refused(error: StartError) -> Error {
    Error::failed(format!("{error}"))
}
