//! Writes and reads a disk by a script, several requests at a time, and checks all that it reads. Then it tries what it
//! must not be able to do. The host compares the disk's image afterwards.
//!
//! | argument | values |
//! |---|---|
//! | seed | of the script; 1 by default |
//! | steps | of the script; 300 by default |
//! | largest | blocks of one step; 200 by default |
//! | refusals | on (default): blocks outside of parts and writes to read-only objects are tried; off |
//!
//! Prints `block: done` or `block: FAILED` and why.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::{format, vec, vec::Vec};
use block::client::{Operation, Request, Session, Status, Tag, WriteMode};
use capnp::Error;
use schema::block_capnp::block_device;
use testing::blocks::{Random, Step, fill, matches, step};

rt::program!(run);

/// Requests at once, if the buffers are large enough.
const DEPTH: u16 = 8;

/// Parts that are opened one after the other, and the bytes of buffers of each: 40 MiB in all.
const MANY: u64 = 40;
const LARGE: u32 = 1 << 20;

/// The key of what the host wrote before.
const INITIAL: u64 = 0;
/// The key of the block that is written through a part.
const THROUGH_PART: u64 = 0x7061_7274;

/// What is known of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Key(u32),
    Zero,
    Unknown,
}

async fn run(environment: rt::Environment) -> Result<(), Error> {
    match test(&environment).await {
        Ok(()) => log::info!("block: done"),
        Err(error) => log::error!("block: FAILED: {error}"),
    }
    Ok(())
}

fn number(environment: &rt::Environment, name: &str, default: u64) -> u64 {
    environment.argument(name).and_then(|value| value.parse().ok()).unwrap_or(default)
}

async fn test(environment: &rt::Environment) -> Result<(), Error> {
    let device: block_device::Client = environment.grant("disk")?;
    let info = block::client::info(&device).await?;
    let largest = number(environment, "largest", 200).min(info.maximum_blocks.into());
    let slot = largest * u64::from(info.block_bytes);
    log::info!(
        "block: {} blocks of {} bytes, at most {} at once, model {:?}, serial {:?}, name {:?}",
        info.blocks,
        info.block_bytes,
        info.maximum_blocks,
        info.model,
        info.serial,
        info.name
    );
    // A few hundred blocks at most, several times.
    let bytes = u32::try_from(slot * u64::from(DEPTH)).unwrap_or(u32::MAX);
    let session = Session::open(&device, DEPTH, bytes).await?;
    let count = usize::try_from(info.blocks).map_err(|_| failed("a disk that is too large"))?;
    let contents = vec![Content::Key(INITIAL as u32); count];
    let mut script = Script { session, slot: slot as usize, contents, flying: Vec::new() };
    // At least one, unless a step does not fit the buffers at all.
    let fits = script.session.buffers().bytes() / script.slot;
    script.flying = vec![None; fits.min(DEPTH.into())];
    let mut random = Random::new(number(environment, "seed", 1));
    for index in 1..=number(environment, "steps", 300) {
        // Steps are few.
        script.ask(index as u32, step(&mut random, info.blocks, largest)).await?;
    }
    script.drain().await?;
    script.check_all().await?;
    drop(script);
    if environment.argument("refusals") != Some("off") {
        refusals(&device, info.blocks).await?;
        buffers_come_back(&device).await?;
    }
    Ok(())
}

/// The disk under test, what should be on it, and what is in flight, by tag.
struct Script {
    session: Session,
    /// Bytes of the buffers for one request.
    slot: usize,
    contents: Vec<Content>,
    flying: Vec<Option<Flying>>,
}

/// One request in flight.
#[derive(Clone, Copy)]
struct Flying {
    key: u32,
    step: Step,
}

impl Flying {
    fn overlaps(&self, other: &Step) -> bool {
        let Step { block, blocks, .. } = self.step;
        block < other.block + u64::from(other.blocks) && other.block < block + u64::from(blocks)
    }
}

