//! The first process: reads the boot package, checks the manifest, and starts and supervises what it names.
//!
//! All decisions are made by the library beside it; the modules here only carry them out.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod binaries;
mod claims;
mod control;
mod event;
mod evidence;
mod launch;
mod refusals;
mod servers;
mod shutdown;
mod system;

use alloc::{rc::Rc, vec::Vec};
use capnp::Error;
use core::future;
use manifest::{Manifest, Problem, Surroundings};
use rt::FirstProcess;
use system::{Machine, System};

/// Most problems of a manifest that are logged.
const MAXIMUM_PROBLEMS: usize = 20;

rt::first_program!(run);

async fn run(first: FirstProcess) -> Result<(), Error> {
    let machine = Machine::read(&first).await?;
    let manifest = match read_manifest(first.boot_package, &machine)? {
        Ok(manifest) => manifest,
        Err(problems) => return refuse(&first, &problems).await,
    };
    let system = System::new(first, manifest).await?;
    log::info!("manifest {}, entries: {}", system.manifest.name, system.manifest.entries.len());
    system.begin();
    rt::spawn(Rc::clone(&system).watch_refusals());
    Rc::clone(&system).watch_exits().await
}

/// Decodes the manifest and checks it against this machine. A missing binary is the entry's own problem.
fn read_manifest(package: &[u8], machine: &Machine) -> Result<Result<Manifest, Vec<Problem>>, Error> {
    let surroundings = Surroundings { frames: machine.frames, binaries: None };
    process_loader::package::with_package(package, |package| {
        Ok(manifest::read(package.get_manifest()?, &surroundings))
    })
}

/// Says what is wrong with the manifest, and stops the machine: nothing is started of a manifest
/// that breaks a rule.
async fn refuse(first: &FirstProcess, problems: &[Problem]) -> Result<(), Error> {
    for problem in problems.iter().take(MAXIMUM_PROBLEMS) {
        log::error!("{problem}");
    }
    if let Some(more) = problems.len().checked_sub(MAXIMUM_PROBLEMS).filter(|more| *more > 0) {
        log::error!("and {more} more");
    }
    log::error!("the manifest is refused, nothing is started");
    first.power.halt_request().send().promise.await?;
    future::pending().await
}
