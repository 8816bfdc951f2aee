//! What was measured beside what may be, what Linux needs, and what it was before.

use super::{
    figures::{Figures, Spread, Unit},
    limits::Limit,
    results::Results,
};
use crate::plot::number;

/// A larger growth of a counted figure than this part of it is a regression: of one that is the same in each run, and of one
/// that also depends on when clients and devices answer.
const TOLERANCE: f64 = 0.02;
const LOOSE_TOLERANCE: f64 = 0.1;

/// One row of the result.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// What its values count; as the limit says where nothing was measured.
    pub unit: Option<Unit>,
    /// capOS' values, if it was measured.
    pub capos: Option<Spread>,
    /// Linux's in the same session.
    pub linux: Option<Spread>,
    /// What it may be, if that is limited.
    pub limit: Option<Limit>,
    /// capOS' values before.
    pub before: Option<Spread>,
}

impl Row {
    fn value(&self) -> Option<f64> {
        self.capos.as_ref().filter(|spread| !spread.is_stalled()).map(|spread| spread.median)
    }

    /// Whether capOS was measured.
    pub fn is_measured(&self) -> bool {
        self.capos.is_some()
    }

    /// Whether all its runs ended, and it is within its limit.
    pub fn is_good(&self) -> bool {
        if self.capos.as_ref().is_some_and(|spread| spread.stalled > 0) {
            return false;
        }
        match (&self.limit, self.value()) {
            (Some(limit), Some(value)) => value <= limit.most as f64,
            (Some(_), None) => false,
            (None, _) => true,
        }
    }

    /// By which part of itself it has changed.
    pub fn change(&self) -> Option<f64> {
        let before = self.before.as_ref().filter(|before| before.median > 0.0)?;
        Some(self.value()? / before.median - 1.0)
    }

    /// Whether a counted figure has grown by more than the tolerance, and beyond all that was seen before.
    pub fn is_regression(&self) -> bool {
        let (Some(before), Some(now), Some(change)) = (&self.before, &self.capos, self.change()) else {
            return false;
        };
        let tolerance = if now.runs.len() > 1 { LOOSE_TOLERANCE } else { TOLERANCE };
        self.unit.is_some_and(Unit::is_counted) && now.minimum > before.maximum && change > tolerance
    }

    fn words(&self) -> String {
        let mut words = Vec::new();
        match (&self.limit, self.value()) {
            (Some(limit), Some(value)) if value > limit.most as f64 => words.push("**over**"),
            _ if self.capos.as_ref().is_some_and(|spread| spread.stalled > 0) => words.push("**stalled**"),
            (Some(_), None) => words.push("**not measured**"),
            _ => {}
        }
        if self.is_regression() {
            words.push("**regression**");
        }
        words.join(", ")
    }
}

/// Every limit with its figure, and behind them what has no limit.
pub fn rows(limits: &[Limit], capos: &Figures, linux: &Figures, before: Option<&Results>) -> Vec<Row> {
    let mut names: Vec<&str> = limits.iter().map(|limit| limit.name.as_str()).collect();
    for figure in capos.all().iter().chain(linux.all()) {
        if !names.contains(&figure.name.as_str()) {
            names.push(&figure.name);
        }
    }
    let row = |name: &str| Row {
        name: name.into(),
        unit: capos.all().iter().chain(linux.all()).find(|figure| figure.name == name).map(|one| one.unit),
        capos: capos.spread(name),
        linux: linux.spread(name),
        limit: limits.iter().find(|limit| limit.name == name).cloned(),
        before: before.and_then(|before| before.capos(name)),
    };
    names.into_iter().map(row).collect()
}