impl Script {
    /// Asks for one step, once there is room and nothing in flight is about the same blocks.
    async fn ask(&mut self, key: u32, step: Step) -> Result<(), Error> {
        if self.flying.is_empty() {
            return Err(failed("a step does not fit the buffers"));
        }
        let tag = loop {
            let in_the_way = self.flying.iter().flatten().any(|flying| flying.overlaps(&step));
            match self.flying.iter().position(Option::is_none) {
                Some(free) if !in_the_way => break free,
                _ => self.next_answer().await?,
            }
        };
        let Step { operation, block, blocks } = step;
        let offset = tag * self.slot;
        if matches!(operation, Operation::Write(_)) {
            self.write_data(offset, key, &step)?;
        }
        // Tags are below the depth, and the slots few and small.
        let request = Request { tag: Tag(tag as u16), operation, block, blocks, offset: offset as u32 };
        self.session.submit(request)?;
        self.session.ring();
        if let Some(place) = self.flying.get_mut(tag) {
            *place = Some(Flying { key, step });
        }
        Ok(())
    }

    /// Waits until nothing is in flight.
    async fn drain(&mut self) -> Result<(), Error> {
        while self.flying.iter().any(Option::is_some) {
            self.next_answer().await?;
        }
        Ok(())
    }

    async fn next_answer(&mut self) -> Result<(), Error> {
        let answer = loop {
            match self.session.take()? {
                Some(answer) => break answer,
                None => self.session.wait().await?,
            }
        };
        let tag = usize::from(answer.tag.0);
        let flying = self.flying.get_mut(tag).and_then(Option::take);
        let flying = flying.ok_or_else(|| failed("an answer to nothing"))?;
        if answer.status != Status::Done {
            return Err(Error::failed(format!("{:?} is answered by {:?}", flying.step, answer.status)));
        }
        self.note(&flying, tag * self.slot)
    }

    fn write_data(&mut self, offset: usize, key: u32, step: &Step) -> Result<(), Error> {
        let bytes = self.session.info().block_bytes as usize;
        let length = step.blocks as usize * bytes;
        let filled = self.session.buffers().with_mut(offset, length, |data| {
            for (number, block) in (step.block..).zip(data.chunks_exact_mut(bytes)) {
                fill(block, key.into(), number);
            }
        });
        filled.ok_or_else(|| failed("the buffers are too small"))
    }

    /// Takes a step's outcome over, or checks it.
    fn note(&mut self, flying: &Flying, offset: usize) -> Result<(), Error> {
        let Flying { key, step } = *flying;
        let content = match step.operation {
            Operation::Write(_) => Content::Key(key),
            Operation::WriteZeroes => Content::Zero,
            Operation::Discard => Content::Unknown,
            Operation::Flush => return Ok(()),
            Operation::Read => return self.check(&step, offset),
        };
        // Blocks of a disk whose number fits, as was checked at the start.
        let first = step.block as usize;
        let range = self.contents.get_mut(first..first + step.blocks as usize);
        range.ok_or_else(|| failed("blocks outside of the disk"))?.fill(content);
        Ok(())
    }

    fn check(&mut self, step: &Step, offset: usize) -> Result<(), Error> {
        let bytes = self.session.info().block_bytes as usize;
        let contents = self.contents.get(step.block as usize..).unwrap_or_default();
        let wrong = self.session.buffers().with(offset, step.blocks as usize * bytes, |data| {
            let blocks = (step.block..).zip(contents).zip(data.chunks_exact(bytes));
            blocks
                .filter(|((number, content), block)| !is(block, **content, *number))
                .map(|((n, _), _)| n)
                .next()
        });
        match wrong {
            Some(None) => Ok(()),
            Some(Some(block)) => {
                Err(Error::failed(format!("{step:?}: block {block} is not what it should be")))
            }
            None => Err(failed("the buffers are too small")),
        }
    }

    /// Reads the whole disk.
    async fn check_all(&mut self) -> Result<(), Error> {
        let bytes = u64::from(self.session.info().block_bytes);
        let most = (self.slot as u64 / bytes).max(1);
        let blocks = self.contents.len() as u64;
        for block in (0..blocks).step_by(most as usize) {
            // At most what fits a slot.
            let count = most.min(blocks - block) as u32;
            self.ask(0, Step { operation: Operation::Read, block, blocks: count }).await?;
        }
        self.drain().await
    }
}

fn is(block: &[u8], content: Content, number: u64) -> bool {
    match content {
        Content::Key(key) => matches(block, key.into(), number),
        Content::Zero => block.iter().all(|byte| *byte == 0),
        Content::Unknown => true,
    }
}

