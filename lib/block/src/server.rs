//! The interfaces `BlockDevice` and `BlockQueue`.

use crate::{
    disk::{Access, View},
    engine::Engine,
    front::QueueNumber,
    service::{Buffers, Service},
};
use alloc::{format, rc::Rc};
use capnp::Error;
use core::cell::{Cell, RefCell};
use schema::block_capnp::{block_device, block_queue};

/// The capability for a view of one of the driver's disks.
pub fn serve<E, P>(service: &Rc<Service<E, P>>, view: View) -> block_device::Client
where
    E: Engine<Pool = Rc<P>> + 'static,
    P: 'static,
{
    rt::serve(Rc::new(DeviceServer {
        service: Rc::clone(service),
        view,
        buffers: RefCell::new(None),
        queue: Cell::new(None),
        turnstile: tasks::Turnstile::default(),
    }))
}

struct DeviceServer<E: Engine<Pool = Rc<P>> + 'static, P: 'static> {
    service: Rc<Service<E, P>>,
    view: View,
    /// The memory of all its queues.
    buffers: RefCell<Option<Buffers<P>>>,
    /// The queue that was opened last.
    queue: Cell<Option<QueueNumber>>,
    turnstile: tasks::Turnstile,
}

impl<E: Engine<Pool = Rc<P>> + 'static, P: 'static> block_device::Server for DeviceServer<E, P> {
    async fn info(
        self: Rc<Self>,
        _: block_device::InfoParams,
        mut results: block_device::InfoResults,
    ) -> Result<(), Error> {
        let disk = self.service.disk(self.view.disk);
        let disk = disk.ok_or_else(|| Error::disconnected("the disk is gone".into()))?;
        let limits = self.service.limits();
        let mut info = results.get().init_info();
        info.set_block_bytes(disk.block_bytes);
        info.set_blocks(self.view.blocks());
        info.set_maximum_blocks(disk.maximum_blocks);
        info.set_maximum_discard_blocks(disk.maximum_discard);
        info.set_maximum_zero_blocks(disk.maximum_zero);
        // At most `ring::block::MAXIMUM_DEPTH`.
        info.set_maximum_depth(limits.depth as u16);
        info.set_maximum_buffer_bytes(limits.buffer_bytes);
        info.set_read_only(self.view.access() == Access::ReadOnly);
        info.set_write_cache(disk.write_cache);
        info.set_forced_unit_access(disk.forced_unit_access);
        info.set_driver(self.service.name());
        info.set_model(disk.identity.model.as_str());
        info.set_serial(disk.identity.serial.as_str());
        info.set_firmware(disk.identity.firmware.as_str());
        info.set_name(disk.identity.name.as_str());
        info.set_identifier(disk.identity.identifier.as_str());
        let (counters, woken, resets) = self.service.counters();
        let mut to = info.init_counters();
        to.set_reads(counters.reads);
        to.set_read_blocks(counters.read_blocks);
        to.set_writes(counters.writes);
        to.set_written_blocks(counters.written_blocks);
        to.set_other_requests(counters.others);
        to.set_errors(counters.errors);
        to.set_interrupts(woken);
        to.set_resets(resets);
        Ok(())
    }

    async fn open(
        self: Rc<Self>,
        params: block_device::OpenParams,
        mut results: block_device::OpenResults,
    ) -> Result<(), Error> {
        let (doorbell, depth, bytes) = {
            let params = params.get()?;
            (params.get_doorbell()?, params.get_depth(), params.get_buffer_bytes())
        };
        let _pass = self.turnstile.enter().await;
        if let Some(before) = self.queue.take() {
            // Its buffers are the device's until then.
            self.service.close(before).await;
        }
        let opened = self.service.open(self.view, &self.buffers, doorbell, depth, bytes).await?;
        self.queue.set(Some(opened.number));
        let buffers = self.buffers.borrow();
        let memory = buffers.as_ref().ok_or_else(|| Error::failed("the queue has no buffers".into()))?;
        let mut answer = results.get();
        answer.set_buffers(memory.memory.clone());
        answer.set_queue(rt::serve(Rc::new(QueueServer { device: Rc::clone(&self), number: opened.number })));
        answer.set_rings(opened.rings);
        answer.set_doorbell(opened.doorbell);
        // At most `ring::block::MAXIMUM_DEPTH`.
        answer.set_depth(opened.layout.depth() as u16);
        answer.set_buffer_bytes(opened.layout.buffer_bytes());
        Ok(())
    }

    async fn read_only(
        self: Rc<Self>,
        _: block_device::ReadOnlyParams,
        mut results: block_device::ReadOnlyResults,
    ) -> Result<(), Error> {
        results.get().set_device(serve(&self.service, self.view.read_only()));
        Ok(())
    }

    async fn partition(
        self: Rc<Self>,
        params: block_device::PartitionParams,
        mut results: block_device::PartitionResults,
    ) -> Result<(), Error> {
        let (first, count) = {
            let params = params.get()?;
            (params.get_first(), params.get_count())
        };
        let part = self.view.part(first, count).map_err(|error| Error::failed(format!("{error}")))?;
        results.get().set_device(serve(&self.service, part));
        Ok(())
    }
}

impl<E: Engine<Pool = Rc<P>> + 'static, P: 'static> Drop for DeviceServer<E, P> {
    fn drop(&mut self) {
        let (service, queue, buffers) = (Rc::clone(&self.service), self.queue.take(), self.buffers.take());
        rt::spawn(async move {
            if let Some(queue) = queue {
                service.close(queue).await;
            }
            if let Some(buffers) = buffers {
                service.abandon(buffers);
            }
        });
    }
}

/// One queue; dropped when its client lets go of it or dies.
struct QueueServer<E: Engine<Pool = Rc<P>> + 'static, P: 'static> {
    /// Holds the queue's buffers, also when no client has the device itself any more.
    device: Rc<DeviceServer<E, P>>,
    number: QueueNumber,
}

impl<E: Engine<Pool = Rc<P>> + 'static, P: 'static> block_queue::Server for QueueServer<E, P> {
    async fn ended(
        self: Rc<Self>,
        _: block_queue::EndedParams,
        _: block_queue::EndedResults,
    ) -> Result<(), Error> {
        let (service, number) = (Rc::clone(&self.device.service), self.number);
        // Who waits here must not keep the queue alive when its client is gone.
        drop(self);
        service.until_closed(number).await;
        Err(Error::disconnected("the queue has ended".into()))
    }
}

impl<E: Engine<Pool = Rc<P>> + 'static, P: 'static> Drop for QueueServer<E, P> {
    fn drop(&mut self) {
        let (service, number) = (Rc::clone(&self.device.service), self.number);
        rt::spawn(async move { service.close(number).await });
    }
}
