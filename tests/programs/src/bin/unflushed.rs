//! Writes the first blocks of "disk", and leaves it to others to make them last. Prints `unflushed: written`.
//!
//! The host looks for the blocks in the image, and whether the disk was told to flush.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::format;
use block::client::{Operation, Request, Session, Status, Tag, WriteMode};
use capnp::Error;
use core::future::pending;
use testing::blocks::fill;

rt::program!(run);

/// The key of what is written.
const KEY: u64 = 1;

/// How much is written: so many requests, one after the other, of so many blocks.
const REQUESTS: u64 = 16;
const BLOCKS: u32 = 8;

async fn run(environment: rt::Environment) -> Result<(), Error> {
    let mut session = Session::open(&environment.grant("disk")?, 2, 4096).await?;
    let bytes = session.info().block_bytes as usize;
    for first in (0..REQUESTS).map(|number| number * u64::from(BLOCKS)) {
        session.buffers().with_mut(0, BLOCKS as usize * bytes, |data| {
            for (block, part) in (first..).zip(data.chunks_exact_mut(bytes)) {
                fill(part, KEY, block);
            }
        });
        let operation = Operation::Write(WriteMode::Cached);
        let request = Request { tag: Tag(0), operation, block: first, blocks: BLOCKS, offset: 0 };
        let status = session.execute(request).await?;
        if status != Status::Done {
            return Err(Error::failed(format!("a write is answered by {status:?}")));
        }
    }
    log::info!("unflushed: written");
    pending().await
}
