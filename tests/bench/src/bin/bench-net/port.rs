//! A TCP port: one task accepts its connections, another one serves them and waits here.

use alloc::{collections::VecDeque, rc::Rc};
use core::cell::RefCell;

use capnp::Error;
use schema::network_capnp::{network_manager, tcp_listener};
use web_ui::{rest::Rest, server::Wake, stream::Stream};

/// Connections that may wait for `accept`.
const BACKLOG: u16 = 64;

/// A port that is listened on.
pub struct Port {
    /// Connections that nobody has taken yet.
    arrivals: RefCell<VecDeque<Stream>>,
    rest: Rest,
}

impl Port {
    /// Listens, and accepts from now on.
    pub async fn listen(network: &network_manager::Client, number: u16) -> Result<Rc<Self>, Error> {
        let port = Rc::new(Self { arrivals: RefCell::default(), rest: Rest::new().await? });
        let mut request = network.listen_tcp_request();
        request.get().set_port(number);
        request.get().set_backlog(BACKLOG);
        let listener = request.send().promise.await?.get()?.get_listener()?;
        rt::spawn(Rc::clone(&port).accept_all(number, listener));
        Ok(port)
    }

    async fn accept_all(self: Rc<Self>, number: u16, listener: tcp_listener::Client) {
        loop {
            match Stream::accept(&listener, self.rest.doorbell()).await {
                Ok(stream) => {
                    self.arrivals.borrow_mut().push_back(stream);
                    self.rest.wake();
                    // The new connection is served before the next is accepted.
                    rt::yield_now().await;
                }
                Err(error) => {
                    log::error!("NET-FAILED: port {number}: {error}");
                    return;
                }
            }
        }
    }

    /// The next new connection.
    pub fn take(&self) -> Option<Stream> {
        self.arrivals.borrow_mut().pop_front()
    }

    /// Waits for a new connection, for the doorbell, or for the time that `wake` names.
    pub async fn wait(&self, wake: Wake) {
        self.rest.until(wake, || !self.arrivals.borrow().is_empty()).await;
    }
}
