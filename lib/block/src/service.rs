//! The driver's life in the system: its doorbell, its clients' queues and their memory.

use crate::{
    disk::{Disk, View},
    engine::Engine,
    front::{Counters, Front, OpenError, QueueNumber, Turn, Work},
};
use alloc::{boxed::Box, format, rc::Rc, vec::Vec};
use capnp::Error;
use core::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    time::Duration,
};
use device::{DmaRegion, Interrupts, PAGE_BYTES};
use ring::block::{BlockLayout, MAXIMUM_DEPTH};
use rt::{
    Doorbell, Signal,
    memory::{Mapping, Protection},
};
use schema::{device_capnp::dma_pool, ipc_capnp::signaller, memory_capnp::memory_object};
use tasks::{Event, Turnstile};

/// Turns that the data path takes before other tasks get theirs.
const TURNS: u32 = 8;

/// While the device is being stopped.
const STOP_POLL: Duration = Duration::from_millis(1);

/// Who holds memory that nobody else has any more: the kernel for the device, this process's handle and its mapping.
const OWN_HOLDERS: u32 = 3;

/// The most memory of one queue: what the kernel gives in one piece.
const MAXIMUM_BUFFER_BYTES: u32 = 4 << 20;

/// What a driver gives its clients at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests of one queue.
    pub depth: u32,
    /// Bytes of one queue's buffers.
    pub buffer_bytes: u32,
}

impl Limits {
    /// Clamps to what there can be.
    #[must_use]
    pub fn new(depth: u32, buffer_bytes: u32) -> Self {
        let floor = |value: u32| 1 << value.max(2).ilog2();
        Self {
            depth: floor(depth.min(MAXIMUM_DEPTH)),
            buffer_bytes: floor(buffer_bytes.clamp(PAGE_BYTES, MAXIMUM_BUFFER_BYTES)),
        }
    }
}

/// A future of this process's only thread.
pub type Local<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Makes a queue's buffers reachable for the device of an engine.
pub trait PoolMaker<E: Engine> {
    /// Takes new memory for buffers over. It may open more memory of the pool that the client does not see.
    fn make<'a>(
        &'a self,
        pool: &'a dma_pool::Client,
        buffers: DmaRegion,
    ) -> Local<'a, Result<E::Pool, Error>>;
}

/// Buffers that the device reaches, and the object to share them by.
pub(crate) struct Buffers<P> {
    pub(crate) pool: Rc<P>,
    pub(crate) memory: memory_object::Client,
    pub(crate) bytes: u32,
}

/// What a client gets for a new queue.
pub(crate) struct Opened {
    pub(crate) number: QueueNumber,
    pub(crate) rings: memory_object::Client,
    pub(crate) layout: BlockLayout,
    pub(crate) doorbell: signaller::Client,
}

/// A driver of one or more disks.
pub struct Service<E: Engine<Pool = Rc<P>>, P> {
    front: RefCell<Front<E, Mapping>>,
    bell: Signal,
    interrupts: Interrupts,
    dma: dma_pool::Client,
    maker: Box<dyn PoolMaker<E>>,
    limits: Limits,
    name: &'static str,
    /// Doorbells of the clients, by the queues' places.
    doorbells: RefCell<Vec<Option<Doorbell>>>,
    /// Memory whose object is gone, until nobody has it any more.
    orphans: RefCell<Vec<Buffers<P>>>,
    /// A queue has ended, or the device has finished with one.
    changed: Event,
    /// The device has something to do.
    busy: Event,
    /// One queue is opened at a time.
    setup: Turnstile,
    woken: Cell<u64>,
    failure: RefCell<Option<Error>>,
}

impl<E: Engine<Pool = Rc<P>> + 'static, P: 'static> Service<E, P> {
    /// A driver whose interrupts ring `bell`.
    pub fn new(
        name: &'static str,
        engine: E,
        bell: Signal,
        interrupts: Interrupts,
        dma: dma_pool::Client,
        maker: impl PoolMaker<E> + 'static,
        limits: Limits,
    ) -> Rc<Self> {
        Rc::new(Self {
            front: RefCell::new(Front::new(engine)),
            bell,
            interrupts,
            dma,
            maker: Box::new(maker),
            limits,
            name,
            doorbells: RefCell::default(),
            orphans: RefCell::default(),
            changed: Event::default(),
            busy: Event::default(),
            setup: Turnstile::default(),
            woken: Cell::new(0),
            failure: RefCell::default(),
        })
    }

