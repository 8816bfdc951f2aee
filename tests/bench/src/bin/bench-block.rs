//! Reads a disk in several ways, and prints for each `NV name=<job> bytes=<each> ios=<n> iops=<n>`, then `NV-DONE`. Marks for
//! the counting plugin stand at the start and the end of each job.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use bench::mark;
use block::client::{Operation, Request, Session, Status, Tag, WriteMode};
use capnp::Error;
use schema::block_capnp::block_device;

rt::program!(run);

/// One way to read or write.
struct Job {
    name: &'static str,
    bytes: u32,
    depth: u16,
    count: u32,
    order: Order,
    operation: Operation,
}

/// Where the next request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Random,
    Sequential,
}

const fn job(name: &'static str, bytes: u32, depth: u16, count: u32, order: Order) -> Job {
    Job { name, bytes, depth, count, order, operation: Operation::Read }
}

const JOBS: [Job; 7] = [
    job("read_4k_depth_1", 4096, 1, 8000, Order::Random),
    job("read_4k_depth_32", 4096, 32, 40_000, Order::Random),
    job("read_128k_depth_1", 131_072, 1, 4000, Order::Sequential),
    job("read_128k_depth_4", 131_072, 4, 6000, Order::Sequential),
    job("read_128k_depth_8", 131_072, 8, 6000, Order::Sequential),
    Job {
        operation: Operation::Write(WriteMode::Cached),
        ..job("write_4k_depth_32", 4096, 32, 20_000, Order::Random)
    },
    Job {
        operation: Operation::Write(WriteMode::Cached),
        ..job("write_128k_depth_8", 131_072, 8, 6000, Order::Sequential)
    },
];

/// Requests before a job that are not counted.
const WARM_UP: u32 = 64;

/// Marks at the start and the end of a job.
const START: u8 = 16;
const END: u8 = 17;

async fn run(environment: rt::Environment) -> Result<(), Error> {
    if let Err(error) = measure(&environment).await {
        log::error!("NV-FAILED: {error}");
    }
    log::info!("NV-DONE");
    Ok(())
}

async fn measure(environment: &rt::Environment) -> Result<(), Error> {
    let device: block_device::Client = environment.grant("disk")?;
    for job in &JOBS {
        let mut session = Session::open(&device, job.depth.max(2), u32::from(job.depth) * job.bytes).await?;
        go(&mut session, job, WARM_UP).await?;
        let start = rt::now();
        mark::<START>();
        go(&mut session, job, job.count).await?;
        mark::<END>();
        let nanoseconds = (rt::now() - start).as_nanos().max(1);
        let per_second = u128::from(job.count) * 1_000_000_000 / nanoseconds;
        let Job { name, bytes, count, .. } = job;
        log::info!("NV name={name} bytes={bytes} ios={count} iops={per_second}");
    }
    Ok(())
}

/// Does so many requests, as many at once as the job says.
async fn go(session: &mut Session, job: &Job, count: u32) -> Result<(), Error> {
    let blocks = job.bytes / session.info().block_bytes;
    let places = session.info().blocks / u64::from(blocks);
    let (mut state, mut asked, mut done) = (0x9e37_79b9_7f4a_7c15_u64, 0_u32, 0);
    let mut next = |tag: u16| {
        let place = match job.order {
            Order::Sequential => u64::from(asked) % places,
            Order::Random => {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % places
            }
        };
        asked += 1;
        let (operation, block) = (job.operation, place * u64::from(blocks));
        Request { tag: Tag(tag), operation, block, blocks, offset: u32::from(tag) * job.bytes }
    };
    let mut left = count;
    for tag in 0..job.depth {
        session.submit(next(tag))?;
        left -= 1;
    }
    session.ring();
    while done < count {
        while let Some(answer) = session.take()? {
            if answer.status != Status::Done {
                return Err(Error::failed(alloc::format!("a request is answered by {:?}", answer.status)));
            }
            done += 1;
            if left > 0 {
                left -= 1;
                session.submit(next(answer.tag.0))?;
            }
        }
        session.ring();
        if done < count {
            session.wait().await?;
        }
    }
    Ok(())
}
