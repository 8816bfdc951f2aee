//! TCP/IP service process: grant "nic" (Nic), export "network" (NetworkManager).
//!
//! The arguments are in [`netstack::arguments`].
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::string::ToString;

use capnp::Error;
use netstack::{arguments, service::Service};

rt::program!(serve);

// Not called `main`, which is the name of what the linker wants on the host.
async fn serve(environment: rt::Environment) -> Result<(), Error> {
    let addressing = arguments::parse(|name| environment.argument(name))
        .map_err(|error| Error::failed(error.to_string()))?;
    let service = Service::start(environment.clone(), addressing).await?;
    environment.export("network", service.manager()).await?;
    match rt::apart(async move { service.run().await }).await {}
}
