//! Processes that do wrong: each is stopped with a report, and the page goes on.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use capnp::message::{Reader, ReaderOptions, SegmentArray};
use schema::boot_capnp::boot_package;

use super::live;
use crate::{
    guest::Guest,
    package,
    qemu::{Boot, Machine, Nic},
    smoke::{Context, Scenario},
};

const LIMIT: u64 = 90;

/// A process of the manifest `faults`, the kernel's name of its exception, and where it strikes.
const FAULTS: [(&str, &str, Place); 12] = [
    ("read", "page fault (error 0x4)", Place::Function),
    ("read-null", "page fault (error 0x4)", Place::Function),
    ("read-kernel", "page fault", Place::Function),
    ("read-non-canonical", "general protection fault", Place::Function),
    ("write-code", "page fault (error 0x7)", Place::Function),
    ("execute-data", "page fault (error 0x15)", Place::Argument),
    ("execute-stack", "page fault (error 0x15)", Place::Argument),
    ("privileged", "general protection fault", Place::Function),
    ("port", "general protection fault", Place::Function),
    ("divide", "divide error", Place::Function),
    ("invalid", "invalid instruction", Place::Function),
    ("overflow", "page fault (error 0x6)", Place::Function),
];

/// Where the instruction pointer is when the fault strikes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At the function that the process says it calls.
    Function,
    /// At the address that the process says it jumps to.
    Argument,
}

/// What goes wrong, each against a live system.
pub fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("fault-reports", "what the processor refuses kills the process alone", LIMIT, reports),
        Scenario::new("fault-quotas", "a used-up quota is an error with its name", LIMIT, quotas),
        Scenario::new("fault-crash-at-start", "a driver that crashes at start is given up", LIMIT, crash),
        Scenario::new("fault-hostile-nic", "a driver cannot harm the network stack", LIMIT, hostile_nic),
        Scenario::new("fault-missing-binary", "a manifest of an unknown program is not packed", 10, missing),
        Scenario::new("fault-wrong-hash", "a changed program is not started, others are", LIMIT, wrong_hash),
        Scenario::new("fault-absent-binary", "a program that the package lacks is said", LIMIT, absent),
        Scenario::new("fault-broken-package", "a package that cannot be read is said", LIMIT, broken_package),
    ]
}

fn live_machine(context: &mut Context, manifest: &str) -> Result<Machine> {
    let mut machine = Machine::new(context.direct(manifest)?);
    machine.nic = Some(Nic::Modern);
    machine.processors = 2;
    Ok(machine)
}

/// The line that contains all of `parts`; looks at what has been printed, then waits.
fn line_with(guest: &mut Guest, parts: &[&str]) -> Result<String> {
    let fits = |line: &str| parts.iter().all(|part| line.contains(part));
    match guest.lines().into_iter().find(|line| fits(line)) {
        Some(line) => Ok(line),
        None => guest.wait_until(&format!("a line with {parts:?}"), fits),
    }
}

fn reports(context: &mut Context) -> Result<()> {
    let machine = live_machine(context, "manifests/tests/faults.capnp")?;
    let (mut guest, address) = live::start(context, machine)?;
    for (process, exception, place) in FAULTS {
        report(&mut guest, process, exception, place).with_context(|| process.to_owned())?;
    }
    // The policies: three lives, one life.
    line_with(&mut guest, &["process read (", "restarting (1st time)"])?;
    line_with(&mut guest, &["process read (", "restarting (2nd time)"])?;
    line_with(
        &mut guest,
        &["process read (", "page fault reading 0xdead0000", "gave up after 2 restarts in 60 s"],
    )?;
    line_with(&mut guest, &["process divide (", "division by zero", "not restarted"])?;
    line_with(&mut guest, &["panicked at ", "faulty.rs:", "as it was told"])?;
    line_with(&mut guest, &["process panic (", "exited with code 101, not restarted"])?;
    line_with(&mut guest, &["process error (", "exited with code 1, not restarted"])?;
    ensure!(!guest.lines().iter().any(|line| line.contains("fault: nothing happened")), "a fault was none");
    live::wait_healthy(address, context.deadline())
}

/// Checks the kernel's report of one fault.
fn report(guest: &mut Guest, process: &str, exception: &str, place: Place) -> Result<()> {
    let said = line_with(guest, &[&format!("{process}: "), "fault: function "])?;
    let (function, argument) = said
        .split_once("function ")
        .and_then(|(_, rest)| rest.split_once(" argument "))
        .context("the process does not say where")?;
    let at = if place == Place::Function { function } else { argument.trim() };
    let head = format!("process {process} (");
    let line = line_with(guest, &[&head, " thread ", exception])?;
    ensure!(line.contains(&format!(" at {at}, address ")), "{line:?} is not at {at}");
    let lines = guest.lines();
    let index = lines.iter().position(|known| *known == line).context("the line is gone")?;
    let registers = lines.get(index + 1..).unwrap_or_default().iter().take(8);
    let all = registers.map(String::as_str).collect::<Vec<_>>().join("\n");
    for register in ["rax ", "rsp ", "r8 ", "r15 ", "flags "] {
        ensure!(all.contains(register), "no {register}in the report:\n{all}");
    }
    Ok(())
}

