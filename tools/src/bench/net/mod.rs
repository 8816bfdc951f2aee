//! Instructions of requests, echoes and bytes through a network card: driver, stack and server together, counted by the
//! plugin between marks that the server sets every so many operations.

mod client;
mod http;
mod link;

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use self::{
    client::{Done, Until},
    http::Reuse,
    link::{Kind, Link},
};
use super::{LIMIT, boot::build_plugin, report::Measurement};
use crate::{guest::Guest, qemu::Machine, smoke::Context};

/// The manifest of the server.
const MANIFEST: &str = "manifests/bench-net.capnp";

/// What the server says when it serves.
const READY: &str = "NET-READY";

/// Marks of a job that are not looked at: connections are made and caches filled there.
const WARM_UP: usize = 2;

/// How long each job runs against the clock.
const CLOCKED: Duration = Duration::from_secs(1);

/// Bytes between two marks, and in a KiB (`tests/bench/src/bin/bench-net/marks.rs`).
const MARKED_BYTES: u64 = 1 << 20;
const KIBIBYTE: u64 = 1 << 10;

/// Operations between two marks.
const MARKED_OPERATIONS: u64 = 100;

/// One thing that is measured.
struct Job {
    name: &'static str,
    /// The mark that the server sets, as in the plugin's lines.
    mark: &'static str,
    /// Units between two marks.
    units: u64,
    /// Operations, or bytes, that are counted.
    count: u64,
    run: fn(&Link, Until) -> Result<Done>,
}

const JOBS: [Job; 6] = [
    Job {
        name: "http_keep_alive_16",
        mark: "mark 48 ",
        units: MARKED_OPERATIONS,
        count: 3000,
        run: |link, until| http::requests(link.tcp(8080)?, 16, Reuse::KeepAlive, until),
    },
    Job {
        name: "http_new_connection",
        mark: "mark 48 ",
        units: MARKED_OPERATIONS,
        count: 1200,
        run: |link, until| http::requests(link.tcp(8080)?, 1, Reuse::Never, until),
    },
    Job {
        name: "udp_echo_64",
        mark: "mark 49 ",
        units: MARKED_OPERATIONS,
        count: 2000,
        run: |link, until| client::udp_echo(link.udp(), until),
    },
    Job {
        name: "tcp_echo_64",
        mark: "mark 52 ",
        units: MARKED_OPERATIONS,
        count: 2000,
        run: |link, until| client::tcp_echo(link.tcp(7)?, until),
    },
    Job {
        name: "tcp_in_per_kib",
        mark: "mark 50 ",
        units: MARKED_BYTES / KIBIBYTE,
        count: 40 * MARKED_BYTES,
        run: |link, until| client::bulk_in(link.tcp(9)?, until),
    },
    Job {
        name: "tcp_out_per_kib",
        mark: "mark 51 ",
        units: MARKED_BYTES / KIBIBYTE,
        count: 40 * MARKED_BYTES,
        run: |link, until| client::bulk_out(link.tcp(19)?, until),
    },
];

/// Counts instructions over both links.
pub fn measure(context: &mut Context, folder: &Path) -> Result<Vec<Measurement>> {
    let plugin = build_plugin(context, folder)?;
    let mut found = Vec::new();
    for kind in [Kind::Slirp, Kind::Tap] {
        let measured = Link::with(kind, |link| {
            let mut found = count(context, folder, link, &plugin, kind.name())?;
            found.extend(clock(context, folder, link, kind.name())?);
            Ok(found)
        });
        match (measured, kind) {
            (Ok(measured), _) => found.extend(measured),
            (Err(error), Kind::Slirp) => return Err(error),
            // Not every machine lets its user make one; what it would have measured stays empty.
            (Err(error), Kind::Tap) => eprintln!("bench: network over a tap: {error:#}"),
        }
    }
    Ok(found)
}

/// Counts the instructions of all jobs over one link.
fn count(
    context: &mut Context,
    folder: &Path,
    link: &Link,
    plugin: &Path,
    name: &str,
) -> Result<Vec<Measurement>> {
    let counts = folder.join(format!("net-{name}.counts"));
    let argument = format!("{},log={},entry=0", plugin.display(), counts.display());
    let more = ["-plugin".into(), argument.into()];
    with_guest(context, &folder.join(format!("net-{name}-counted.log")), link, &more, |job| {
        let before = marks(&counts, job)?.len();
        (job.run)(link, Until::Count(job.count))?;
        let marks = marks(&counts, job)?;
        let value = per_unit(marks.get(before + WARM_UP..).unwrap_or_default(), job.units);
        let value = value.with_context(|| format!("{} marks", marks.len() - before))?;
        Ok(vec![Measurement { name: format!("{}_{name}", job.name), value }])
    })
}

/// Operations, or MB, in a second over one link, and latencies in microseconds.
fn clock(context: &mut Context, folder: &Path, link: &Link, name: &str) -> Result<Vec<Measurement>> {
    with_guest(context, &folder.join(format!("net-{name}.log")), link, &[], |job| {
        let done = (job.run)(link, Until::Time(CLOCKED))?;
        let (unit, each) =
            if job.units == MARKED_OPERATIONS { ("per_second", 1.0) } else { ("megabytes_per_second", 1e6) };
        let mut found = vec![Measurement {
            name: format!("{}_{name}_{unit}", job.name),
            value: (done.per_second() / each).round() as u64,
        }];
        found.extend(done.median_latency().map(|latency| Measurement {
            name: format!("{}_{name}_median_microseconds", job.name),
            value: latency.as_micros() as u64,
        }));
        Ok(found)
    })
}

/// Boots the server's machine, and does something with each job.
fn with_guest(
    context: &mut Context,
    log: &Path,
    link: &Link,
    more: &[OsString],
    mut each: impl FnMut(&Job) -> Result<Vec<Measurement>>,
) -> Result<Vec<Measurement>> {
    context.enter("bench-net", Instant::now() + LIMIT);
    let mut machine = Machine::new(context.direct(MANIFEST)?);
    machine.more = [&link.arguments(), more].concat();
    let mut guest = Guest::start(machine, &[], log, context.deadline())?;
    guest.wait_for(READY)?;
    let mut found = Vec::new();
    for job in &JOBS {
        found.extend(each(job).with_context(|| job.name)?);
    }
    guest.qmp()?.execute("quit", json!({}))?;
    guest.wait_exit()?;
    Ok(found)
}

/// The instruction counts at a job's marks so far.
fn marks(counts: &PathBuf, job: &Job) -> Result<Vec<u64>> {
    let text = fs::read_to_string(counts).with_context(|| counts.display().to_string())?;
    let mut marks = Vec::new();
    // The last line may be half written.
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        if let Some(number) = line.strip_prefix(job.mark) {
            marks.push(number.parse()?);
        }
    }
    ensure!(marks.is_sorted(), "counts that fall");
    Ok(marks)
}

/// The median of the instructions between two marks, for one unit.
fn per_unit(marks: &[u64], units: u64) -> Option<u64> {
    let mut windows: Vec<u64> =
        marks.windows(2).filter_map(|pair| pair.last()?.checked_sub(*pair.first()?)).collect();
    windows.sort_unstable();
    windows.get(windows.len() / 2).map(|window| window / units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_window_counts() {
        assert_eq!(per_unit(&[0, 1000, 1100, 1200], 10), Some(10));
        assert_eq!(per_unit(&[5], 10), None);
    }
}
