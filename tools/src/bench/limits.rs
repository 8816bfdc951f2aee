//! The table of limits.

use std::path::Path;

use anyhow::{Context as _, Result};

/// The most that something may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What is measured.
    pub name: String,
    /// The largest good value.
    pub most: u64,
    /// What is counted.
    pub unit: String,
    /// What others need.
    pub others: String,
}

impl Limit {
    /// What Linux needed when the limit was set: the number behind `Linux` and a colon in the remark.
    pub fn linux(&self) -> Option<f64> {
        let remark = self.others.split(';').map(str::trim).find(|remark| remark.starts_with("Linux"))?;
        remark.rsplit_once(':')?.1.trim().parse().ok()
    }
}

/// Reads a table: name, limit, unit and a remark in a line; `#` starts a comment line.
pub fn read(file: &Path) -> Result<Vec<Limit>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let lines =
        text.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|(number, line)| parse(line).with_context(|| format!("{}:{}", file.display(), number + 1)))
        .collect()
}

fn parse(line: &str) -> Result<Limit> {
    let mut words = line.split_whitespace();
    let mut word = |what| words.next().with_context(|| format!("no {what}"));
    let (name, most, unit) = (word("name")?.into(), word("limit")?.parse()?, word("unit")?.into());
    let others = words.collect::<Vec<_>>().join(" ");
    Ok(Limit { name, most, unit, others })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_four_columns() {
        let limit = parse("a_b  12  instructions  seL4: 4; Linux 6.1 x: 3").expect("well formed");
        assert_eq!((limit.name.as_str(), limit.most, limit.linux()), ("a_b", 12, Some(3.0)));
        assert_eq!(parse("a 1 bytes -").expect("well formed").linux(), None);
        assert!(parse("a_b").is_err());
        assert!(parse("a_b many instructions").is_err());
    }

    #[test]
    fn the_limits_file_can_be_read() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let limits = read(&root.join("bench/limits.txt")).expect("well formed");
        assert!(limits.iter().any(|limit| limit.name == "boot_to_init" && limit.most == 60_000_000));
    }
}
