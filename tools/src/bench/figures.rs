//! What was measured: figures with a unit and the value of each run.

use serde::{Deserialize, Serialize};

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Executed instructions, of all processes and the kernel.
    Instructions,
    /// Bytes.
    Bytes,
    /// Operations in a second.
    PerSecond,
    /// Millions of bytes in a second.
    MegabytesPerSecond,
    /// Microseconds, the median of many operations.
    Microseconds,
}

impl Unit {
    /// The unit in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Bytes => "bytes",
            Self::PerSecond => "operations/s",
            Self::MegabytesPerSecond => "MB/s",
            Self::Microseconds => "µs, median",
        }
    }

    /// Whether a machine counts it, so that no clock and no other load have a part in it.
    pub const fn is_counted(self) -> bool {
        matches!(self, Self::Instructions | Self::Bytes)
    }
}

/// The values of one figure in all runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The least, 0 without a run.
    pub minimum: f64,
    /// That in the middle, the upper of two; 0 without a run.
    pub median: f64,
    /// The most, 0 without a run.
    pub maximum: f64,
    /// One value for each run that ended, in order.
    pub runs: Vec<f64>,
    /// Runs that did not end.
    pub stalled: usize,
}

impl Spread {
    /// Of these runs, and so many more that did not end.
    pub fn new(runs: Vec<f64>, stalled: usize) -> Self {
        let mut sorted = runs.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        Self {
            minimum: at(0),
            median: at(sorted.len() / 2),
            maximum: at(sorted.len().saturating_sub(1)),
            runs,
            stalled,
        }
    }

    /// Whether no run ended.
    pub fn is_stalled(&self) -> bool {
        self.runs.is_empty()
    }
}

/// A figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// What its values count.
    pub unit: Unit,
    /// One value for each run that ended.
    pub runs: Vec<f64>,
    /// Runs that did not end.
    pub stalled: usize,
}

/// The figures of one system, in the order in which they were first seen.
#[derive(Clone, Debug, Default)]
pub struct Figures(Vec<Figure>);

impl Figures {
    /// Adds the value of one run.
    pub fn add(&mut self, name: impl Into<String>, unit: Unit, value: f64) {
        self.named(name.into(), unit).runs.push(value);
    }

    /// Adds a run that did not end.
    pub fn add_stalled(&mut self, name: impl Into<String>, unit: Unit) {
        self.named(name.into(), unit).stalled += 1;
    }

    fn named(&mut self, name: String, unit: Unit) -> &mut Figure {
        let index = self.0.iter().position(|figure| figure.name == name).unwrap_or_else(|| {
            self.0.push(Figure { name, unit, runs: Vec::new(), stalled: 0 });
            self.0.len() - 1
        });
        &mut self.0[index]
    }

    /// All of them.
    pub fn all(&self) -> &[Figure] {
        &self.0
    }

    /// The values of one, if it was tried.
    pub fn spread(&self, name: &str) -> Option<Spread> {
        let figure = self.0.iter().find(|figure| figure.name == name)?;
        Some(Spread::new(figure.runs.clone(), figure.stalled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_one_figure_come_together() {
        let mut figures = Figures::default();
        for value in [3.0, 1.0, 2.0] {
            figures.add("a", Unit::PerSecond, value);
        }
        figures.add_stalled("a", Unit::PerSecond);
        figures.add_stalled("b", Unit::PerSecond);
        let spread = figures.spread("a").expect("measured");
        assert_eq!((spread.minimum, spread.median, spread.maximum), (1.0, 2.0, 3.0));
        assert_eq!((spread.runs.len(), spread.stalled), (3, 1));
        assert!(figures.spread("b").is_some_and(|spread| spread.is_stalled()));
        assert!(figures.spread("c").is_none());
    }
}
