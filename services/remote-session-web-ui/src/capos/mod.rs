//! The wiring of the server to capabilities: one task serves all connections, one accepts them, and one at a time looks at
//! the system.

mod events;
mod listener;
mod look;

use alloc::rc::Rc;

use capnp::Error;
use inspect::Observer;
use rt::Environment;
use schema::network_capnp::network_manager;
use web_ui::server::Server;
use web_ui::site::Site;

use events::Events;
use listener::Listener;
use look::Look;

/// Port when the manifest names none.
const PORT: u16 = 8080;

/// Connections when the manifest names no number.
const CONNECTIONS: usize = 32;

/// Most connections that the manifest can ask for: what the heap's quota is measured for.
const MAXIMUM_CONNECTIONS: usize = 48;

/// Serves until the process ends.
pub async fn main(environment: Environment) -> Result<(), Error> {
    let port = number(&environment, "port", PORT)?;
    let connections = number(&environment, "connections", CONNECTIONS)?;
    if port == 0 || !(1..=MAXIMUM_CONNECTIONS).contains(&connections) {
        return Err(Error::failed("port must not be 0, connections be 1 to 48".into()));
    }
    let events = Rc::new(Events::new(environment.grant::<network_manager::Client>("network")?).await?);
    let observer = Rc::new(Observer::new(&environment));
    let listener = Listener { environment, port, events: events.clone() };
    rt::spawn(listener.run());

    let mut server = Server::new(connections, Site::new(rt::random_u64() >> 12));
    let mut looking = false;
    loop {
        let now = rt::now();
        if events.take_lost() {
            server.clear();
        }
        while let Some(stream) = events.take_connection() {
            server.accept(stream, now);
        }
        if let Some(look) = events.take_look() {
            looking = false;
            look.apply(server.handler(), now);
        }
        let wake = server.turn(now);
        if !looking && server.handler().take_wanted() {
            looking = true;
            let cursor = server.handler().log().cursor();
            let (observer, events) = (observer.clone(), events.clone());
            rt::spawn(async move {
                let look = Look::take(&observer, events.network(), cursor).await;
                events.put_look(look);
            });
        }
        events.wait(wake).await;
    }
}

/// The number that the manifest gives for `name`.
fn number<T: core::str::FromStr>(environment: &Environment, name: &str, default: T) -> Result<T, Error> {
    match environment.argument(name) {
        None => Ok(default),
        Some(text) => text
            .parse()
            .map_err(|_| Error::failed(alloc::format!("argument {name} is no number in range: {text}"))),
    }
}
