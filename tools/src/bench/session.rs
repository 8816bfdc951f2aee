//! What one session of measuring has: machines of the systems that are compared, and the figures so far.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result};

use super::{LIMIT, figures::Figures, linux::Opponent};
use crate::{paths::Paths, qemu::Machine, smoke::Context};

/// A system that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// This one.
    Capos,
    /// Debian's cloud kernel.
    Linux,
}

impl System {
    /// Short name, as in the names of files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Capos => "capos",
            Self::Linux => "linux",
        }
    }
}

/// What a measured machine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// It serves clients.
    Network,
    /// It reads and writes its disk.
    Block,
}

impl Work {
    /// The manifest that does it on capOS.
    const fn manifest(self) -> &'static str {
        match self {
            Self::Network => "manifests/bench-net.capnp",
            Self::Block => "manifests/bench-nvme.capnp",
        }
    }
}

/// One session.
pub struct Session {
    /// Builds packages and keeps the time limit.
    pub context: Context,
    /// Where everything is written.
    pub folder: PathBuf,
    /// Figures of capOS.
    pub capos: Figures,
    /// Figures of Linux.
    pub linux: Figures,
    /// Linux, if it is to be measured too.
    opponent: Option<Opponent>,
}

impl Session {
    /// Nothing measured so far.
    pub fn new(paths: Paths, folder: PathBuf, opponent: Option<Opponent>) -> Self {
        let (capos, linux) = (Figures::default(), Figures::default());
        Self { context: Context::new(paths), folder, capos, linux, opponent }
    }

    /// The systems that are compared, in the order in which they take turns.
    pub fn systems(&self) -> Vec<System> {
        let linux = self.opponent.as_ref().map(|_| System::Linux);
        [System::Capos].into_iter().chain(linux).collect()
    }

    /// The figures of a system.
    pub fn figures(&mut self, system: System) -> &mut Figures {
        match system {
            System::Capos => &mut self.capos,
            System::Linux => &mut self.linux,
        }
    }

    /// A machine that does some work, without the devices for it.
    pub fn machine(&mut self, system: System, work: Work) -> Result<Machine> {
        self.context.enter("bench", Instant::now() + LIMIT);
        match system {
            System::Capos => Ok(Machine::new(self.context.direct(work.manifest())?)),
            System::Linux => {
                self.opponent.as_ref().context("there is no Linux to be measured")?.machine(work)
            }
        }
    }

    /// Where a machine's log is kept.
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.join(Path::new(name).with_extension("log"))
    }
}
