//! What a scenario is, and what it is given.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::{
    guest::{Guest, Terminal},
    kernel_file, package,
    paths::{Paths, stem},
    qemu::{Boot, Machine},
};

/// What a scenario does; what it returns as an error is why it failed.
pub type Action = Box<dyn Fn(&mut Context) -> Result<()>>;

/// One thing that is shown to work.
pub struct Scenario {
    /// Short name, unique, as on the command line.
    pub name: String,
    /// What it shows.
    pub about: &'static str,
    /// How long it may take; every wait in it ends then.
    pub limit: Duration,
    /// Does it.
    pub run: Action,
}

impl Scenario {
    /// A scenario that may take so many seconds.
    pub fn new(
        name: impl Into<String>,
        about: &'static str,
        seconds: u64,
        run: impl Fn(&mut Context) -> Result<()> + 'static,
    ) -> Self {
        Self { name: name.into(), about, limit: Duration::from_secs(seconds), run: Box::new(run) }
    }
}

/// What the running scenario can use.
pub struct Context {
    paths: Paths,
    name: String,
    deadline: Instant,
    /// Packages that were built already, by manifest.
    packages: BTreeMap<PathBuf, PathBuf>,
    /// The kernel without debug information, once it was asked for.
    kernel: Option<PathBuf>,
}

impl Context {
    /// For scenarios of this repository.
    pub fn new(paths: Paths) -> Self {
        Self { paths, name: String::new(), deadline: Instant::now(), packages: BTreeMap::new(), kernel: None }
    }

    /// Names what runs from now on, and when it must be over.
    pub fn enter(&mut self, name: &str, deadline: Instant) {
        self.name = name.into();
        self.deadline = deadline;
    }

    /// The repository and its build folder.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// When the scenario must be over.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What boots a manifest of the repository without a disk.
    pub fn direct(&mut self, manifest: &str) -> Result<Boot> {
        let package = self.package(manifest)?;
        Ok(Boot::Direct { loader: self.paths.loader(), kernel: self.kernel()?, package })
    }

    /// The package of a manifest of the repository, built once.
    pub fn package(&mut self, manifest: &str) -> Result<PathBuf> {
        let manifest = self.paths.root.join(manifest);
        if let Some(package) = self.packages.get(&manifest) {
            return Ok(package.clone());
        }
        let output = self.folder().join(stem(&manifest)).with_extension("package");
        package::build(&self.paths, &manifest, &output)?;
        self.packages.insert(manifest, output.clone());
        Ok(output)
    }

    /// The kernel, as it is booted.
    pub fn kernel(&mut self) -> Result<PathBuf> {
        if let Some(kernel) = &self.kernel {
            return Ok(kernel.clone());
        }
        let output = self.folder().join("kernel");
        package::write(&output, &kernel_file::read(&self.paths.kernel())?)?;
        self.kernel = Some(output.clone());
        Ok(output)
    }

    /// Starts a machine. `ports` are the guest's TCP ports to be reached from here.
    pub fn start(&self, machine: Machine, ports: &[u16]) -> Result<Guest> {
        Guest::start(machine, ports, &self.log_file(), self.deadline)
    }

    /// As [`start`](Self::start), with a person at the first serial port.
    pub fn start_with_terminal(&self, machine: Machine, ports: &[u16]) -> Result<(Guest, Terminal)> {
        Guest::start_with_terminal(machine, ports, &self.log_file(), self.deadline)
    }

    /// Where the running scenario's serial log is kept.
    pub fn log_file(&self) -> PathBuf {
        self.folder().join(&self.name).with_extension("log")
    }

    /// A folder that goes away when dropped.
    pub fn temporary(&self) -> Result<TempDir> {
        Ok(tempfile::Builder::new().prefix("capos-").tempdir()?)
    }

    /// Runs curl, quiet and within the scenario's time; an answer of any status is a success.
    pub fn curl(&self, arguments: &[&str]) -> Result<Output> {
        let left = self.deadline.saturating_duration_since(Instant::now()).as_secs_f64().max(0.001);
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", &format!("{left:.3}")]).args(arguments);
        command.output().context("cannot run curl (Debian: apt-get install curl)")
    }

    /// The body that curl gets from `url`.
    pub fn get(&self, url: &str) -> Result<String> {
        let output = self.curl(&["--fail", url])?;
        ensure!(output.status.success(), "curl {url}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Where logs, packages and images of scenarios are kept.
    pub fn folder(&self) -> PathBuf {
        Path::new(&self.paths.target).join("smoke")
    }
}
