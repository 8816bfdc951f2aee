//! Hangs, or seems to, in the way that its argument `how` names.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use capnp::Error;
use core::{future, time::Duration};

rt::program!(run);

/// One step of a program that has much to do.
const STEP: Duration = Duration::from_millis(4);

async fn run(environment: rt::Environment) -> Result<(), Error> {
    match environment.argument("how") {
        // Never comes back to the executor.
        Some("spin") => {
            rt::sleep(STEP).await;
            loop {
                core::hint::spin_loop();
            }
        }
        // Always has something to do, and lets others in between.
        Some("busy") => loop {
            let end = rt::now() + STEP;
            while rt::now() < end {
                core::hint::spin_loop();
            }
            rt::yield_now().await;
        },
        // Runs, and knows that it is of no use.
        Some("unwell") => {
            rt::health::check(|| Err("the device is late".into()));
            future::pending().await
        }
        other => Err(Error::failed(alloc::format!("unknown way {other:?}"))),
    }
}
