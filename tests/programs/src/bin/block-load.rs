//! Writes to a disk without a pause, through as many drivers as it takes. What was written is read back at once; and after
//! each driver that was lost, all blocks: each must be whole, and no older than what was answered.
//!
//! Each write of a block has a version that is its key; a block is written again only when its last write was answered and
//! read back. What the disk answers with an error is asked for again.
//! Exports `load` where the manifest says so. Prints `block-load: running` when the first write is answered, `block-load: checked N` after the N-th driver, and
//! `block-load: FAILED` and why.
//!
//! | argument | values |
//! |---|---|
//! | errors | fail (default), repeat: what becomes of a request that the disk answers with an error, and of a broken queue |
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::{format, vec, vec::Vec};
use block::client::{Operation, Request, Session, Status, Tag, WriteMode};
use capnp::{Error, ErrorKind};
use core::{convert::Infallible, time::Duration};
use schema::block_capnp::block_device;
use testing::{
    blocks::{fill, matches},
    progress::Progress,
};

rt::program!(run);

/// Requests at once, and so places that are written.
const DEPTH: u16 = 16;

/// Blocks of one place: more than a page of most disks.
const BLOCKS: u32 = 9;

/// Blocks between two places.
const STRIDE: u64 = 16;

/// How long nothing may be answered: more than a driver takes to bring its device back.
const SILENCE: Duration = Duration::from_secs(15);

/// Before another try to reach a driver that is being started.
const PAUSE: Duration = Duration::from_millis(5);

/// How often that is tried.
const TRIES: u32 = 2000;

/// What is known of one place.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// The version that was asked for last.
    asked: u64,
    /// The version that was answered last.
    answered: u64,
    /// What it is at.
    doing: Doing,
}

/// What is asked of a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Doing {
    /// The next version is written.
    #[default]
    Writing,
    /// It is read back.
    Reading,
}

/// Why the load cannot go on with a session.
enum Stop {
    /// The session is lost; another may do.
    Lost(Error),
    /// What was read is not what was written.
    Wrong(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Lost(error)
    }
}

/// What becomes of a request that the disk answers with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Errors {
    /// The test has failed.
    Fail,
    /// It is asked for again.
    Repeat,
}

async fn run(environment: rt::Environment) -> Result<(), Error> {
    let progress = Progress::new();
    progress.export(&environment).await;
    if let Err(error) = load(&environment, &progress).await {
        log::error!("block-load: FAILED: {error}");
        progress.fail(&format!("{error}"));
        // To be asked.
        core::future::pending::<()>().await;
    }
    Ok(())
}

async fn load(environment: &rt::Environment, progress: &Progress<1>) -> Result<(), Error> {
    let errors = match environment.argument("errors") {
        None | Some("fail") => Errors::Fail,
        Some("repeat") => Errors::Repeat,
        Some(other) => return Err(Error::failed(format!("argument errors={other}"))),
    };
    let mut places = vec![Place::default(); DEPTH.into()];
    let mut drivers = 0;
    let mut session = reach(environment).await?;
    loop {
        progress.begin_session();
        match write(&mut session, &mut places, drivers, errors, progress).await {
            Stop::Wrong(error) => return Err(error),
            Stop::Lost(error) if error.kind != ErrorKind::Disconnected && errors == Errors::Fail => {
                return Err(error);
            }
            Stop::Lost(_) => {}
        }
        drop(session);
        // The driver may be killed while it is being checked: then it is checked again.
        session = loop {
            let mut next = reach(environment).await?;
            match check(&mut next, &mut places).await {
                Ok(()) => break next,
                Err(Stop::Lost(error))
                    if error.kind == ErrorKind::Disconnected || errors == Errors::Repeat => {}
                Err(Stop::Lost(error) | Stop::Wrong(error)) => return Err(error),
            }
        };
        drivers += 1;
        log::info!("block-load: checked {drivers}");
    }
}

/// Opens a queue on the driver that there is, or the next one.
async fn reach(environment: &rt::Environment) -> Result<Session, Error> {
    let mut last = Error::failed("no try was made".into());
    for _ in 0..TRIES {
        let opened = async {
            let device: block_device::Client = environment.reacquire("disk").await?;
            Session::open(&device, DEPTH, 1 << 20).await
        };
        match opened.await {
            Ok(session) => return Ok(session),
            Err(error) => last = error,
        }
        rt::sleep(PAUSE).await;
    }
    Err(last)
}

/// Keeps a request of each place in flight. Ends only by an error.
async fn write(
    session: &mut Session,
    places: &mut [Place],
    drivers: u32,
    errors: Errors,
    progress: &Progress<1>,
) -> Stop {
    let Err(stop) = try_write(session, places, drivers, errors, progress).await;
    stop
}