/// Tries what must be refused, and writes the last block of the disk through a part.
async fn refusals(device: &block_device::Client, blocks: u64) -> Result<(), Error> {
    let read_only = device.read_only_request().send().promise.await?.get()?.get_device()?;
    let mut session = Session::open(&read_only, 2, 65536).await?;
    for operation in [Operation::Write(WriteMode::Cached), Operation::Discard, Operation::WriteZeroes] {
        expect(&mut session, operation, 0, 1, Status::ReadOnly).await?;
    }
    expect(&mut session, Operation::Read, blocks - 1, 1, Status::Done).await?;
    expect(&mut session, Operation::Read, blocks, 1, Status::OutOfRange).await?;
    drop(session);
    for (first, count) in [(blocks, 1), (1, blocks), (u64::MAX, 2), (0, 0)] {
        if part(device, first, count).await.is_ok() {
            return Err(Error::failed(format!("{count} blocks from {first} are no part")));
        }
    }
    let last = part(device, blocks - 10, 10).await?;
    if part(&last, 5, 6).await.is_ok() {
        return Err(failed("a part of a part lies outside of it"));
    }
    let mut session = Session::open(&last, 2, 65536).await?;
    let bytes = session.info().block_bytes as usize;
    let filled = session.buffers().with_mut(0, bytes, |block| fill(block, THROUGH_PART, blocks - 1));
    filled.ok_or_else(|| failed("the buffers are too small"))?;
    for (operation, block, count, status) in [
        (Operation::Write(WriteMode::Cached), 9, 1, Status::Done),
        (Operation::Write(WriteMode::Cached), 10, 1, Status::OutOfRange),
        (Operation::Write(WriteMode::Cached), 9, 2, Status::OutOfRange),
        (Operation::Discard, 0, 11, Status::OutOfRange),
        (Operation::Read, u64::MAX, 1, Status::OutOfRange),
        (Operation::Read, 0, 0, Status::BadLength),
        (Operation::Flush, 0, 0, Status::Done),
    ] {
        expect(&mut session, operation, block, count, status).await?;
    }
    let mut read_only_part =
        Session::open(&last.read_only_request().send().promise.await?.get()?.get_device()?, 2, 65536).await?;
    expect(&mut read_only_part, Operation::Write(WriteMode::Durable), 0, 1, Status::ReadOnly).await
}

/// Opens queues on many parts, one after the other. Together their buffers would be more than any driver's quota: they are
/// used again once their parts are gone.
async fn buffers_come_back(device: &block_device::Client) -> Result<(), Error> {
    let mut smallest = usize::MAX;
    for block in 0..MANY {
        let part = part(device, block, 1).await?;
        let mut session = Session::open(&part, 2, LARGE).await?;
        expect(&mut session, Operation::Read, 0, 1, Status::Done).await?;
        let zero = session.buffers().with(4096, 4096, |bytes| bytes.iter().all(|byte| *byte == 0));
        if zero != Some(true) {
            return Err(failed("buffers hold what another part's holder wrote"));
        }
        session.buffers().with_mut(4096, 4096, |bytes| bytes.fill(1));
        smallest = smallest.min(session.buffers().bytes());
    }
    if smallest < LARGE as usize {
        return Err(Error::failed(format!("buffers of {smallest} bytes: they do not come back")));
    }
    Ok(())
}

async fn part(device: &block_device::Client, first: u64, count: u64) -> Result<block_device::Client, Error> {
    let mut request = device.partition_request();
    request.get().set_first(first);
    request.get().set_count(count);
    request.send().promise.await?.get()?.get_device()
}

async fn expect(
    session: &mut Session,
    operation: Operation,
    block: u64,
    blocks: u32,
    status: Status,
) -> Result<(), Error> {
    let answer = session.execute(Request { tag: Tag(0), operation, block, blocks, offset: 0 }).await?;
    if answer == status {
        return Ok(());
    }
    Err(Error::failed(format!(
        "{operation:?} of {blocks} blocks at {block}: {answer:?} in place of {status:?}"
    )))
}

fn failed(what: &str) -> Error {
    Error::failed(what.into())
}
