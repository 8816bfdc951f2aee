//! Instructions of requests, echoes and bytes through a network card: driver, stack and server together, counted by the
//! plugin between marks that the server sets every so many operations. And rates, in runs without the plugin.

mod jobs;
mod link;

use std::{ffi::OsString, time::Duration};

use anyhow::{Context as _, Result, ensure};
use bench_clients::Until;
use serde_json::json;

use self::{
    jobs::{JOBS, Job},
    link::{Link, LinkKind},
};
use super::{
    RUNS,
    counter::Counter,
    figures::Unit,
    session::{Session, System, Work},
};
use crate::guest::Guest;

/// What a server says when it serves.
const READY: &str = "NET-READY";

/// Marks of a job that are not looked at: connections are made and caches filled there.
const WARM_UP: usize = 2;

/// How long each job runs against the clock.
const CLOCKED: Duration = Duration::from_secs(1);

/// Measures over both links. Not every machine lets its user make a tap; then what it would have measured stays empty.
pub fn measure(session: &mut Session) -> Result<()> {
    over(session, LinkKind::Slirp)?;
    over(session, LinkKind::Tap).context("over a tap")
}

fn over(session: &mut Session, kind: LinkKind) -> Result<()> {
    Link::with(kind, |link| {
        for system in session.systems() {
            count(session, system, link, kind)?;
        }
        for _ in 0..RUNS {
            for system in session.systems() {
                clock(session, system, link, kind)?;
            }
        }
        Ok(())
    })
}

/// Counts the instructions of all jobs; each stretch between two marks is a run.
fn count(session: &mut Session, system: System, link: &Link, kind: LinkKind) -> Result<()> {
    let name = kind.name();
    let file = format!("network-counted-{name}-{}", system.name());
    let counter = Counter::new(&session.context.paths().root, &session.folder, &file)?;
    with_guest(session, system, link, &file, &counter.arguments(0), |session, job| {
        let Some(counted) = &job.counted else { return Ok(()) };
        let before = counter.reached(counted.mark)?.len();
        (job.run)(link, Until::Count(counted.total))?;
        let marks = counter.reached(counted.mark)?;
        let marks = marks.get(before + WARM_UP..).unwrap_or_default();
        ensure!(marks.len() > 1, "{} marks, and no stretch between two", marks.len());
        for count in per_unit(marks, counted.units) {
            session.figures(system).add(job.count_name(name), Unit::Instructions, count);
        }
        Ok(())
    })
}

/// Measures the rates of all jobs once.
fn clock(session: &mut Session, system: System, link: &Link, kind: LinkKind) -> Result<()> {
    let name = kind.name();
    let file = format!("network-{name}-{}", system.name());
    with_guest(session, system, link, &file, &[], |session, job| {
        if job.only.is_some_and(|only| only != kind) {
            return Ok(());
        }
        let (name, unit, value) = job.rate(name, &(job.run)(link, Until::Time(CLOCKED))?);
        session.figures(system).add(name, unit, value);
        Ok(())
    })
}

/// Boots a server's machine, and does something with each job.
fn with_guest(
    session: &mut Session,
    system: System,
    link: &Link,
    file: &str,
    more: &[OsString],
    mut each: impl FnMut(&mut Session, &Job) -> Result<()>,
) -> Result<()> {
    let mut machine = session.machine(system, Work::Network)?;
    machine.more.extend(link.arguments());
    machine.more.extend_from_slice(more);
    let mut guest = Guest::start(machine, &[], &session.log(file), session.context.deadline())?;
    guest.wait_for(READY)?;
    for job in &JOBS {
        each(session, job).with_context(|| format!("{}: {file}", job.name))?;
    }
    guest.qmp()?.execute("quit", json!({}))?;
    guest.wait_exit()?;
    Ok(())
}

/// The instructions between two marks, for one unit.
fn per_unit(marks: &[u64], units: u64) -> Vec<f64> {
    let stretches = marks.iter().zip(marks.iter().skip(1));
    stretches.map(|(start, end)| (end.saturating_sub(*start) as f64 / units as f64).round()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_between_neighbours() {
        assert_eq!(per_unit(&[0, 1000, 1100, 1304], 10), [100.0, 10.0, 20.0]);
        assert!(per_unit(&[5], 10).is_empty());
    }
}