async fn try_write(
    session: &mut Session,
    places: &mut [Place],
    drivers: u32,
    errors: Errors,
    progress: &Progress<1>,
) -> Result<Infallible, Stop> {
    for index in 0..DEPTH {
        // What was not answered is asked for again, as it was.
        if let Some(place) = places.get_mut(usize::from(index)) {
            place.asked = place.asked.max(place.answered + 1);
            place.doing = Doing::Writing;
        }
        ask(session, places, index)?;
    }
    session.ring();
    let mut running = false;
    loop {
        while let Some(answer) = session.take()? {
            let index = answer.tag.0;
            if answer.status == Status::Done {
                let (offset, block) = at(session, index);
                if let Some(place) = places.get_mut(usize::from(index)) {
                    finish(session, place, offset, block, progress)?;
                }
            } else if errors == Errors::Fail {
                return Err(Stop::Wrong(Error::failed(format!(
                    "a request is answered by {:?}",
                    answer.status
                ))));
            }
            ask(session, places, index)?;
            if !running {
                log::info!("block-load: running on driver {}", drivers + 1);
                running = true;
            }
        }
        session.ring();
        match errors {
            Errors::Fail => session.wait().await?,
            // A driver that lives and has forgotten is lost too.
            Errors::Repeat => rt::timeout(SILENCE, session.wait())
                .await
                .map_err(|_| Error::failed("nothing is answered".into()))??,
        }
    }
}

/// Goes on after a request that was done.
fn finish(
    session: &mut Session,
    place: &mut Place,
    offset: usize,
    block: u64,
    progress: &Progress<1>,
) -> Result<(), Stop> {
    if place.doing == Doing::Writing {
        place.answered = place.asked;
        place.doing = Doing::Reading;
        return Ok(());
    }
    let bytes = session.info().block_bytes as usize;
    let wrong = session.buffers().with(offset, BLOCKS as usize * bytes, |data| {
        (block..)
            .zip(data.chunks_exact(bytes))
            .find(|(number, part)| !matches(part, place.answered, *number))
            .map(|(number, _)| number)
    });
    if let Some(number) = wrong.flatten() {
        return Err(Stop::Wrong(Error::failed(format!(
            "block {number} reads back as something else: {place:?}"
        ))));
    }
    place.asked += 1;
    place.doing = Doing::Writing;
    progress.add([1]);
    Ok(())
}

fn ask(session: &mut Session, places: &[Place], index: u16) -> Result<(), Error> {
    let Place { asked: version, doing, .. } = places.get(usize::from(index)).copied().unwrap_or_default();
    let bytes = session.info().block_bytes as usize;
    let (offset, block) = at(session, index);
    let length = BLOCKS as usize * bytes;
    session.buffers().with_mut(offset, length, |data| match doing {
        Doing::Writing => {
            for (number, part) in (block..).zip(data.chunks_exact_mut(bytes)) {
                fill(part, version, number);
            }
        }
        // What is not read is not what was written.
        Doing::Reading => data.fill(0),
    });
    let operation = match doing {
        // Every seventh write is durable by itself.
        Doing::Writing if version % 7 == 0 => Operation::Write(WriteMode::Durable),
        Doing::Writing => Operation::Write(WriteMode::Cached),
        Doing::Reading => Operation::Read,
    };
    // The places of a few requests.
    session.submit(Request { tag: Tag(index), operation, block, blocks: BLOCKS, offset: offset as u32 })
}

/// Where a place lies in the buffers and on the disk.
fn at(session: &Session, index: u16) -> (usize, u64) {
    let bytes = BLOCKS as usize * session.info().block_bytes as usize;
    (usize::from(index) * bytes.next_multiple_of(4096), u64::from(index) * STRIDE + 3)
}

/// Reads every place: its blocks are each whole, of the version that was answered last or of the one that was not
/// answered.
async fn check(session: &mut Session, places: &mut [Place]) -> Result<(), Stop> {
    let bytes = session.info().block_bytes as usize;
    let mut data: Vec<u8> = vec![0; BLOCKS as usize * bytes];
    for (index, place) in (0..).zip(places) {
        let (_, first) = at(session, index);
        session.read(first, &mut data).await?;
        for (block, part) in (first..).zip(data.chunks_exact(bytes)) {
            // Nothing was answered yet of a place that still is what the host wrote: version 0.
            if !matches(part, place.answered, block) && !matches(part, place.asked, block) {
                return Err(Stop::Wrong(Error::failed(format!("block {block} is torn or lost: {place:?}"))));
            }
        }
    }
    Ok(())
}