fn quotas(context: &mut Context) -> Result<()> {
    let machine = live_machine(context, "manifests/tests/quotas.capnp")?;
    let (mut guest, address) = live::start(context, machine)?;
    for (process, reason) in [
        ("frames", "frame quota used up"),
        ("handles", "handle quota used up"),
        ("threads", "thread quota used up"),
    ] {
        line_with(&mut guest, &[&format!("{process}: "), "glutton: ", ", then ", "verloaded", reason])?;
        line_with(&mut guest, &[&format!("{process}: "), "glutton: satisfied"])?;
    }
    line_with(&mut guest, &["process kernel-ports: ", "the range holds ports of the kernel's", "failed"])?;
    line_with(&mut guest, &["process no-device: ", "there is no PCI function with", "failed"])?;
    live::wait_healthy(address, context.deadline())
}

fn crash(context: &mut Context) -> Result<()> {
    let machine = live_machine(context, "manifests/tests/crash-at-start.capnp")?;
    let mut guest = context.start(machine, &[live::PORT])?;
    let address = guest.address(live::PORT)?;
    for time in ["1st", "2nd", "3rd", "4th"] {
        guest.wait_for(&format!("exited with code 1, restarting ({time} time)"))?;
    }
    guest.wait_for("gave up after 4 restarts in 60 s")?;
    line_with(&mut guest, &["process needy: needs block of crashing-driver, which failed"])?;
    live::wait_healthy(address, context.deadline())
}

fn hostile_nic(context: &mut Context) -> Result<()> {
    let machine = live_machine(context, "manifests/tests/hostile-nic.capnp")?;
    let mut guest = context.start(machine, &[live::PORT])?;
    let address = guest.address(live::PORT)?;
    for fault in [
        "Offset",
        "Length",
        "WrongBuffer",
        "Flag",
        "Position",
        "Count",
        "NoBytes",
        "ShortRings",
        "ShortBuffers",
    ] {
        guest.wait_for(&format!("hostile: session with {fault}"))?;
        guest.wait_for("no NIC session: ").with_context(|| format!("netstack took {fault}"))?;
    }
    guest.wait_for("hostile: the driver's own session")?;
    live::wait_healthy(address, context.deadline())?;
    ensure!(!guest.lines().iter().any(|line| line.contains("process netstack (")), "the network stack died");
    Ok(())
}

fn missing(context: &mut Context) -> Result<()> {
    match context.package("manifests/tests/missing-binary.capnp") {
        Ok(package) => bail!("it was packed: {}", package.display()),
        Err(error) => {
            let text = format!("{error:#}");
            let said = text.contains("missing-binary.capnp") && text.contains("\"ghost\"");
            ensure!(said, "the error does not say what is wrong: {text}");
            Ok(())
        }
    }
}

/// The manifest whose package is tampered with, and a program of it that the page does not need.
const TAMPERED: (&str, &str) = ("manifests/tests/quotas.capnp", "glutton");

/// Boots a package that was changed after it was packed.
fn boot_changed(context: &mut Context, change: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<Guest> {
    let folder = context.temporary()?;
    let mut machine = live_machine(context, TAMPERED.0)?;
    if let Boot::Direct { package, .. } = &mut machine.boot {
        let mut bytes = fs::read(&*package)?;
        change(&mut bytes)?;
        // The scenario's own folder: QEMU reads the file a while after it was started.
        *package = context.log_file().with_extension("package");
        package::write(package, &bytes)?;
    }
    drop(folder);
    context.start(machine, &[live::PORT])
}

/// Byte offsets of a program's name and content in a package.
fn program(bytes: &[u8], name: &str) -> Result<(usize, usize)> {
    let segments = [bytes];
    let segments = SegmentArray::new(&segments);
    let message = Reader::new(segments, *ReaderOptions::new().traversal_limit_in_words(None));
    for binary in message.get_root::<boot_package::Reader<'_>>()?.get_binaries()? {
        if binary.get_name()?.to_str()? == name {
            let start = bytes.as_ptr().addr();
            let name = binary.get_name()?.as_bytes().as_ptr().addr();
            return Ok((name - start, binary.get_content()?.as_ptr().addr() - start));
        }
    }
    bail!("the package holds no {name:?}")
}

fn flip(bytes: &mut [u8], place: usize) -> Result<()> {
    *bytes.get_mut(place).context("the place is outside the package")? ^= 1;
    Ok(())
}

fn wrong_hash(context: &mut Context) -> Result<()> {
    let mut guest = boot_changed(context, |bytes| {
        let (_, content) = program(bytes, TAMPERED.1)?;
        flip(bytes, content + 0x1234)
    })?;
    let address = guest.address(live::PORT)?;
    let line = "process frames: binary \"glutton\" does not have the hash that the boot package says, failed";
    guest.wait_for(line)?;
    live::wait_healthy(address, context.deadline())
}

fn absent(context: &mut Context) -> Result<()> {
    let mut guest = boot_changed(context, |bytes| {
        let (name, _) = program(bytes, TAMPERED.1)?;
        flip(bytes, name + TAMPERED.1.len() - 1)
    })?;
    let address = guest.address(live::PORT)?;
    guest.wait_for("process frames: binary \"glutton\" is not in the boot package, failed")?;
    live::wait_healthy(address, context.deadline())
}

fn broken_package(context: &mut Context) -> Result<()> {
    let mut guest = boot_changed(context, |bytes| {
        // The root pointer: it now leads out of the message.
        bytes.get_mut(..8).context("an empty package")?.fill(0xfc);
        Ok(())
    })?;
    guest.wait_for("kernel: cannot boot: ")?;
    Ok(())
}
