//! `smoke`: boots the system in QEMU and looks at it from outside.
//!
//! A scenario is a name, a time limit and a function. Scenarios are listed by the files of `scenarios`, run one after
//! the other, and each alone by its name. The last line is the count of what passed and failed.

mod scenario;
mod scenarios;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Result;

pub use scenario::{Context, Scenario};
pub use scenarios::{block_kill, stream};

use crate::paths::Paths;

/// What a scenario came to.
struct Outcome {
    name: String,
    took: Duration,
    result: Result<()>,
}

/// Runs every scenario whose name contains one of `filters`, or all; prints the names only, if that is wanted.
pub fn run(paths: Paths, filters: &[String], list: List) -> Result<ExitCode> {
    let mut chosen = scenarios::all();
    chosen
        .retain(|scenario| filters.is_empty() || filters.iter().any(|filter| scenario.name.contains(filter)));
    if list == List::Only {
        for scenario in &chosen {
            println!("{:<28} {}", scenario.name, scenario.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut context = Context::new(paths);
    let mut outcomes = Vec::new();
    for scenario in &chosen {
        println!("{}: {}", scenario.name, scenario.about);
        let started = Instant::now();
        context.enter(&scenario.name, started + scenario.limit);
        let result = (scenario.run)(&mut context);
        let took = started.elapsed();
        println!("  {} after {:.1} s", if result.is_ok() { "passed" } else { "FAILED" }, took.as_secs_f64());
        outcomes.push(Outcome { name: scenario.name.clone(), took, result });
    }
    Ok(report(&outcomes))
}

/// Whether scenarios are run or only named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Named.
    Only,
    /// Run.
    Not,
}

/// Prints the table and the closing line. Nothing run is a failure too: a filter that fits nothing tests nothing.
fn report(outcomes: &[Outcome]) -> ExitCode {
    println!();
    for Outcome { name, took, result } in outcomes {
        let seconds = took.as_secs_f64();
        match result {
            Ok(()) => println!("{name:<28} passed {seconds:>7.1} s"),
            Err(error) => println!("{name:<28} FAILED {seconds:>7.1} s\n  {error:#}"),
        }
    }
    let failed = outcomes.iter().filter(|outcome| outcome.result.is_err()).count();
    println!("\n{} passed, {failed} failed", outcomes.len() - failed);
    if failed == 0 && !outcomes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
