//! Accepts connections, and finds the network stack again when it has died.

use alloc::rc::Rc;
use core::time::Duration;

use capnp::{Error, ErrorKind};
use inspect::decode::ipv4;
use log::{info, warn};
use rt::Environment;
use schema::{network_capnp::network_manager, supervisor_capnp::supervisor_status};
use web_ui::stream::Stream;

use super::events::Events;

/// Connections that may wait for `accept`: as many as the schema allows, since a burst of clients is normal.
const BACKLOG: u16 = 64;

/// Between two tries of what failed, so that a lasting failure is no busy loop.
const PAUSE: Duration = Duration::from_millis(200);

/// How long the announcement waits for processes that are still starting.
const SETTLING: Duration = Duration::from_secs(5);

/// Failed accepts in a row after which the port is listened on anew.
const PATIENCE: u32 = 10;

/// The task that accepts.
pub struct Listener {
    /// Where a new network stack is had from.
    pub environment: Environment,
    /// The port to listen on.
    pub port: u16,
    /// Where connections go.
    pub events: Rc<Events>,
}

impl Listener {
    /// Accepts for ever.
    pub async fn run(self) {
        loop {
            if let Some(network) = self.events.network() {
                let Err(error) = self.listen(&network).await;
                warn!("no more connections: {error}");
                if error.kind != ErrorKind::Disconnected {
                    rt::sleep(PAUSE).await;
                    continue;
                }
            }
            self.events.lose_network();
            match self.environment.reacquire("network").await {
                Ok(network) => self.events.find_network(network),
                Err(error) => {
                    warn!("no network: {error}");
                    rt::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Listens and accepts until that fails.
    async fn listen(&self, network: &network_manager::Client) -> Result<core::convert::Infallible, Error> {
        let mut request = network.listen_tcp_request();
        request.get().set_port(self.port);
        request.get().set_backlog(BACKLOG);
        let listener = request.send().promise.await?.get()?.get_listener()?;
        rt::spawn(announce(network.clone(), self.environment.optional_grant("status"), self.port));
        let mut failures = 0;
        loop {
            match Stream::accept(&listener, self.events.doorbell()).await {
                Ok(stream) => {
                    failures = 0;
                    self.events.put_connection(stream);
                    // The new connection is served before the next is accepted.
                    rt::yield_now().await;
                }
                Err(error) if error.kind == ErrorKind::Disconnected || failures == PATIENCE => {
                    return Err(error);
                }
                Err(error) => {
                    warn!("a connection was not accepted: {error}");
                    failures += 1;
                    rt::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Says that the page is served and where: the last line of a good boot, so the other processes may finish theirs first.
async fn announce(network: network_manager::Client, status: Option<supervisor_status::Client>, port: u16) {
    let address = loop {
        match own_address(&network).await {
            Ok(0) => rt::sleep(PAUSE).await,
            Ok(address) => break address,
            Err(_) => return,
        }
    };
    if let Some(status) = status {
        inspect::settled(&status, SETTLING).await;
    }
    info!("capos: ready, http://{}:{port}/", ipv4(address));
}

async fn own_address(network: &network_manager::Client) -> Result<u32, Error> {
    let response = network.status_request().send().promise.await?;
    Ok(response.get()?.get_interface()?.get_address())
}
