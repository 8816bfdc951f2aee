//! An interrupt that passes by the injector.

use alloc::rc::Rc;
use capnp::Error;
use core::cell::{Cell, RefCell};
use rt::Signal;
use schema::{device_capnp::interrupt, ipc_capnp::signaller};

use super::claim::{Claim, Hold, Passing};

/// What the driver takes for its `Interrupt`.
pub(super) struct Wire {
    real: interrupt::Client,
    ends: Rc<Ends>,
    started: Cell<bool>,
    hold: Hold,
}

/// Both ends of it.
struct Ends {
    /// Where the real interrupt signals.
    device: Signal,
    /// What the driver wants to be signalled.
    driver: RefCell<Option<signaller::Client>>,
    over: Cell<bool>,
}

impl Wire {
    pub(super) async fn new(real: interrupt::Client, hold: Hold) -> Result<Self, Error> {
        let ends = Ends { device: Signal::new().await?, driver: RefCell::default(), over: Cell::new(false) };
        Ok(Self { real, ends: Rc::new(ends), started: Cell::new(false), hold })
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // Ends the task that waits.
        self.ends.over.set(true);
        rt::ring_doorbell(&self.ends.device.signaller());
    }
}

async fn pass_on(ends: Rc<Ends>, claim: alloc::rc::Weak<Claim>) {
    loop {
        ends.device.wait().await;
        let Some(claim) = claim.upgrade().filter(|_| !ends.over.get()) else { return };
        if claim.at_interrupt() == Passing::On
            && let Some(driver) = &*ends.driver.borrow()
        {
            rt::ring_doorbell(driver);
        }
    }
}

impl interrupt::Server for Wire {
    async fn bind(
        self: Rc<Self>,
        params: interrupt::BindParams,
        _: interrupt::BindResults,
    ) -> Result<(), Error> {
        self.ends.driver.replace(Some(params.get()?.get_signaller()?));
        if !self.started.replace(true) {
            rt::spawn(pass_on(Rc::clone(&self.ends), Rc::downgrade(self.hold.claim())));
        }
        let mut request = self.real.bind_request();
        request.get().set_signaller(self.ends.device.signaller());
        request.send().promise.await?;
        Ok(())
    }

    async fn acknowledge(
        self: Rc<Self>,
        _: interrupt::AcknowledgeParams,
        _: interrupt::AcknowledgeResults,
    ) -> Result<(), Error> {
        self.real.acknowledge_request().send().promise.await.map(drop)
    }

    async fn mask(self: Rc<Self>, _: interrupt::MaskParams, _: interrupt::MaskResults) -> Result<(), Error> {
        self.real.mask_request().send().promise.await.map(drop)
    }

    async fn unmask(
        self: Rc<Self>,
        _: interrupt::UnmaskParams,
        _: interrupt::UnmaskResults,
    ) -> Result<(), Error> {
        self.real.unmask_request().send().promise.await.map(drop)
    }

    async fn info(
        self: Rc<Self>,
        _: interrupt::InfoParams,
        mut results: interrupt::InfoResults,
    ) -> Result<(), Error> {
        results.set(self.real.info_request().send().promise.await?.get()?)
    }
}
