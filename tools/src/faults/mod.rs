//! `faults`: hits drivers and their devices with faults while clients work, and tells what became of each.
//!
//! ```text
//!   seed --Plan--> injections --Bench (machine under load)--> outcomes --report--> table, JSON, picture
//! ```
//!
//! What is injected follows from the seed; the moment, and so what it meets, is the machine's. A fault that fails leaves its
//! machine's log, and the next one gets a machine of its own.

mod accounts;
mod client;
mod hook;
mod machine;
mod outcome;
mod plan;
mod report;
mod strips;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

pub use self::plan::{Fault, Plan, Target};
use self::{
    machine::{Bench, Wiring},
    outcome::{Found, Outcome},
    plan::Injection,
};
use crate::{paths::Paths, smoke::Context};

/// Time of the host to boot, to warm up and to count.
const BOOT: Duration = Duration::from_secs(300);

/// Time of the host for one injection, on the average.
const EACH: Duration = Duration::from_secs(30);

/// Between two lines of progress.
const STEP: Duration = Duration::from_secs(5);

/// One injection and what became of it.
#[derive(Clone, Debug)]
struct Record {
    injection: Injection,
    found: Found,
    /// The serial log of its machine.
    log: String,
}

/// A campaign that was run.
#[derive(Default)]
struct Campaign {
    records: Vec<Record>,
    /// By machine: how many accounts are where they were, or what is not.
    accounts: Vec<(String, Result<usize, String>)>,
}

impl Campaign {
    fn is_good(&self) -> bool {
        self.records.iter().all(|one| one.found.outcome != Outcome::Failed)
            && self.accounts.iter().all(|(_, what)| what.is_ok())
    }
}

/// Runs a campaign, or one injection of it, and writes what became of it into the build folder.
pub fn run(paths: Paths, plan: &Plan, only: Option<u64>) -> Result<ExitCode> {
    let folder = paths.target.join("faults");
    let mut context = Context::new(paths);
    let campaign = execute(&mut context, plan, only, &folder)?;
    report::write(&folder, plan, &campaign)?;
    println!("\n{}", report::table(plan, &campaign));
    println!("written: {}", folder.display());
    Ok(if campaign.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs a campaign for a smoke test; prints its table.
pub fn check(context: &mut Context, plan: &Plan) -> Result<()> {
    let folder = context.folder();
    let campaign = execute(context, plan, None, &folder)?;
    let table = report::table(plan, &campaign);
    println!("{table}");
    ensure!(campaign.is_good(), "faults were not survived:\n{table}");
    let hit = campaign.records.iter().filter(|one| one.found.outcome != Outcome::NotInjected).count();
    ensure!(hit * 2 > campaign.records.len(), "most faults hit nothing");
    Ok(())
}

fn execute(context: &mut Context, plan: &Plan, only: Option<u64>, folder: &Path) -> Result<Campaign> {
    let all = plan.injections();
    let wanted: Vec<_> = all.iter().filter(|one| only.is_none_or(|only| only == one.index)).collect();
    ensure!(!wanted.is_empty(), "there is no such injection");
    let mut campaign = Campaign::default();
    for target in &plan.targets {
        // The wiring is that of the whole campaign, so that one injection alone meets the same machine.
        let of_target: Vec<_> = all.iter().filter(|one| one.target == *target).copied().collect();
        let wiring = Wiring::of(&of_target);
        let mut rest: Vec<_> = wanted.iter().filter(|one| one.target == *target).map(|one| **one).collect();
        while let Some(first) = rest.first() {
            let log = folder.join(format!("faults-{}-{}.log", target.name(), first.index));
            rest = row(context, &mut campaign, wiring, &rest, log)?;
        }
    }
    Ok(campaign)
}

/// Runs injections on one machine until one fails; those that are left.
fn row(
    context: &mut Context,
    campaign: &mut Campaign,
    wiring: Wiring,
    injections: &[Injection],
    log: PathBuf,
) -> Result<Vec<Injection>> {
    let Some(Injection { target, index: first, .. }) = injections.first().copied() else {
        return Ok(Vec::new());
    };
    // As many as there are, and no more than a year.
    let limit = BOOT + EACH * u32::try_from(injections.len()).unwrap_or(u32::MAX).min(1_000_000);
    let mut bench = Bench::start(context, target, wiring, &log, limit)?;
    bench.warm_up()?;
    let before = bench.accounts()?;
    let mut told = Instant::now();
    for (number, injection) in injections.iter().enumerate() {
        let found = match bench.inject(injection) {
            Ok(found) => found,
            Err(error) => Found::failed(String::new(), bench.explain(&error)),
        };
        let ends = found.outcome.ends_machine();
        if ends || told.elapsed() > STEP || number == 0 {
            told = Instant::now();
            println!(
                "{} {}/{}: {}: {} - {} {}",
                target.name(),
                number + 1,
                injections.len(),
                injection.fault.name(),
                found.what,
                found.outcome.title(),
                found.detail
            );
        }
        campaign.records.push(Record { injection: *injection, found, log: log.display().to_string() });
        if ends {
            return Ok(injections.get(number + 1..).unwrap_or_default().to_vec());
        }
    }
    let accounts = bench.accounts().and_then(|after| {
        before.ensure_same(&after)?;
        Ok(after.rows().count())
    });
    let accounts = accounts.and_then(|count| bench.finish().map(|()| count));
    campaign
        .accounts
        .push((format!("{} from {first}", target.name()), accounts.map_err(|error| format!("{error:#}"))));
    Ok(Vec::new())
}
