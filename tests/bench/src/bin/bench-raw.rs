//! Answers calls with what they brought, by bare system calls: the other side of the raw call.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use abi::{Event, MessageInfo};
use bench::raw;
use capnp::capability::Client;

rt::program!(run);

async fn run(environment: rt::Environment) -> Result<(), capnp::Error> {
    let endpoint =
        environment.own_process().endpoint_request().send().promise.await?.get()?.get_endpoint()?;
    let facet = endpoint.mint_request().send().promise.await?;
    let facet: Client = facet.get()?.get_facet().get_as_capability()?;
    environment.export("raw", facet).await?;
    // A client of an object behind a handle shows the handle as its pointer.
    let handle = endpoint.client.hook.get_ptr() as u32;
    let mut received = raw::reply_receive(0, MessageInfo(0), handle);
    loop {
        let answered = if received.event == Event::Call as u64 { received.reply } else { 0 };
        received = raw::reply_receive(answered, MessageInfo::new(0, received.info.words() as u16, 0), handle);
    }
}
