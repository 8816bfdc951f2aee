//! The file of results, which a later run compares itself with.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::{
    figures::{Spread, Unit},
    report::Row,
};

/// Name and version of the file's layout. A change that an older reader would misread gets a new number.
const SCHEMA: &str = "capos-bench/1";

/// All results of one session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    schema: String,
    /// The commit that was measured.
    commit: String,
    /// QEMU's version.
    qemu: String,
    host: Host,
    /// By name.
    results: BTreeMap<String, Outcome>,
}

/// The machine that measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Host {
    processor: String,
    processors: usize,
    kernel: String,
}

/// One result.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Outcome {
    unit: Unit,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capos: Option<Spread>,
    #[serde(skip_serializing_if = "Option::is_none")]
    linux: Option<Spread>,
}

impl Results {
    /// Of these rows, measured here and now.
    pub fn new(rows: &[Row]) -> Self {
        let outcome = |row: &Row| {
            let limit = row.limit.as_ref().map(|limit| limit.most);
            let outcome =
                Outcome { unit: row.unit?, limit, capos: row.capos.clone(), linux: row.linux.clone() };
            Some((row.name.clone(), outcome))
        };
        Self {
            schema: SCHEMA.into(),
            commit: std::env::var("CAPOS_COMMIT").unwrap_or_else(|_| "unknown".into()),
            qemu: first_line(Command::new("qemu-system-x86_64").arg("--version")),
            host: Host::this(),
            results: rows.iter().filter_map(outcome).collect(),
        }
    }

    /// Reads a file.
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let results: Self = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
        ensure!(results.schema == SCHEMA, "{}: {} and not {SCHEMA}", file.display(), results.schema);
        Ok(results)
    }

    /// The file's text.
    pub fn text(&self) -> Result<String> {
        Ok(format!("{}\n", serde_json::to_string_pretty(self)?))
    }

    /// The commit that was measured.
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// What was measured with, in a line.
    pub fn surroundings(&self) -> String {
        let Host { processor, processors, kernel } = &self.host;
        format!("{}, {}, {processors} processors of {processor}, {kernel}", self.commit, self.qemu)
    }

    /// What capOS' values were.
    pub fn capos(&self, name: &str) -> Option<Spread> {
        self.results.get(name)?.capos.clone().filter(|spread| !spread.is_stalled())
    }
}

impl Host {
    fn this() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            processor: model.map_or_else(|| "unknown".into(), |(_, name)| name.trim().into()),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: first_line(Command::new("uname").arg("-sr")),
        }
    }
}

/// The first line that a program prints.
fn first_line(command: &mut Command) -> String {
    let output = command.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    output.ok().and_then(|text| text.lines().next().map(Into::into)).unwrap_or_else(|| "unknown".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let row = Row {
            name: "a".into(),
            unit: Some(Unit::PerSecond),
            capos: Some(Spread::new(vec![1.5, 2.0], 0)),
            linux: None,
            limit: None,
            before: None,
        };
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("results.json");
        let text = Results::new(&[row]).text().expect("text");
        fs::write(&file, &text).expect("written");
        let read = Results::read(&file).expect("read");
        assert_eq!(read.capos("a").map(|spread| spread.median), Some(2.0));
        assert!(read.capos("b").is_none());
        fs::write(&file, text.replace(SCHEMA, "capos-bench/0")).expect("written");
        assert!(Results::read(&file).is_err());
    }
}
