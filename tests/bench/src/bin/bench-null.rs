//! The smallest process: it ends at once.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

rt::program!(main);

async fn main(_: rt::Environment) -> Result<(), capnp::Error> {
    Ok(())
}
