//! QEMU's plugin that counts instructions, and what it wrote.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::file_in;

/// The plugin and the file of its counts.
pub struct Counter {
    plugin: PathBuf,
    counts: PathBuf,
}

impl Counter {
    /// Compiles the plugin of the repository at `root`; its counts go into `folder`, under a name.
    pub fn new(root: &Path, folder: &Path, name: &str) -> Result<Self> {
        let counts = file_in(folder, name)?.with_extension("counts");
        // QEMU reads a path without a slash as the name of an installed plugin.
        let plugin = folder.canonicalize()?.join("count.so");
        let source = root.join("tools/bench/count.c");
        let status =
            Command::new("cc").args(["-O2", "-shared", "-fPIC", "-o"]).arg(&plugin).arg(&source).status();
        ensure!(
            status.context("cannot run cc (Debian: apt-get install build-essential)")?.success(),
            "cc failed"
        );
        Ok(Self { plugin, counts })
    }

    /// QEMU's arguments. `entry` is the address of the instruction whose first execution is noted; 0 for none.
    pub fn arguments(&self, entry: u64) -> [OsString; 2] {
        let argument = format!("{},log={},entry={entry:#x}", self.plugin.display(), self.counts.display());
        ["-plugin".into(), argument.into()]
    }

    /// The instructions at which something was reached so far, as `entry`, `exit` or `mark 16`.
    pub fn reached(&self, what: &str) -> Result<Vec<u64>> {
        let text = fs::read_to_string(&self.counts).with_context(|| self.counts.display().to_string())?;
        // The last line may be half written.
        let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        let numbers = lines.filter_map(|line| line.strip_prefix(what)?.strip_prefix(' '));
        numbers.map(|number| Ok(number.parse()?)).collect()
    }
}
