//! A client's queue on a `BlockDevice`.
//!
//! Data lies in the queue's buffers, whose use is the caller's own affair. A client that must outlive its driver keeps
//! what it asked for until it is answered, opens another session when this one is over, and asks again.

use alloc::{format, rc::Rc, string::String};
use capnp::{Error, ErrorKind};
use core::{
    cell::Cell,
    pin::{Pin, pin},
};
pub use ring::block::{Answer, Operation, Request, Status, Tag, WriteMode};
use ring::{
    PeerFault, Sleep,
    block::{BlockLayout, Buffers, ClientSide},
};
use rt::{
    Doorbell, Signal,
    memory::{Mapping, Protection},
};
use schema::{
    block_capnp::{block_device, block_queue},
    ipc_capnp::signaller,
};
use tasks::{Event, any};

/// What a client needs to know of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Bytes of a block.
    pub block_bytes: u32,
    /// Number of blocks.
    pub blocks: u64,
    /// The most blocks of one read or write.
    pub maximum_blocks: u32,
    /// The most blocks of one discard; 0 when there is none.
    pub maximum_discard: u32,
    /// The most blocks of one write of zeroes; 0 when there is none.
    pub maximum_zero: u32,
    /// Whether writes are refused.
    pub read_only: bool,
    /// What the cloud or host calls it.
    pub name: String,
    /// Model.
    pub model: String,
    /// Serial number.
    pub serial: String,
}

/// Asks a device for its sizes and names.
pub async fn info(device: &block_device::Client) -> Result<Info, Error> {
    let response = device.info_request().send().promise.await?;
    let info = response.get()?.get_info()?;
    Ok(Info {
        block_bytes: info.get_block_bytes(),
        blocks: info.get_blocks(),
        maximum_blocks: info.get_maximum_blocks(),
        maximum_discard: info.get_maximum_discard_blocks(),
        maximum_zero: info.get_maximum_zero_blocks(),
        read_only: info.get_read_only(),
        name: info.get_name()?.to_string()?,
        model: info.get_model()?.to_string()?,
        serial: info.get_serial()?.to_string()?,
    })
}

/// An open queue.
pub struct Session {
    side: ClientSide<Mapping>,
    buffers: Buffers<Mapping>,
    info: Info,
    bell: Signal,
    driver: Doorbell,
    life: Rc<Life>,
}

/// What the session shares with the task that watches its queue.
#[derive(Default)]
struct Life {
    /// The queue has ended, or the session was dropped.
    over: Cell<bool>,
    changed: Event,
}

impl Session {
    /// Opens a queue of about so many requests with about so many bytes of buffers.
    pub async fn open(device: &block_device::Client, depth: u16, buffer_bytes: u32) -> Result<Self, Error> {
        let info = info(device).await?;
        let bell = Signal::new().await?;
        let mut request = device.open_request();
        request.get().set_doorbell(bell.signaller());
        request.get().set_depth(depth);
        request.get().set_buffer_bytes(buffer_bytes);
        let response = request.send().promise.await?;
        let opened = response.get()?;
        let failed = |error| Error::failed(format!("the driver's rings: {error}"));
        let (depth, bytes) = (opened.get_depth(), opened.get_buffer_bytes());
        let layout = BlockLayout::new(depth.into(), info.block_bytes, bytes).map_err(failed)?;
        let pages = |bytes: usize| device::pci::pages(bytes);
        let rings = opened.get_rings()?;
        let rings = Mapping::new(&rings, 0, pages(layout.rings_bytes())?, Protection::ReadWrite).await?;
        let buffers = opened.get_buffers()?;
        let buffers = Mapping::new(&buffers, 0, pages(bytes as usize)?, Protection::ReadWrite).await?;
        let life = Rc::new(Life::default());
        rt::spawn(watch(opened.get_queue()?, Rc::clone(&life), bell.signaller()));
        Ok(Self {
            side: ClientSide::new(&ring::share(rings), layout).map_err(failed)?,
            buffers: Buffers::new(&ring::share(buffers), bytes as usize).map_err(failed)?,
            driver: opened.get_doorbell()?.into(),
            info,
            bell,
            life,
        })
    }

    /// The disk's sizes and names.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Requests that can be unanswered at once: tags are below this.
    pub fn depth(&self) -> u16 {
        // A layout has at most 1024.
        self.side.layout().depth() as u16
    }

    /// The memory for data.
    pub fn buffers(&mut self) -> &mut Buffers<Mapping> {
        &mut self.buffers
    }

    /// Asks for something; [`Self::ring`] tells the driver.
    pub fn submit(&mut self, request: Request) -> Result<(), Error> {
        self.side.submit(request).map_err(broken)
    }

    /// Tells the driver of what was asked for, if it sleeps. Once for each batch.
    pub fn ring(&mut self) {
        if self.side.must_ring() {
            self.driver.ring();
        }
    }

    /// Takes the next answer, if there is one.
    pub fn take(&mut self) -> Result<Option<Answer>, Error> {
        self.side.take().map_err(broken)
    }

    /// Waits for an answer. Errors: `disconnected` when the queue has ended.
    pub async fn wait(&mut self) -> Result<(), Error> {
        while self.side.arm().map_err(broken)? == Sleep::Allowed {
            if self.life.over.get() {
                return Err(Error::disconnected("the disk's driver ended the queue".into()));
            }
            self.bell.wait().await;
        }
        Ok(())
    }

    /// Asks for one thing and waits for its answer; nothing else may be unanswered.
    pub async fn execute(&mut self, request: Request) -> Result<Status, Error> {
        self.submit(request)?;
        self.ring();
        loop {
            if let Some(answer) = self.take()? {
                return Ok(answer.status);
            }
            self.wait().await?;
        }
    }

    /// Reads neighbouring blocks into `target`, which is filled as far as it goes. Errors: `failed` when they cannot be
    /// read.
    pub async fn read(&mut self, block: u64, target: &mut [u8]) -> Result<(), Error> {
        let block_bytes = self.info.block_bytes as usize;
        let most = (self.buffers.bytes() / block_bytes).min(self.info.maximum_blocks as usize).max(1);
        for (index, part) in (0..).zip(target.chunks_mut(most * block_bytes)) {
            // At most `most`, which came from a u32.
            let blocks = part.len().div_ceil(block_bytes) as u32;
            let first = block.saturating_add(index * most as u64);
            let request =
                Request { tag: Tag(0), operation: Operation::Read, block: first, blocks, offset: 0 };
            let status = self.execute(request).await?;
            if status != Status::Done || self.buffers.read(0, part).is_none() {
                return Err(Error::failed(format!(
                    "{blocks} blocks from {first} cannot be read: {status:?}"
                )));
            }
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.life.over.set(true);
        self.life.changed.notify();
    }
}

/// Notes when the queue ends; lets go of it when the session is dropped.
async fn watch(queue: block_queue::Client, life: Rc<Life>, bell: signaller::Client) {
    let promise = queue.ended_request().send().promise;
    let ended: Pin<&mut dyn Future<Output = ()>> = pin!(async {
        // Whatever it says, it is over.
        if let Err(error) = promise.await {
            log::debug!("the queue has ended: {error}");
        }
    });
    let dropped = pin!(life.changed.until(|| life.over.get().then_some(())));
    let [ended, _] = any([ended, dropped]).await;
    if ended {
        life.over.set(true);
        rt::ring_doorbell(&bell);
    }
}

fn broken(fault: PeerFault) -> Error {
    Error { kind: ErrorKind::Failed, extra: format!("the disk's driver: {fault}") }
}
