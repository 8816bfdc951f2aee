//! Takes of the resource that its argument `what` names until it is refused, says how, gives all back and takes again.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::{format, vec::Vec};
use capnp::Error;
use core::future::pending;
use rt::memory::{Mapping, Protection};
use schema::{
    memory_capnp::memory_object,
    process_capnp::{own_process, thread},
};
use testing::compute;

rt::program!(run);

/// No quota allows more.
const MOST: usize = 4096;

/// Pages of one piece.
const PIECE: u32 = 16;

async fn run(environment: rt::Environment) -> Result<(), Error> {
    let own = environment.own_process();
    match environment.argument("what") {
        // Twice: what was given back can be had again.
        Some("frames") => {
            frames(PIECE).await?;
            frames(PIECE).await?;
        }
        Some("handles") => {
            frames(1).await?;
            frames(1).await?;
        }
        Some("threads") => threads(&own).await?,
        other => return Err(Error::failed(format!("unknown resource {other:?}"))),
    }
    log::info!("glutton: satisfied");
    pending().await
}

/// Allocates memory objects until one is refused.
async fn frames(pages: u32) -> Result<(), Error> {
    let mut taken: Vec<memory_object::Client> = Vec::with_capacity(MOST);
    let refusal = loop {
        match rt::memory::allocate(pages).await {
            Ok(memory) if taken.len() < MOST => taken.push(memory),
            Ok(_) => return Err(Error::failed("there is no end".into())),
            Err(error) => break error,
        }
    };
    let count = taken.len();
    drop(taken);
    log::info!("glutton: {count} memory objects, then {refusal}");
    Ok(())
}

/// Starts threads until one is refused.
async fn threads(own: &own_process::Client) -> Result<(), Error> {
    let mut taken: Vec<(thread::Client, Mapping)> = Vec::new();
    let refusal = loop {
        let memory = rt::memory::allocate(1).await?;
        let stack = Mapping::new(&memory, 0, 1, Protection::ReadWrite).await?;
        let index = taken.len();
        match compute::start_waiting(own, &stack, index).await {
            Ok(thread) if index < MOST => taken.push((thread, stack)),
            Ok(_) => return Err(Error::failed("there is no end".into())),
            Err(error) => break error,
        }
    };
    log::info!("glutton: {} threads, then {refusal}", taken.len());
    // They run on their stacks for ever.
    core::mem::forget(taken);
    Ok(())
}
