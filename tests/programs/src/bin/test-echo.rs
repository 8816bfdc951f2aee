//! Serves the `Echo` interface of schema/test.capnp to other processes, as `echo`.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

// The runtime's own tests have the same server.
#[path = "../../../../lib/rt/src/tests/echo_server.rs"]
mod echo_server;

use alloc::rc::Rc;
use capnp::Error;
use core::future::pending;
use echo_server::Echo;

rt::program!(run);

async fn run(environment: rt::Environment) -> Result<(), Error> {
    environment.export("echo", Echo::client(&Rc::default())).await?;
    pending().await
}
