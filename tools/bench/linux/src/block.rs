//! Reads and writes of a disk, without the page cache.

use std::{
    fs::File,
    io::{Seek as _, SeekFrom},
    os::fd::AsRawFd as _,
    path::Path,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use io_uring::{IoUring, opcode, types::Fd};
use rustix::fs::{Mode, OFlags, open};

use crate::mark::mark;

/// Memory and disk addresses of direct access are multiples of this.
const ALIGNMENT: usize = 4096;

/// Requests before a job that are not counted.
const WARM_UP: u32 = 64;

/// One way to read or write.
struct Job {
    name: &'static str,
    bytes: u32,
    depth: u32,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Read,
    Write,
}

const fn job(name: &'static str, bytes: u32, depth: u32, count: u32, order: Order) -> Job {
    Job { name, bytes, depth, count, order, operation: Operation::Read }
}

/// Those of `tests/bench/src/bin/bench-block.rs`; the two at depth 8 come last, since this Linux may never end them on QEMU.
const JOBS: [Job; 7] = [
    job("read_4k_depth_1", 4096, 1, 8000, Order::Random),
    job("read_4k_depth_32", 4096, 32, 40_000, Order::Random),
    job("read_128k_depth_1", 131_072, 1, 4000, Order::Sequential),
    job("read_128k_depth_4", 131_072, 4, 6000, Order::Sequential),
    Job { operation: Operation::Write, ..job("write_4k_depth_32", 4096, 32, 20_000, Order::Random) },
    job("read_128k_depth_8", 131_072, 8, 6000, Order::Sequential),
    Job { operation: Operation::Write, ..job("write_128k_depth_8", 131_072, 8, 6000, Order::Sequential) },
];

/// Does all jobs, and prints what each took.
pub fn read_and_write(device: &Path) -> Result<()> {
    let flags = OFlags::RDWR | OFlags::DIRECT | OFlags::CLOEXEC;
    let disk = open(device, flags, Mode::empty()).with_context(|| device.display().to_string())?;
    let mut disk = File::from(disk);
    let size = disk.seek(SeekFrom::End(0))?;
    for job in &JOBS {
        let mut places = Places::new(job, size)?;
        let mut memory = vec![0x5a_u8; (job.bytes * job.depth) as usize + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        let memory = memory.get_mut(start..).context("aligned memory")?;
        go(&disk, job, &mut places, memory, WARM_UP)?;
        let start = Instant::now();
        mark::<16>();
        go(&disk, job, &mut places, memory, job.count)?;
        mark::<17>();
        let per_second = f64::from(job.count) / start.elapsed().as_secs_f64();
        let Job { name, bytes, count, .. } = job;
        println!("NV name={name} bytes={bytes} ios={count} iops={per_second:.0}");
    }
    println!("NV-DONE");
    Ok(())
}

/// Does so many requests.
fn go(disk: &File, job: &Job, places: &mut Places, memory: &mut [u8], count: u32) -> Result<()> {
    if job.depth == 1 && job.operation == Operation::Read {
        let memory = memory.get_mut(..job.bytes as usize).context("memory")?;
        for _ in 0..count {
            let length = rustix::io::pread(disk, &mut *memory, places.next())?;
            ensure!(length == job.bytes as usize, "{length} bytes were read");
        }
        return Ok(());
    }
    queued(disk, job, places, memory, count)
}

/// Keeps as many requests under way as the job says.
fn queued(disk: &File, job: &Job, places: &mut Places, memory: &mut [u8], count: u32) -> Result<()> {
    let mut ring = IoUring::new(job.depth.max(2))?;
    let (mut left, mut done) = (count, 0);
    let mut idle: Vec<u64> = (0..u64::from(job.depth)).collect();
    while done < count {
        while let Some(tag) = idle.pop_if(|_| left > 0) {
            let part = memory.chunks_exact_mut(job.bytes as usize).nth(tag as usize).context("memory")?;
            let (file, place) = (Fd(disk.as_raw_fd()), places.next());
            let entry = match job.operation {
                Operation::Read => {
                    opcode::Read::new(file, part.as_mut_ptr(), job.bytes).offset(place).build()
                }
                Operation::Write => opcode::Write::new(file, part.as_ptr(), job.bytes).offset(place).build(),
            };
            // SAFETY: the part is this tag's alone until its completion comes, which is waited for, or the process ends by
            // an error; the file outlives the ring.
            unsafe { ring.submission().push(&entry.user_data(tag)) }?;
            left -= 1;
        }
        ring.submit_and_wait(1)?;
        for completion in ring.completion() {
            ensure!(completion.result() == job.bytes as i32, "a request ended with {}", completion.result());
            idle.push(completion.user_data());
            done += 1;
        }
    }
    Ok(())
}

/// Where requests go.
struct Places {
    order: Order,
    bytes: u64,
    places: u64,
    asked: u64,
    state: u64,
}

impl Places {
    fn new(job: &Job, size: u64) -> Result<Self> {
        let (order, bytes) = (job.order, u64::from(job.bytes));
        ensure!(size >= bytes, "the disk has {size} bytes");
        Ok(Self { order, bytes, places: size / bytes, asked: 0, state: 0x9e37_79b9_7f4a_7c15 })
    }

    /// The byte at which the next request starts.
    fn next(&mut self) -> u64 {
        let place = match self.order {
            Order::Sequential => self.asked % self.places,
            Order::Random => {
                self.state ^= self.state << 13;
                self.state ^= self.state >> 7;
                self.state ^= self.state << 17;
                self.state % self.places
            }
        };
        self.asked += 1;
        place * self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_on_the_disk() {
        for job in &JOBS {
            let mut places = Places::new(job, 1 << 20).expect("room");
            for _ in 0..1000 {
                let place = places.next();
                assert!(place.is_multiple_of(places.bytes) && place + places.bytes <= 1 << 20);
            }
        }
    }
}
