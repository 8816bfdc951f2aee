//! How the task that serves connections waits.

use core::{
    cell::RefCell,
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use capnp::Error;
use rt::{Alarm, Signal, Sleeper};
use schema::ipc_capnp::signaller;

use crate::server::Wake;

/// What ends the task's rest: its connections' doorbell, mail of other tasks, and the time.
pub struct Rest {
    doorbell: Signal,
    sleeper: Sleeper,
    alarm: RefCell<Alarm>,
}

impl Rest {
    /// Takes a signal for the doorbell. Errors: `overloaded` when none is left.
    pub async fn new() -> Result<Self, Error> {
        Ok(Self { doorbell: Signal::new().await?, sleeper: Sleeper::default(), alarm: RefCell::default() })
    }

    /// What all connections ring.
    pub fn doorbell(&self) -> signaller::Client {
        self.doorbell.signaller()
    }

    /// Tells the task that it has mail.
    pub fn wake(&self) {
        self.sleeper.wake();
    }

    /// Waits for the doorbell, for mail, or for the time that `wake` names.
    pub async fn until(&self, wake: Wake, has_mail: impl Fn() -> bool) {
        let deadline = match wake {
            Wake::Now => return rt::yield_now().await,
            Wake::At(time) => Some(time),
            Wake::OnEvent => None,
        };
        let mut bell = pin!(self.doorbell.wait());
        poll_fn(|context| {
            if has_mail()
                || bell.as_mut().poll(context).is_ready()
                || self.alarm.borrow_mut().poll_until(deadline, context).is_ready()
            {
                return Poll::Ready(());
            }
            self.sleeper.register(context);
            Poll::Pending
        })
        .await;
    }
}
