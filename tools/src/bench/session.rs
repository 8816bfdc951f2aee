//! What one session of measuring has: machines of the systems that are compared, and the figures so far.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::Result;

use super::{LIMIT, figures::Figures};
use crate::{paths::Paths, qemu::Machine, smoke::Context};

/// A system that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// This one.
    Capos,
}

impl System {
    /// Short name, as in the names of files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Capos => "capos",
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
}

impl Session {
    /// Nothing measured so far.
    pub fn new(paths: Paths, folder: PathBuf) -> Self {
        Self { context: Context::new(paths), folder, capos: Figures::default(), linux: Figures::default() }
    }

    /// The systems that are compared, in the order in which they take turns.
    pub fn systems(&self) -> Vec<System> {
        vec![System::Capos]
    }

    /// The figures of a system.
    pub fn figures(&mut self, system: System) -> &mut Figures {
        match system {
            System::Capos => &mut self.capos,
        }
    }

    /// Notes what a system did not end: figures that another one has, among those whose names start so.
    pub fn note_stalled(&mut self, prefix: &str) {
        let all: Vec<_> = self.capos.all().iter().chain(self.linux.all()).cloned().collect();
        for figure in all.iter().filter(|figure| figure.name.starts_with(prefix)) {
            for system in self.systems() {
                self.figures(system).add_stalled(figure.name.clone(), figure.unit);
            }
        }
    }

    /// A machine that does some work, without the devices for it.
    pub fn machine(&mut self, system: System, work: Work) -> Result<Machine> {
        self.context.enter("bench", Instant::now() + LIMIT);
        match system {
            System::Capos => Ok(Machine::new(self.context.direct(work.manifest())?)),
        }
    }

    /// Where a machine's log is kept.
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.join(Path::new(name).with_extension("log"))
    }
}
