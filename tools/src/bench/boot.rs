//! Instructions from power-on to init's first one, and to the first answer of the page's health check.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use elf::{ElfBytes, endian::LittleEndian};
use serde_json::json;

use super::{LIMIT, report::Measurement};
use crate::{
    guest::Guest,
    qemu::{Machine, Nic},
    smoke::Context,
};

/// Port of the page.
const PORT: u16 = 8080;

/// Boots the default manifest under the counting plugin until the page answers.
pub fn measure(context: &mut Context, folder: &Path) -> Result<Vec<Measurement>> {
    context.enter("bench-boot", Instant::now() + LIMIT);
    let plugin = build_plugin(context, folder)?;
    let counts = folder.join("boot.counts");
    let entry = entry(&context.paths().program("init"))?;
    let mut machine = Machine::new(context.direct("manifests/default.capnp")?);
    machine.nic = Some(Nic::Modern);
    let argument = format!("{},log={},entry={entry:#x}", plugin.display(), counts.display());
    machine.more = ["-plugin".into(), argument.into()].to_vec();
    let mut guest = Guest::start(machine, &[PORT], &folder.join("boot.log"), context.deadline())?;
    // The port is open in the host from the start; the guest listens once it has an address.
    guest.wait_for("http://")?;
    let answer = context.get(&format!("http://{}/healthz", guest.address(PORT)?))?;
    ensure!(answer.contains("\"ok\":true"), "the health check answers {answer:?}");
    guest.qmp()?.execute("quit", json!({}))?;
    guest.wait_exit()?;
    let text = fs::read_to_string(&counts).with_context(|| counts.display().to_string())?;
    let count = |what: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(' '));
        line.and_then(|number| number.parse().ok())
            .with_context(|| format!("the plugin counted no {what}: {text}"))
    };
    // The machine was stopped after the answer, so the second number is a little more than what it names.
    Ok(vec![
        Measurement { name: "boot_to_init".into(), value: count("entry")? },
        Measurement { name: "boot_to_healthz".into(), value: count("exit")? },
    ])
}

/// Where a program starts.
fn entry(program: &Path) -> Result<u64> {
    let bytes = fs::read(program).with_context(|| program.display().to_string())?;
    Ok(ElfBytes::<LittleEndian>::minimal_parse(&bytes)?.ehdr.e_entry)
}

/// Compiles the plugin.
pub(super) fn build_plugin(context: &Context, folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder)?;
    // QEMU reads a path without a slash as the name of an installed plugin.
    let output = folder.canonicalize()?.join("count.so");
    let source = context.paths().root.join("tools/bench/count.c");
    let status =
        Command::new("cc").args(["-O2", "-shared", "-fPIC", "-o"]).arg(&output).arg(&source).status();
    ensure!(
        status.context("cannot run cc (Debian: apt-get install build-essential)")?.success(),
        "cc failed"
    );
    Ok(output)
}
