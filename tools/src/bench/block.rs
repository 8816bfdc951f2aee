//! Instructions of a read from an NVMe disk: client, driver and kernel together, counted by the plugin, which does not
//! count idle time; and how fast that is in a run without the plugin.

use std::{collections::BTreeMap, fs, path::Path, time::Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{LIMIT, boot::build_plugin, report::Measurement};
use crate::{guest::Guest, qemu::Machine, smoke::Context};

/// The manifest whose program reads and writes.
const MANIFEST: &str = "manifests/bench-nvme.capnp";

/// Bytes of the disk.
const DISK_BYTES: u64 = 256 << 20;

/// Marks at the start and the end of a job (`tests/bench/src/bin/bench-block.rs`).
const START: &str = "mark 16 ";
const END: &str = "mark 17 ";

/// One job of the program, as it says itself.
struct Job {
    name: String,
    requests: u64,
    per_second: u64,
    megabytes: u64,
}

/// Runs the program with and without the plugin.
pub fn measure(context: &mut Context, folder: &Path) -> Result<Vec<Measurement>> {
    let plugin = build_plugin(context, folder)?;
    let counts = folder.join("nvme.counts");
    let disk = folder.join("nvme.disk");
    // Not of zeroes alone, not with holes, and settled: a write to a page that the host is writing back waits for it.
    fs::write(&disk, [0x5a].repeat(DISK_BYTES as usize))?;
    fs::File::open(&disk)?.sync_all()?;
    let argument = format!("{},log={},entry=0", plugin.display(), counts.display());
    let jobs = run(context, folder, &disk, &["-plugin", &argument])?;
    let text = fs::read_to_string(&counts).with_context(|| counts.display().to_string())?;
    let numbers = |mark: &str| -> Result<Vec<u64>> {
        text.lines().filter_map(|line| line.strip_prefix(mark)).map(|number| Ok(number.parse()?)).collect()
    };
    let (starts, ends) = (numbers(START)?, numbers(END)?);
    ensure!(starts.len() == jobs.len() && ends.len() == jobs.len(), "the marks do not fit the jobs: {text}");
    let mut found = Vec::new();
    for (job, (start, end)) in jobs.iter().zip(starts.iter().zip(&ends)) {
        found.push(Measurement { name: format!("nvme_{}", job.name), value: (end - start) / job.requests });
    }
    for job in run(context, folder, &disk, &[])? {
        found.push(Measurement { name: format!("nvme_{}_per_second", job.name), value: job.per_second });
        found.push(Measurement {
            name: format!("nvme_{}_megabytes_per_second", job.name),
            value: job.megabytes,
        });
    }
    fs::remove_file(&disk)?;
    Ok(found)
}

/// Boots the program's machine; what it says of its jobs.
fn run(context: &mut Context, folder: &Path, disk: &Path, more: &[&str]) -> Result<Vec<Job>> {
    context.enter("bench-nvme", Instant::now() + LIMIT);
    let mut machine = Machine::new(context.direct(MANIFEST)?);
    machine.add_drive("drive0", disk)?;
    machine.more.extend(["-device", "nvme,serial=bench,drive=drive0"].map(Into::into));
    machine.more.extend(more.iter().map(Into::into));
    let mut guest = Guest::start(machine, &[], &folder.join("nvme.log"), context.deadline())?;
    guest.wait_for("NV-DONE")?;
    let jobs = guest.lines().iter().filter_map(|line| Job::parse(line)).collect();
    guest.qmp()?.execute("quit", json!({}))?;
    guest.wait_exit()?;
    Ok(jobs)
}

impl Job {
    /// The job in a line of the serial log: `NV` and then names with values.
    fn parse(line: &str) -> Option<Self> {
        let (_, words) = line.split_once("NV ")?;
        let words: BTreeMap<&str, &str> =
            words.split_whitespace().filter_map(|word| word.split_once('=')).collect();
        let number = |name| words.get(name)?.parse().ok();
        Some(Self {
            name: (*words.get("name")?).to_owned(),
            requests: number("ios").filter(|requests| *requests > 0)?,
            per_second: number("iops")?,
            megabytes: number("MBps")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_found_in_log_lines() {
        let job = Job::parse("[    0.1] bench-block: NV name=read_4k ios=10 iops=20 MBps=30").expect("a job");
        assert_eq!((&*job.name, job.requests, job.per_second, job.megabytes), ("read_4k", 10, 20, 30));
        assert!(Job::parse("NV-DONE").is_none() && Job::parse("NV name=x ios=0 iops=1 MBps=1").is_none());
    }
}
