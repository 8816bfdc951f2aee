//! Serves what clients outside measure: HTTP on port 8080, by the server of the page; TCP and UDP echo on 7, discard on 9,
//! source on 19. Says `NET-READY` when it does, and marks for the counting plugin every so many operations.
//!
//! Grants: `network` (NetworkManager).
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod bulk;
mod datagrams;
mod http;
mod marks;
mod port;

use capnp::Error;
use schema::network_capnp::network_manager;

use bulk::{Bulk, Service};
use port::Port;

rt::program!(run);

async fn run(environment: rt::Environment) -> Result<(), Error> {
    let network: network_manager::Client = environment.grant("network")?;
    let web = Port::listen(&network, 8080).await?;
    rt::spawn(http::serve(web));
    for (number, service) in [(7, Service::Echo), (9, Service::Discard), (19, Service::Source)] {
        let port = Port::listen(&network, number).await?;
        rt::spawn(Bulk::new(service).serve(port));
    }
    let socket = datagrams::bind(&network, 7).await?;
    log::info!("NET-READY");
    rt::apart(datagrams::echo(socket)).await
}
