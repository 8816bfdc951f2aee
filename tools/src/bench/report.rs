//! What was measured beside what may be.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::Limit;
use crate::package;

/// One number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measurement {
    /// What was measured.
    pub name: String,
    /// How much it was.
    pub value: u64,
}

/// One row of the result.
#[derive(Clone, Debug)]
pub struct Verdict {
    name: String,
    /// What was measured, if it was.
    value: Option<u64>,
    /// What it may be, if that is limited.
    limit: Option<Limit>,
}

impl Verdict {
    /// Whether it was measured and is within its limit.
    pub fn is_good(&self) -> bool {
        match (&self.limit, self.value) {
            (Some(limit), Some(value)) => value <= limit.most,
            (Some(_), None) => false,
            (None, _) => true,
        }
    }

    /// Whether there is a value.
    pub const fn is_measured(&self) -> bool {
        self.value.is_some()
    }

    const fn word(&self) -> &'static str {
        match (&self.limit, self.value) {
            (Some(limit), Some(value)) if value > limit.most => "**over**",
            (Some(_), None) => "**not measured**",
            _ => "",
        }
    }
}

/// Every limit with its measurement, and behind them what has no limit.
pub fn compare(limits: &[Limit], found: &[Measurement]) -> Vec<Verdict> {
    let value = |name: &str| found.iter().find(|one| one.name == name).map(|one| one.value);
    let limited = limits.iter().map(|limit| Verdict {
        name: limit.name.clone(),
        value: value(&limit.name),
        limit: Some(limit.clone()),
    });
    let others = found.iter().filter(|one| limits.iter().all(|limit| limit.name != one.name));
    let others = others.map(|one| Verdict { name: one.name.clone(), value: Some(one.value), limit: None });
    limited.chain(others).collect()
}

/// Writes `results.json` and `table.md` into a folder.
pub fn write(folder: &Path, verdicts: &[Verdict]) -> Result<()> {
    let rows: serde_json::Map<String, Value> = verdicts
        .iter()
        .map(|row| {
            (
                row.name.clone(),
                json!({ "value": row.value, "limit": row.limit.as_ref().map(|limit| limit.most) }),
            )
        })
        .collect();
    let commit = std::env::var("CAPOS_COMMIT").unwrap_or_else(|_| "unknown".into());
    let results = serde_json::to_string_pretty(&json!({ "commit": commit, "results": rows }))?;
    package::write(&folder.join("results.json"), format!("{results}\n").as_bytes())?;
    package::write(&folder.join("table.md"), markdown(verdicts).as_bytes())
}

/// The rows as a table.
pub fn markdown(verdicts: &[Verdict]) -> String {
    let mut text = String::from("| what | measured | limit | unit | | others |\n|---|--:|--:|---|---|---|\n");
    for row in verdicts {
        let measured = row.value.map_or_else(|| "-".into(), grouped);
        let (most, unit, others) = row.limit.as_ref().map_or_else(
            || ("-".into(), "", ""),
            |limit| (grouped(limit.most), limit.unit.as_str(), limit.others.as_str()),
        );
        let (name, word) = (&row.name, row.word());
        text += &format!("| {name} | {measured} | {most} | {unit} | {word} | {others} |\n");
    }
    text
}

/// A number with its digits in threes.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(name: &str, most: u64) -> Limit {
        Limit { name: name.into(), most, unit: "instructions".into(), others: "-".into() }
    }

    #[test]
    fn over_the_limit_and_not_measured_are_bad() {
        let limits = [limit("a", 10), limit("b", 10), limit("c", 10)];
        let found =
            [("a", 10), ("b", 11), ("d", 99)].map(|(name, value)| Measurement { name: name.into(), value });
        let verdicts = compare(&limits, &found);
        assert_eq!(verdicts.iter().map(Verdict::is_good).collect::<Vec<_>>(), [true, false, false, true]);
        let table = markdown(&verdicts);
        assert!(table.contains("| b | 11 | 10 | instructions | **over** | - |"), "{table}");
        assert!(table.contains("| c | - | 10 | instructions | **not measured** | - |"), "{table}");
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!(grouped(1_374_000_000), "1,374,000,000");
        assert_eq!(grouped(999), "999");
    }
}
