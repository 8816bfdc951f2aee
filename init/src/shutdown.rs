//! `Power` as init offers it: all processes end in order before the machine does.

use crate::system::System;
use alloc::rc::Rc;
use capnp::{Error, capability};
use core::future;
use schema::system_capnp::power;
use supervision::Goal;

/// The orderly end of the system.
pub(crate) struct Shutdown {
    system: Rc<System>,
}

impl Shutdown {
    /// Of this system.
    pub(crate) fn new(system: Rc<System>) -> Self {
        Self { system }
    }

    /// Begins the end. It is not answered: who waits ends before the answer could come.
    async fn end(&self, goal: Goal) -> Result<(), Error> {
        self.system.dispatch(|supervision, now| supervision.stop(goal, now));
        future::pending().await
    }
}

impl power::Server for Shutdown {
    async fn reboot(
        self: capability::Rc<Self>,
        _: power::RebootParams,
        _: power::RebootResults,
    ) -> Result<(), Error> {
        log::info!("reboot: all processes are asked to end");
        self.end(Goal::Reboot).await
    }

    async fn halt(
        self: capability::Rc<Self>,
        _: power::HaltParams,
        _: power::HaltResults,
    ) -> Result<(), Error> {
        log::info!("halt: all processes are asked to end");
        self.end(Goal::Halt).await
    }
}
