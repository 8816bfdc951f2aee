//! Instructions of a read from an NVMe disk: client, driver and kernel together, counted by the plugin, which does not
//! count idle time; and how fast that is in runs without the plugin.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde_json::json;

use super::{
    RUNS,
    counter::Counter,
    figures::Unit,
    session::{Session, System, Work},
};
use crate::guest::Guest;

/// Bytes of the disk.
const DISK_BYTES: u64 = 256 << 20;

/// Requests of at least so many bytes are measured in bytes a second, shorter ones in requests a second.
const LARGE: u64 = 64 << 10;

/// How long one job may take, also under the plugin and on a host that has other work.
const PATIENCE: Duration = Duration::from_secs(20);

/// Marks at the start and the end of a job (`tests/bench/src/bin/bench-block.rs`).
const START: &str = "mark 16";
const END: &str = "mark 17";

/// One job of the program, as it says itself.
struct Job {
    name: String,
    bytes: u64,
    requests: u64,
    per_second: f64,
}

/// Runs the program with and without the plugin.
pub fn measure(session: &mut Session) -> Result<()> {
    let disk = super::file_in(&session.folder, "nvme.disk")?;
    // Not of zeroes alone, and not with holes.
    fs::write(&disk, [0x5a].repeat(DISK_BYTES as usize))?;
    for _ in 0..RUNS {
        round(session, |session, system| count(session, system, &disk))?;
        round(session, |session, system| {
            let jobs = run(session, system, &disk, "nvme", &[])?;
            Ok(jobs.iter().map(Job::rate).collect())
        })?;
    }
    fs::remove_file(&disk)?;
    Ok(())
}

/// Name, unit and value of a figure.
type Value = (String, Unit, f64);

/// Measures all systems once.
fn round(
    session: &mut Session,
    mut measure: impl FnMut(&mut Session, System) -> Result<Vec<Value>>,
) -> Result<()> {
    let mut ended = Vec::new();
    for system in session.systems() {
        ended.push((system, measure(session, system)?));
    }
    for (system, name, unit) in stalled(&ended) {
        session.figures(system).add_stalled(name, unit);
    }
    for (system, values) in ended {
        for (name, unit, value) in values {
            session.figures(system).add(name, unit, value);
        }
    }
    Ok(())
}

/// What one system did not end and another did.
fn stalled(ended: &[(System, Vec<Value>)]) -> Vec<(System, String, Unit)> {
    let all = || ended.iter().flat_map(|(_, values)| values);
    let names: BTreeMap<&str, Unit> = all().map(|(name, unit, _)| (name.as_str(), *unit)).collect();
    let mut stalled = Vec::new();
    for (system, values) in ended {
        let missing = names.iter().filter(|(name, _)| values.iter().all(|(ended, ..)| ended != *name));
        stalled.extend(missing.map(|(name, unit)| (*system, (*name).to_owned(), *unit)));
    }
    stalled
}

/// Counts instructions.
fn count(session: &mut Session, system: System, disk: &Path) -> Result<Vec<Value>> {
    let name = format!("nvme-counted-{}", system.name());
    let counter = Counter::new(&session.context.paths().root, &session.folder, &name)?;
    let jobs = run(session, system, disk, "nvme-counted", &counter.arguments(0))?;
    let (starts, ends) = (counter.reached(START)?, counter.reached(END)?);
    // A job that stalled has a start alone.
    ensure!(starts.len() >= jobs.len() && ends.len() == jobs.len(), "the marks do not fit the jobs");
    let counts = jobs.iter().zip(starts.iter().zip(&ends)).map(|(job, (start, end))| {
        let each = end.saturating_sub(*start) / job.requests;
        (format!("nvme_{}", job.name), Unit::Instructions, each as f64)
    });
    Ok(counts.collect())
}

/// Boots the program's machine; what it says of its jobs.
fn run(
    session: &mut Session,
    system: System,
    disk: &Path,
    name: &str,
    more: &[OsString],
) -> Result<Vec<Job>> {
    // A write to a page that the host is writing back waits for it.
    File::open(disk)?.sync_all()?;
    let mut machine = session.machine(system, Work::Block)?;
    machine.add_drive("drive0", disk)?;
    machine.more.extend(["-device", "nvme,serial=bench,drive=drive0"].map(Into::into));
    machine.more.extend_from_slice(more);
    let log = session.log(&format!("{name}-{}", system.name()));
    let mut guest = Guest::start(machine, &[], &log, session.context.deadline())?;
    let mut jobs = Vec::new();
    let ended = wait_for_jobs(&mut guest, &mut jobs);
    ensure!(!jobs.is_empty(), "no job ended");
    match (ended, system) {
        (Ok(()), _) => {
            guest.qmp()?.execute("quit", json!({}))?;
            guest.wait_exit()?;
        }
        (Err(error), System::Capos) => return Err(error),
        // What it has ended counts; the rest is noted as stalled.
        (Err(_), System::Linux) => {}
    }
    Ok(jobs)
}

/// Waits for one job after the other.
fn wait_for_jobs(guest: &mut Guest, jobs: &mut Vec<Job>) -> Result<()> {
    loop {
        // The first one also waits for the machine to boot.
        guest.set_deadline(Instant::now() + PATIENCE);
        let line =
            guest.wait_until("a job's end", |line| line.contains("NV-DONE") || Job::parse(line).is_some())?;
        match Job::parse(&line) {
            Some(job) => jobs.push(job),
            None => return Ok(()),
        }
    }
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
            bytes: number("bytes")?,
            requests: number("ios").filter(|requests| *requests > 0)?,
            per_second: number("iops")? as f64,
        })
    }

    /// Its rate, with name and unit.
    fn rate(&self) -> Value {
        let Self { name, bytes, per_second, .. } = self;
        if *bytes >= LARGE {
            let value = per_second * *bytes as f64 / 1e6;
            (format!("nvme_{name}_megabytes_per_second"), Unit::MegabytesPerSecond, value)
        } else {
            (format!("nvme_{name}_per_second"), Unit::PerSecond, *per_second)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_another_system_ended_has_stalled() {
        let value = |name: &str| (name.to_owned(), Unit::PerSecond, 1.0);
        let ended = [(System::Capos, vec![value("a"), value("b")]), (System::Linux, vec![value("a")])];
        assert_eq!(stalled(&ended), [(System::Linux, "b".into(), Unit::PerSecond)]);
        assert!(stalled(&ended[..1]).is_empty());
    }

    #[test]
    fn jobs_are_found_in_log_lines() {
        let parse = |line| Job::parse(line).expect("a job");
        let small = parse("[    0.1] bench-block: NV name=read_4k bytes=4096 ios=10 iops=20");
        assert_eq!((&*small.name, small.requests), ("read_4k", 10));
        assert_eq!(small.rate(), ("nvme_read_4k_per_second".into(), Unit::PerSecond, 20.0));
        let large = parse("NV name=read_1m bytes=1000000 ios=10 iops=20");
        assert_eq!(large.rate().2, 20.0);
        assert!(Job::parse("NV-DONE").is_none());
        assert!(Job::parse("NV name=x bytes=1 ios=0 iops=1").is_none());
    }
}
