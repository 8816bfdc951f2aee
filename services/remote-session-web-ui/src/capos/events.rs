//! What the other tasks have for the task that serves, and how it waits for them.

use alloc::collections::VecDeque;
use core::cell::{Cell, RefCell};

use capnp::Error;
use schema::{ipc_capnp::signaller, network_capnp::network_manager};
use web_ui::{rest::Rest, server::Wake, stream::Stream};

use super::look::Look;

/// Mail for the serving task. The current network stack is kept here too, since two tasks need it.
pub struct Events {
    network: RefCell<Option<network_manager::Client>>,
    connections: RefCell<VecDeque<Stream>>,
    look: RefCell<Option<Look>>,
    lost: Cell<bool>,
    rest: Rest,
}

impl Events {
    /// No mail.
    pub async fn new(network: network_manager::Client) -> Result<Self, Error> {
        Ok(Self {
            network: RefCell::new(Some(network)),
            connections: RefCell::default(),
            look: RefCell::default(),
            lost: Cell::new(false),
            rest: Rest::new().await?,
        })
    }

    /// What all connections ring.
    pub fn doorbell(&self) -> signaller::Client {
        self.rest.doorbell()
    }

    /// Waits for the connections' doorbell, for mail, or for the time that `wake` names.
    pub async fn wait(&self, wake: Wake) {
        let has_mail =
            || self.lost.get() || self.look.borrow().is_some() || !self.connections.borrow().is_empty();
        self.rest.until(wake, has_mail).await;
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
        self.rest.wake();
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
        self.rest.wake();
    }

    /// The next new connection.
    pub fn take_connection(&self) -> Option<Stream> {
        self.connections.borrow_mut().pop_front()
    }

    /// Hands over what was seen of the system.
    pub fn put_look(&self, look: Look) {
        self.look.replace(Some(look));
        self.rest.wake();
    }

    /// What was seen of the system since the last time.
    pub fn take_look(&self) -> Option<Look> {
        self.look.take()
    }
}
