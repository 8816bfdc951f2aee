//! The campaign's table, its JSON and its picture.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    Campaign, Record,
    outcome::Outcome,
    plan::{Fault, Plan},
    strips::{self, Strip},
};

/// Writes `report.json`, `table.md` and `recovery.svg`.
pub fn write(folder: &Path, plan: &Plan, campaign: &Campaign) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let put = |name: &str, text: String| {
        let file = folder.join(name);
        fs::write(&file, text).with_context(|| file.display().to_string())
    };
    put("report.json", format!("{:#}\n", json(plan, campaign)))?;
    put("table.md", table(plan, campaign))?;
    put("recovery.svg", picture(plan, campaign))
}

/// Nearest-rank percentile of sorted times.
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// How long clients waited where something had to recover, sorted.
fn recoveries<'a>(records: impl Iterator<Item = &'a Record>) -> Vec<Duration> {
    let mut times: Vec<_> =
        records.filter(|one| one.found.outcome.recovers()).map(|one| one.found.pause).collect();
    times.sort_unstable();
    times
}

fn milliseconds(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".into(), |time| format!("{:.1}", time.as_secs_f64() * 1000.0))
}

/// The table of outcomes: first by fault over all targets, then for each target.
pub fn table(plan: &Plan, campaign: &Campaign) -> String {
    let mut text = String::new();
    let faults: Vec<_> = plan.faults.iter().map(|fault| fault.name()).collect();
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "{} injections, seed {}, faults: {}. Times are of the guest, in ms: the longest pause of the clients.\n",
        campaign.records.len(),
        plan.seed,
        faults.join(", ")
    );
    part(&mut text, "all", &campaign.records.iter().collect::<Vec<_>>());
    if plan.targets.len() > 1 {
        for target in &plan.targets {
            let of: Vec<_> = campaign.records.iter().filter(|one| one.injection.target == *target).collect();
            if !of.is_empty() {
                part(&mut text, target.name(), &of);
            }
        }
    }
    for one in campaign.records.iter().filter(|one| one.found.outcome == Outcome::Failed) {
        let _ = writeln!(
            text,
            "FAILED: injection {} ({} of {}: {}): {}\n  again: {}\n  log: {}",
            one.injection.index,
            one.injection.fault.name(),
            one.injection.target.name(),
            one.found.what,
            one.found.detail,
            again(plan, one.injection.index),
            one.log
        );
    }
    for (target, what) in &campaign.accounts {
        let _ = match what {
            Ok(count) => writeln!(text, "{target}: {count} accounts are where they were"),
            Err(error) => writeln!(text, "FAILED: {target}: {error}"),
        };
    }
    text
}

/// The command that does one injection again.
fn again(plan: &Plan, index: u64) -> String {
    let names = |names: Vec<&str>| names.join(",");
    format!(
        "make faults N={} SEED={} TARGET={} FAULTS={} ONLY={index}",
        plan.count,
        plan.seed,
        names(plan.targets.iter().map(|target| target.name()).collect()),
        names(plan.faults.iter().map(|fault| fault.name()).collect()),
    )
}

fn part(text: &mut String, name: &str, records: &[&Record]) {
    let columns: Vec<_> = Outcome::ALL
        .into_iter()
        .filter(|outcome| {
            *outcome == Outcome::Failed || records.iter().any(|one| one.found.outcome == *outcome)
        })
        .collect();
    let mut rows = vec![vec![name.to_owned()]];
    if let Some(head) = rows.first_mut() {
        head.extend(columns.iter().map(|outcome| outcome.title().to_owned()));
        head.extend(["p50", "p99", "max"].map(str::to_owned));
    }
    let mut row = |name: &str, of: &[&&Record]| {
        let mut cells = vec![name.to_owned()];
        for outcome in &columns {
            cells.push(of.iter().filter(|one| one.found.outcome == *outcome).count().to_string());
        }
        let times = recoveries(of.iter().map(|one| **one));
        cells.extend([50, 99, 100].map(|percent| milliseconds(percentile(&times, percent))));
        rows.push(cells);
    };
    for fault in Fault::ALL {
        let of: Vec<_> = records.iter().filter(|one| one.injection.fault == fault).collect();
        if !of.is_empty() {
            row(fault.name(), &of);
        }
    }
    row("sum", &records.iter().collect::<Vec<_>>());
    write_rows(text, &rows);
}

/// A table as Markdown has it, in columns.
fn write_rows(text: &mut String, rows: &[Vec<String>]) {
    let columns = rows.first().map_or(0, Vec::len);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns).map(width).collect();
    for (number, row) in rows.iter().enumerate() {
        text.push('|');
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = if column == 0 {
                write!(text, " {cell:<width$} |")
            } else {
                write!(text, " {cell:>width$} |")
            };
        }
        text.push('\n');
        if number == 0 {
            text.push('|');
            for (column, width) in widths.iter().enumerate() {
                let _ = write!(text, "{}{}|", "-".repeat(width + 1), if column == 0 { '-' } else { ':' });
            }
            text.push('\n');
        }
    }
    text.push('\n');
}

fn json(plan: &Plan, campaign: &Campaign) -> Value {
    let injections: Vec<_> = campaign
        .records
        .iter()
        .map(|one| {
            json!({
                "injection": one.injection,
                "found": one.found,
                // 2^64 nanoseconds are 584 years.
                "pauseNanoseconds": one.found.pause.as_nanos() as u64,
                "log": one.log,
            })
        })
        .collect();
    let accounts: Vec<_> = campaign
        .accounts
        .iter()
        .map(|(target, what)| json!({ "target": target, "problem": what.as_ref().err() }))
        .collect();
    json!({ "plan": plan, "injections": injections, "accounts": accounts })
}

/// How long recoveries took, a strip for each fault.
fn picture(plan: &Plan, campaign: &Campaign) -> String {
    let rows: Vec<_> = plan
        .faults
        .iter()
        .map(|fault| {
            let of = campaign.records.iter().filter(|one| one.injection.fault == *fault);
            Strip { name: fault.name(), values: recoveries(of).iter().map(Duration::as_secs_f64).collect() }
        })
        .filter(|row| !row.values.is_empty())
        .collect();
    strips::svg("How long clients waited after a fault, in seconds of the guest", &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_seen() {
        let times: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 50), Some(Duration::from_millis(100)));
        assert_eq!(percentile(&times, 99), Some(Duration::from_millis(198)));
        assert_eq!(percentile(&times, 100), Some(Duration::from_millis(200)));
        assert_eq!(percentile(&times[..1], 99), Some(Duration::from_millis(1)));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn tables_are_aligned() {
        let mut text = String::new();
        write_rows(&mut text, &[vec!["a".into(), "long".into()], vec!["bcd".into(), "1".into()]]);
        assert_eq!(text, "| a   | long |\n|-----|-----:|\n| bcd |    1 |\n\n");
    }
}
