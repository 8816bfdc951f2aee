//! Serves the `Echo` interface of schema/test.capnp by generated code: the other side of the typed call.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::rc::Rc;
use schema::test_capnp::echo;

rt::program!(run);

struct Echo;

impl echo::Server for Echo {
    async fn echo(
        self: Rc<Self>,
        params: echo::EchoParams,
        mut results: echo::EchoResults,
    ) -> Result<(), capnp::Error> {
        results.get().set_value(params.get()?.get_value());
        Ok(())
    }
}

async fn run(environment: rt::Environment) -> Result<(), capnp::Error> {
    environment.export("echo", rt::serve::<echo::Client, _>(Rc::new(Echo))).await?;
    core::future::pending().await
}