    /// Moves blocks and watches the device, until the driver gives up: what [`Self::fail`] said.
    pub async fn run(self: &Rc<Self>) -> Error {
        let watcher = Rc::clone(self);
        rt::spawn(async move { watcher.watch().await });
        let mut turn = Turn::default();
        loop {
            self.serve(&mut turn).await;
            if let Some(error) = self.failure.take() {
                return error;
            }
            self.bell.wait().await;
            self.woken.set(self.woken.get() + 1);
        }
    }

    /// Makes [`Self::run`] return this error.
    pub fn fail(&self, error: Error) {
        self.failure.replace(Some(error));
        rt::ring_doorbell(&self.bell.signaller());
    }

    /// Stops the device when this process is asked to end, as the last thing that it does. By then its clients have ended.
    pub fn stop_in_the_end(self: &Rc<Self>) {
        let service = Rc::clone(self);
        rt::health::at_stop(async move { service.stop().await });
    }

    async fn stop(&self) {
        self.look(Engine::stop);
        let stopped = loop {
            let next = |engine: &mut E| {
                engine.tick();
                engine.stopped()
            };
            if let Some(stopped) = self.look(next) {
                break stopped;
            }
            rt::sleep(STOP_POLL).await;
        };
        match stopped {
            Ok(()) => log::info!("the device is shut down"),
            Err(reason) => log::warn!("the device is not shut down in order: {reason}"),
        }
    }

    /// Runs `f` on the engine, which knows the time.
    fn look<R>(&self, f: impl FnOnce(&mut E) -> R) -> R {
        let mut front = self.front.borrow_mut();
        front.engine_mut().set_time(rt::now());
        f(front.engine_mut())
    }

    /// The driver's disks.
    pub fn disks(&self) -> Vec<Disk> {
        self.front.borrow().engine().disks().to_vec()
    }

