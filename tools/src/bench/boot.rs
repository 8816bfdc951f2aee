//! Instructions from power-on to init's first one, and to the first answer of the page's health check.

use std::{fs, path::Path, time::Instant};

use anyhow::{Context as _, Result, ensure};
use elf::{ElfBytes, endian::LittleEndian};
use serde_json::json;

use super::{LIMIT, counter::Counter, figures::Unit, session::Session};
use crate::{
    guest::Guest,
    qemu::{Machine, Nic},
};

/// Port of the page.
const PORT: u16 = 8080;

/// Boots the default manifest under the counting plugin until the page answers.
pub fn measure(session: &mut Session) -> Result<()> {
    let log = session.log("boot");
    let context = &mut session.context;
    context.enter("bench-boot", Instant::now() + LIMIT);
    let counter = Counter::new(&context.paths().root, &session.folder, "boot")?;
    let mut machine = Machine::new(context.direct("manifests/default.capnp")?);
    machine.nic = Some(Nic::Modern);
    machine.more = counter.arguments(entry(&context.paths().program("init"))?).to_vec();
    let mut guest = Guest::start(machine, &[PORT], &log, context.deadline())?;
    // The port is open in the host from the start; the guest listens once it has an address.
    guest.wait_for("http://")?;
    let answer = context.get(&format!("http://{}/healthz", guest.address(PORT)?))?;
    ensure!(answer.contains("\"ok\":true"), "the health check answers {answer:?}");
    guest.qmp()?.execute("quit", json!({}))?;
    guest.wait_exit()?;
    // The machine was stopped after the answer, so the second number is a little more than what it names.
    for (name, what) in [("boot_to_init", "entry"), ("boot_to_healthz", "exit")] {
        let reached = counter.reached(what)?;
        let count = reached.first().with_context(|| format!("the plugin counted no {what}"))?;
        session.capos.add(name, Unit::Instructions, *count as f64);
    }
    Ok(())
}

/// Where a program starts.
fn entry(program: &Path) -> Result<u64> {
    let bytes = fs::read(program).with_context(|| program.display().to_string())?;
    Ok(ElfBytes::<LittleEndian>::minimal_parse(&bytes)?.ehdr.e_entry)
}
