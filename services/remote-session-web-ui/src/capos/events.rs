//! What the other tasks have for the task that serves, and how it waits for them.

use alloc::collections::VecDeque;
use core::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::pin,
    task::{Poll, Waker},
};

use rt::{Alarm, Signal};
use schema::network_capnp::network_manager;
use web_ui::{server::Wake, stream::Stream};

use super::look::Look;

/// Mail for the serving task. The current network stack is kept here too, since two tasks need it.
pub struct Events {
    network: RefCell<Option<network_manager::Client>>,
    connections: RefCell<VecDeque<Stream>>,
    look: RefCell<Option<Look>>,
    lost: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
    alarm: RefCell<Alarm>,
}

impl Events {
    /// No mail.
    pub fn new(network: network_manager::Client) -> Self {
        Self {
            network: RefCell::new(Some(network)),
            connections: RefCell::default(),
            look: RefCell::default(),
            lost: Cell::new(false),
            waiting: RefCell::default(),
            alarm: RefCell::default(),
        }
    }

    /// The network stack; `None` between two runs of it.
    pub fn network(&self) -> Option<network_manager::Client> {
        self.network.borrow().clone()
    }

    /// Notes that the network stack is gone, and with it every connection.
    pub fn lose_network(&self) {
        self.network.replace(None);
        self.connections.borrow_mut().clear();
        self.lost.set(true);
        self.wake();
    }

    /// Notes that there is a network stack again.
    pub fn find_network(&self, network: network_manager::Client) {
        self.network.replace(Some(network));
    }

    /// Whether connections were lost since the last time.
    pub fn take_lost(&self) -> bool {
        self.lost.take()
    }

    /// Hands over a new connection.
    pub fn put_connection(&self, stream: Stream) {
        self.connections.borrow_mut().push_back(stream);
        self.wake();
    }

    /// The next new connection.
    pub fn take_connection(&self) -> Option<Stream> {
        self.connections.borrow_mut().pop_front()
    }

    /// Hands over what was seen of the system.
    pub fn put_look(&self, look: Look) {
        self.look.replace(Some(look));
        self.wake();
    }

    /// What was seen of the system since the last time.
    pub fn take_look(&self) -> Option<Look> {
        self.look.take()
    }

    fn wake(&self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    fn has_mail(&self) -> bool {
        self.lost.get() || self.look.borrow().is_some() || !self.connections.borrow().is_empty()
    }
}

/// Waits for the streams' doorbell, for mail, or for the time that `wake` names.
pub async fn wait(doorbell: &Signal, events: &Events, wake: Wake) {
    let deadline = match wake {
        Wake::Now => return rt::yield_now().await,
        Wake::At(time) => Some(time),
        Wake::OnEvent => None,
    };
    let mut bell = pin!(doorbell.wait());
    poll_fn(|context| {
        if events.has_mail()
            || bell.as_mut().poll(context).is_ready()
            || events.alarm.borrow_mut().poll_until(deadline, context).is_ready()
        {
            return Poll::Ready(());
        }
        events.waiting.replace(Some(context.waker().clone()));
        Poll::Pending
    })
    .await;
}
