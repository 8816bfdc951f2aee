//! The interfaces `Nic` and `NicSession`.

use crate::{
    driver::{Driver, SessionNumber},
    offload::Sending,
    regs::Link,
};
use alloc::rc::Rc;
use capnp::Error;
use core::cell::Cell;
use schema::network_capnp::{SendOffload, nic, nic_session};

/// The capability that is exported.
pub fn serve(driver: &Rc<Driver>) -> nic::Client {
    rt::serve(Rc::new(NicServer { driver: Rc::clone(driver) }))
}

struct NicServer {
    driver: Rc<Driver>,
}

impl nic::Server for NicServer {
    async fn info(self: Rc<Self>, _: nic::InfoParams, mut results: nic::InfoResults) -> Result<(), Error> {
        let status = self.driver.status();
        let mut info = results.get();
        info.set_mac(&status.mac);
        info.set_mtu(status.mtu);
        info.set_link_up(status.link == Link::Up);
        info.set_driver("virtio-net");
        let mut counters = info.init_counters();
        counters.set_received_frames(status.counters.received_frames);
        counters.set_received_bytes(status.counters.received_bytes);
        counters.set_sent_frames(status.counters.sent_frames);
        counters.set_sent_bytes(status.counters.sent_bytes);
        counters.set_receive_errors(status.counters.receive_errors);
        counters.set_send_errors(status.counters.send_errors);
        counters.set_interrupts(status.interrupts);
        Ok(())
    }

    async fn open(
        self: Rc<Self>,
        params: nic::OpenParams,
        mut results: nic::OpenResults,
    ) -> Result<(), Error> {
        let opened = self.driver.open(params.get()?.get_doorbell()?).await?;
        let session = SessionServer {
            driver: Rc::clone(&self.driver),
            number: opened.number,
            told: Cell::new(self.driver.link()),
        };
        let mut answer = results.get();
        answer.set_session(rt::serve(Rc::new(session)));
        answer.set_rings(opened.rings);
        answer.set_buffers(opened.buffers);
        answer.set_doorbell(opened.doorbell);
        answer.set_buffer_bytes(opened.layout.receive_bytes());
        answer.set_send_buffer_bytes(opened.layout.send_bytes());
        answer.set_offload(match opened.sending {
            Sending::Whole => SendOffload::None,
            Sending::Checksums => SendOffload::Checksums,
            Sending::Segments => SendOffload::Segments,
        });
        answer.set_receive_buffers(opened.layout.receive_buffers());
        answer.set_send_buffers(opened.layout.send_buffers());
        Ok(())
    }
}

/// One session; dropped when its client lets go of it or dies.
struct SessionServer {
    driver: Rc<Driver>,
    number: SessionNumber,
    /// The link as the client knows it.
    told: Cell<Link>,
}

impl nic_session::Server for SessionServer {
    async fn link_changed(
        self: Rc<Self>,
        _: nic_session::LinkChangedParams,
        mut results: nic_session::LinkChangedResults,
    ) -> Result<(), Error> {
        let (driver, number, told) = (Rc::clone(&self.driver), self.number, self.told.get());
        let session = Rc::downgrade(&self);
        // A call of a client that died must not keep its session.
        drop(self);
        let link = driver.link_change(number, told).await?;
        if let Some(session) = session.upgrade() {
            session.told.set(link);
        }
        results.get().set_link_up(link == Link::Up);
        Ok(())
    }
}

impl Drop for SessionServer {
    fn drop(&mut self) {
        let (driver, number) = (Rc::clone(&self.driver), self.number);
        rt::spawn(async move { driver.close(number).await });
    }
}