/// The rows as a table.
pub fn markdown(rows: &[Row]) -> String {
    let linux = rows.iter().any(|row| row.linux.is_some());
    let mut text = String::from("| what | unit | capOS | min to max | limit | | before |");
    text += if linux { " Linux now | min to max |" } else { "" };
    text += " others |\n|---|---|--:|---|--:|---|--:|";
    text += if linux { "--:|---|" } else { "" };
    text += "---|\n";
    for row in rows {
        let limited = row.limit.as_ref().map_or("", |limit| limit.unit.as_str());
        let unit = row.unit.map_or(limited, |unit| unit.words());
        let limit = row.limit.as_ref().map_or_else(|| "-".into(), |limit| number(limit.most as f64));
        let others = row.limit.as_ref().map_or("", |limit| limit.others.as_str());
        let change = row.change().map_or_else(String::new, |change| format!("{:+.1} %", change * 100.0));
        let name = &row.name;
        let [median, range] = columns(row.capos.as_ref());
        text += &format!("| {name} | {unit} | {median} | {range} | {limit} | {} | {change} |", row.words());
        if linux {
            let [median, range] = columns(row.linux.as_ref());
            text += &format!(" {median} | {range} |");
        }
        text += &format!(" {others} |\n");
    }
    text
}

/// Median and range in words.
fn columns(spread: Option<&Spread>) -> [String; 2] {
    let Some(spread) = spread else { return ["-".into(), String::new()] };
    let mut range = Vec::new();
    if spread.minimum < spread.maximum {
        range.push(format!("{} to {}", number(spread.minimum), number(spread.maximum)));
    }
    if spread.stalled > 0 {
        range.push(format!("{} of {} stalled", spread.stalled, spread.stalled + spread.runs.len()));
    }
    let median = if spread.is_stalled() { "stalled".into() } else { number(spread.median) };
    [median, range.join("; ")]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(name: &str, most: u64) -> Limit {
        Limit { name: name.into(), most, unit: "instructions".into(), others: "-".into() }
    }

    fn figures(values: &[(&str, f64)]) -> Figures {
        let mut figures = Figures::default();
        for (name, value) in values {
            figures.add(*name, Unit::Instructions, *value);
        }
        figures
    }

    #[test]
    fn over_the_limit_and_not_measured_are_bad() {
        let limits = [limit("a", 10), limit("b", 10), limit("c", 10)];
        let mut found = figures(&[("a", 10.0), ("b", 11.0), ("d", 99.0)]);
        found.add_stalled("e", Unit::PerSecond);
        let rows = rows(&limits, &found, &Figures::default(), None);
        assert_eq!(rows.iter().map(Row::is_good).collect::<Vec<_>>(), [true, false, false, true, false]);
        let table = markdown(&rows);
        assert!(table.contains("| b | instructions | 11 |  | 10 | **over** |  | - |"), "{table}");
        assert!(table.contains("| c | instructions | - |  | 10 | **not measured** |  | - |"), "{table}");
        assert!(
            table.contains("| e | operations/s | stalled | 1 of 1 stalled | - | **stalled** |  |  |"),
            "{table}"
        );
    }

    #[test]
    fn growth_beyond_what_was_seen_is_a_regression() {
        let mut row = Row {
            name: "a".into(),
            unit: Some(Unit::Instructions),
            capos: Some(Spread::new(vec![103.0], 0)),
            linux: None,
            limit: None,
            before: Some(Spread::new(vec![100.0], 0)),
        };
        assert!(row.is_regression() && markdown(&[row.clone()]).contains("+3.0 %"));
        row.before = Some(Spread::new(vec![99.0, 100.0, 104.0], 0));
        assert!(!row.is_regression());
        row.before = Some(Spread::new(vec![102.0], 0));
        assert!(!row.is_regression());
        row.capos = Some(Spread::new(vec![103.0, 110.0], 0));
        row.before = Some(Spread::new(vec![99.0, 101.0], 0));
        assert!(!row.is_regression());
        row.capos = Some(Spread::new(vec![103.0, 112.0], 0));
        assert!(row.is_regression());
        row.unit = Some(Unit::PerSecond);
        row.before = Some(Spread::new(vec![1.0], 0));
        assert!(!row.is_regression());
    }
}
