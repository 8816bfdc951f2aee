//! `bench`: counts instructions, compares them with the limits of `tools/bench/limits.txt`, and measures rates.
//!
//! Two ways to count. Under `-icount shift=0` the time stamp counter advances by one an instruction, so programs in the guest
//! measure themselves and print `UB <name> <count>`. What crosses halts of the processor, where that clock jumps, is
//! counted by a QEMU plugin, between marks that programs set. Rates are measured against the clock, without the plugin.

mod block;
mod boot;
mod counter;
mod figures;
mod limits;
mod linux;
mod net;
mod plots;
mod programs;
mod report;
mod results;
mod session;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result};

use self::{report::Row, results::Results, session::Session};
use crate::{kernel_file, package, paths::Paths};

/// How long one machine may take.
const LIMIT: Duration = Duration::from_secs(180);

/// Machines that each rate is measured on, one after the other.
const RUNS: usize = 3;

/// What to measure.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The parts; all when empty.
    pub parts: Vec<String>,
    /// Results to compare with, in place of the last ones.
    pub baseline: Option<PathBuf>,
    /// Whether Linux is measured too.
    pub opponent: Comparison,
}

/// What capOS is compared with in one session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Comparison {
    /// Nothing.
    #[default]
    None,
    /// Debian's cloud kernel, which is downloaded.
    Linux,
}

/// A part that can be measured alone.
type Part = (&'static str, fn(&mut Session) -> Result<()>);

const PARTS: [Part; 5] = [
    ("kernel", kernel),
    ("boot", boot::measure),
    ("programs", programs::measure),
    ("nvme", block::measure),
    ("network", net::measure),
];

/// Measures; writes `results.json`, `table.md` and plots, and prints the table.
///
/// It is a failure if a part fails, if a figure is over its limit, or if it is a regression from a baseline that was named.
pub fn run(paths: Paths, options: &Options) -> Result<ExitCode> {
    let limits = limits::read(&paths.root.join("tools/bench/limits.txt"))?;
    // The results of some parts are not to replace those of all.
    let folder = paths.target.join("bench").join(options.parts.join("-"));
    let last = folder.join("results.json");
    let before = match &options.baseline {
        Some(file) => Some(Results::read(file)?),
        // Those of an older version are not compared with.
        None => Results::read(&last).ok(),
    };
    let opponent = match options.opponent {
        Comparison::None => None,
        Comparison::Linux => Some(linux::Opponent::build(&paths).context("Linux")?),
    };
    let mut session = Session::new(paths, folder.clone(), opponent);
    let mut failed = 0;
    for (part, measure) in PARTS {
        if options.parts.is_empty() || options.parts.iter().any(|name| name == part) {
            // Its rows stay empty.
            if let Err(error) = measure(&mut session) {
                eprintln!("bench: {part}: {error:#}");
                failed += 1;
            }
        }
    }
    let mut rows = report::rows(&limits, &session.capos, &session.linux, before.as_ref());
    if !options.parts.is_empty() {
        rows.retain(Row::is_measured);
    }
    let results = Results::new(&rows);
    if last.exists() {
        fs::rename(&last, folder.join("previous.json"))?;
    }
    package::write(&last, results.text()?.as_bytes())?;
    let table = table(&rows, &results, before.as_ref());
    package::write(&folder.join("table.md"), table.as_bytes())?;
    for (name, plot) in plots::all(&rows) {
        package::write(&folder.join(name), plot.svg().as_bytes())?;
    }
    print!("{table}");
    println!("\n{}: results.json, table.md, plots", folder.display());
    let regressions = options.baseline.is_some() && rows.iter().any(Row::is_regression);
    let good = failed == 0 && rows.iter().all(Row::is_good) && !regressions;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The table, and what was measured with.
fn table(rows: &[Row], results: &Results, before: Option<&Results>) -> String {
    let mut text = format!("Measured: {}.\n", results.surroundings());
    if let Some(before) = before {
        text += &format!("Compared with {}.\n", before.commit());
    }
    text + "\n" + &report::markdown(rows)
}

/// The size of what a loader loads.
fn kernel(session: &mut Session) -> Result<()> {
    let image = kernel_file::read(&session.context.paths().kernel())?;
    session.capos.add("kernel_image", figures::Unit::Bytes, image.len() as f64);
    Ok(())
}

/// Creates a folder's parents and itself, and says where a file in it is.
fn file_in(folder: &Path, name: &str) -> Result<PathBuf> {
    fs::create_dir_all(folder)?;
    Ok(folder.join(name))
}
