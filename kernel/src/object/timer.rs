//! Timer: a one-shot deadline that signals; Clock: monotonic time.

use super::Object;
use super::account::{Account, Charge};
use super::notification::Signaller;
use crate::error::Error;
use crate::message::{Answer, Params};
use crate::sync::Lock;
use crate::time;
use crate::timers::{self, Deadline, TimerSlot};
use alloc::sync::Arc;
use capnp::traits::HasTypeId;
use core::sync::atomic::{AtomicU64, Ordering};
use schema::time_capnp::{clock, timer};

/// A one-shot deadline.
pub struct Timer {
    /// Number of this object in inventories.
    pub id: u64,
    /// Its place among the deadlines.
    pub slot: TimerSlot,
    deadline: AtomicU64,
    signaller: Lock<Option<Arc<Signaller>>>,
    _charge: Charge,
}

impl Timer {
    /// A timer that is not armed.
    pub fn new(account: &Arc<Account>) -> Result<Arc<Self>, Error> {
        let charge = Charge::object::<Self>(account)?;
        Ok(Arc::new(Self {
            id: super::new_id(),
            slot: TimerSlot::new(),
            deadline: AtomicU64::new(u64::MAX),
            signaller: Lock::new(None),
            _charge: charge,
        }))
    }

    /// Its deadline has come: signals, unless it has been armed anew meanwhile.
    pub fn expired(&self, now: u64) {
        if self.deadline.load(Ordering::Relaxed) > now {
            return;
        }
        let signaller = self.signaller.lock().take();
        if let Some(thread) = signaller.and_then(|signaller| signaller.signal()) {
            crate::scheduler::make_ready(thread);
        }
    }

    fn disarm(&self) {
        self.slot.cancel();
        let previous = self.signaller.lock().take();
        drop(previous);
    }
}

/// Serves `Timer`.
pub fn invoke(object: &Arc<Timer>, params: &Params, answer: &mut Answer) -> Result<(), Error> {
    params.expect_interface(timer::Client::TYPE_ID)?;
    match params.method() {
        0 => {
            let deadline = params.root::<timer::arm_params::Owned>()?.get_deadline();
            let Object::Signaller(signaller) = params.capability(0)? else { return Err(Error::WRONG_OBJECT) };
            object.disarm();
            object.deadline.store(deadline, Ordering::Relaxed);
            *object.signaller.lock() = Some(signaller.clone());
            timers::arm(&object.slot, deadline, Deadline::Timer(object.clone()))?;
            answer.root::<timer::arm_results::Owned>()?;
        }
        1 => {
            object.disarm();
            answer.root::<timer::disarm_results::Owned>()?;
        }
        _ => return Err(Error::NO_METHOD),
    }
    Ok(())
}

/// Serves `Clock`.
pub fn invoke_clock(params: &Params, answer: &mut Answer) -> Result<(), Error> {
    params.expect_interface(clock::Client::TYPE_ID)?;
    match params.method() {
        0 => answer.root::<clock::now_results::Owned>()?.set_nanoseconds(time::now()),
        1 => {
            let page = time::parameters();
            let mut parameters = answer.root::<clock::parameters_results::Owned>()?;
            parameters.set_multiplier(page.multiplier);
            parameters.set_shift(page.shift as u8);
            parameters.set_base(page.base);
        }
        _ => return Err(Error::NO_METHOD),
    }
    Ok(())
}
