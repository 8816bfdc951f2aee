//! `bench`: counts instructions, and compares them with the limits of `tools/bench/limits.txt`.
//!
//! Two ways to count. Under `-icount shift=0` the time stamp counter advances by one an instruction, so programs in the guest
//! measure themselves and print `UB <name> <count>`. What crosses halts of the processor, where that clock jumps, is
//! counted by a QEMU plugin, between marks that programs set.

mod block;
mod boot;
mod net;
mod report;
mod table;

use std::{path::Path, process::ExitCode, time::Duration, time::Instant};

use anyhow::{Context as _, Result};

use self::{
    report::{Measurement, Verdict},
    table::Limit,
};
use crate::{kernel_file, paths::Paths, qemu::Machine, smoke::Context};

/// The manifest whose programs measure themselves.
const MANIFEST: &str = "manifests/bench.capnp";

/// The line that ends their report.
const DONE: &str = "UB-DONE";

/// How long one machine may take.
const LIMIT: Duration = Duration::from_secs(180);

/// A part that can be measured alone.
type Part = (&'static str, fn(&mut Context, &Path) -> Result<Vec<Measurement>>);

const PARTS: [Part; 5] = [
    ("kernel", kernel),
    ("boot", boot::measure),
    ("programs", programs),
    ("nvme", block::measure),
    ("network", net::measure),
];

/// Measures the parts of these names, or everything; writes `results.json` and `table.md`, and prints the table.
pub fn run(paths: Paths, names: &[String]) -> Result<ExitCode> {
    let limits = table::read(&paths.root.join("tools/bench/limits.txt"))?;
    let folder = paths.target.join("bench");
    let mut context = Context::new(paths);
    let (mut found, mut failed) = (Vec::new(), 0);
    for (part, measure) in PARTS {
        if names.is_empty() || names.iter().any(|name| name == part) {
            match measure(&mut context, &folder) {
                Ok(measured) => found.extend(measured),
                // Its rows stay empty.
                Err(error) => {
                    eprintln!("bench: {part}: {error:#}");
                    failed += 1;
                }
            }
        }
    }
    let mut verdicts = report::compare(&limits, &found);
    if !names.is_empty() {
        verdicts.retain(Verdict::is_measured);
    }
    report::write(&folder, &verdicts)?;
    print!("{}", report::markdown(&verdicts));
    let good = failed == 0 && verdicts.iter().all(Verdict::is_good);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The size of what a loader loads.
fn kernel(context: &mut Context, _: &Path) -> Result<Vec<Measurement>> {
    let image = kernel_file::read(&context.paths().kernel())?;
    Ok(vec![Measurement { name: "kernel_image".into(), value: u64::try_from(image.len())? }])
}

/// Runs the programs that measure themselves.
fn programs(context: &mut Context, folder: &Path) -> Result<Vec<Measurement>> {
    context.enter("bench-programs", Instant::now() + LIMIT);
    let mut machine = Machine::new(context.direct(MANIFEST)?);
    machine.more = ["-icount", "shift=0,sleep=off"].map(Into::into).to_vec();
    let mut guest =
        crate::guest::Guest::start(machine, &[], &folder.join("programs.log"), context.deadline())?;
    guest.wait_for(DONE)?;
    let found: Vec<_> = guest.lines().iter().filter_map(|line| Measurement::parse(line)).collect();
    (!found.is_empty()).then_some(found).context("no line with a measurement")
}

impl Measurement {
    /// The measurement in a line of the serial log: `UB <name> <count>`, behind whatever the log puts in front.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace().skip_while(|word| *word != "UB").skip(1);
        let (name, value) = (words.next()?, words.next()?);
        Some(Self { name: name.into(), value: value.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_are_found_in_log_lines() {
        let parsed = Measurement::parse("[    0.112] bench: UB typed_call 2041");
        assert_eq!(parsed, Some(Measurement { name: "typed_call".into(), value: 2041 }));
        assert_eq!(Measurement::parse("[    0.112] bench: UB-DONE"), None);
        assert_eq!(Measurement::parse("UB typed_call many"), None);
    }

    #[test]
    fn the_limits_file_can_be_read() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let limits: Vec<Limit> = table::read(&root.join("bench/limits.txt")).expect("well formed");
        assert!(limits.iter().any(|limit| limit.name == "boot_to_init" && limit.most == 60_000_000));
    }
}
