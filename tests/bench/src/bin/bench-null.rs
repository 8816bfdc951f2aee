//! The smallest process: it ends at once.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

rt::program!(run);

async fn run(_: rt::Environment) -> Result<(), capnp::Error> {
    Ok(())
}