    pub(crate) fn disk(&self, number: usize) -> Option<Disk> {
        self.front.borrow().engine().disks().get(number).cloned()
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    pub(crate) fn counters(&self) -> (Counters, u64, u64) {
        let front = self.front.borrow();
        (*front.counters(), self.woken.get(), front.engine().resets())
    }

    /// Takes turns until there is nothing to do.
    async fn serve(&self, turn: &mut Turn) {
        loop {
            for _ in 0..TURNS {
                let work = self.front.borrow_mut().turn(rt::now(), turn);
                self.tell(turn);
                if work == Work::None {
                    self.interrupts.served(self.front.borrow_mut().take_served());
                    self.busy.notify_any();
                    return;
                }
            }
            self.interrupts.served(self.front.borrow_mut().take_served());
            rt::yield_now().await;
        }
    }

    /// Rings the clients that a turn says, and ends the queues that it says.
    fn tell(&self, turn: &mut Turn) {
        let doorbells = self.doorbells.borrow();
        for number in turn.ring.drain(..) {
            if let Some(Some(doorbell)) = doorbells.get(number.place()) {
                doorbell.ring();
            }
        }
        for (number, fault) in turn.ended.drain(..) {
            log::warn!("a queue ends: client: {fault}");
            if let Some(Some(doorbell)) = doorbells.get(number.place()) {
                doorbell.ring();
            }
        }
        if self.changed.has_waiters() {
            self.changed.notify();
        }
    }

    /// Calls the engine at the times that it asks for, while it has something to do.
    async fn watch(&self) {
        loop {
            let pause = self.busy.until(|| self.front.borrow().engine().next_tick()).await;
            rt::sleep(pause).await;
            self.front.borrow_mut().tick(rt::now());
            if let Some(reason) = self.front.borrow().engine().failure() {
                return self.fail(Error::failed(reason));
            }
            // A message interrupt that was lost, or masked for its number, is made good for here.
            self.interrupts.acknowledge();
            rt::ring_doorbell(&self.bell.signaller());
        }
    }

    /// Opens a queue over a view; `kept` is the memory of its object, if it had a queue before.
    pub(crate) async fn open(
        &self,
        view: View,
        kept: &RefCell<Option<Buffers<P>>>,
        doorbell: signaller::Client,
        depth: u16,
        buffer_bytes: u32,
    ) -> Result<Opened, Error> {
        let _pass = self.setup.enter().await;
        let disk = self.disk(view.disk).ok_or_else(|| Error::disconnected("the disk is gone".into()))?;
        let bytes = buffer_bytes.max(disk.block_bytes).max(PAGE_BYTES);
        let bytes = bytes.checked_next_power_of_two().unwrap_or(u32::MAX).min(self.limits.buffer_bytes);
        let depth = u32::from(depth).clamp(2, self.limits.depth).next_power_of_two();
        self.give_buffers(kept, bytes).await?;
        let (pool, bytes) = {
            let kept = kept.borrow();
            let buffers = kept.as_ref().ok_or_else(|| Error::failed("the queue has no buffers".into()))?;
            (Rc::clone(&buffers.pool), buffers.bytes)
        };
        let layout = BlockLayout::new(depth, disk.block_bytes, bytes);
        let layout = layout.map_err(|error| Error::failed(format!("{error}")))?;
        let pages = device::pci::pages(layout.rings_bytes())?;
        let rings = rt::memory::allocate(pages).await?;
        let mapping = ring::share(Mapping::new(&rings, 0, pages, Protection::ReadWrite).await?);
        let number =
            self.front.borrow_mut().open(view, layout, &mapping, pool).map_err(|error| match error {
                OpenError::TooMany => Error::overloaded(format!("{error}")),
                OpenError::Layout(_) => Error::failed(format!("{error}")),
            })?;
        self.note_doorbell(number, doorbell);
        // The data path asks for the client's doorbell.
        let own = self.bell.signaller();
        rt::ring_doorbell(&own);
        Ok(Opened { number, rings, layout, doorbell: own })
    }

    fn note_doorbell(&self, number: QueueNumber, doorbell: signaller::Client) {
        let mut doorbells = self.doorbells.borrow_mut();
        if doorbells.len() <= number.place() {
            doorbells.resize_with(number.place() + 1, || None);
        }
        if let Some(place) = doorbells.get_mut(number.place()) {
            *place = Some(doorbell.into());
        }
    }

    /// Ends a queue and waits until the device has nothing of it.
    pub(crate) async fn close(&self, number: QueueNumber) {
        self.front.borrow_mut().close(number);
        self.changed.notify();
        self.until_closed(number).await;
    }

    /// Waits until a queue has ended, whoever ended it, and the device has nothing of it.
    pub(crate) async fn until_closed(&self, number: QueueNumber) {
        self.changed.until(|| self.front.borrow().is_closed(number).then_some(())).await;
    }

    /// Keeps memory whose object is gone for another one.
    pub(crate) fn abandon(&self, buffers: Buffers<P>) {
        self.orphans.borrow_mut().push(buffers);
    }

    /// Sees to it that `kept` holds at least `bytes` zeroed bytes, if they can be had, and fewer if not.
    async fn give_buffers(&self, kept: &RefCell<Option<Buffers<P>>>, bytes: u32) -> Result<(), Error> {
        let enough = |buffers: &&Buffers<P>| buffers.bytes >= bytes;
        let memory =
            kept.borrow().as_ref().filter(enough).map(|buffers| (buffers.memory.clone(), buffers.bytes));
        if let Some((memory, bytes)) = memory {
            return zero(&memory, bytes).await;
        }
        if let Some(small) = kept.take() {
            self.abandon(small);
        }
        if let Some(buffers) = self.adopt(bytes).await {
            zero(&buffers.memory, buffers.bytes).await?;
            kept.replace(Some(buffers));
            return Ok(());
        }
        let mut bytes = bytes;
        loop {
            match self.allocate(bytes).await {
                Ok(buffers) => {
                    kept.replace(Some(buffers));
                    return Ok(());
                }
                Err(error) if error.kind == capnp::ErrorKind::Overloaded && bytes > 16 * PAGE_BYTES => {
                    bytes /= 2;
                    log::warn!("memory is short, trying buffers of {bytes} bytes: {error}");
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The first memory that is large enough and that nobody else has any more.
    async fn adopt(&self, bytes: u32) -> Option<Buffers<P>> {
        let mut index = 0;
        loop {
            let memory = {
                let orphans = self.orphans.borrow();
                let candidate = orphans.get(index)?;
                (candidate.bytes >= bytes && Rc::strong_count(&candidate.pool) == 1)
                    .then(|| candidate.memory.clone())
            };
            if let Some(memory) = memory
                && rt::memory::holders(&memory).await.is_ok_and(|count| count <= OWN_HOLDERS)
            {
                return Some(self.orphans.borrow_mut().swap_remove(index));
            }
            index += 1;
        }
    }

    async fn allocate(&self, bytes: u32) -> Result<Buffers<P>, Error> {
        let pages = bytes / PAGE_BYTES;
        let (region, memory) = device::pci::allocate(&self.dma, pages).await?;
        Ok(Buffers { pool: self.maker.make(&self.dma, region).await?, memory, bytes })
    }
}

/// Overwrites buffers, so that no client gets what another one, or a former self, had in them.
async fn zero(memory: &memory_object::Client, bytes: u32) -> Result<(), Error> {
    let pages = bytes / PAGE_BYTES;
    let mapping = Mapping::new(memory, 0, pages, Protection::ReadWrite).await?;
    let page = [0; PAGE_BYTES as usize];
    for offset in (0..mapping.len()).step_by(page.len()) {
        mapping.write(offset, &page)?;
    }
    Ok(())
}
