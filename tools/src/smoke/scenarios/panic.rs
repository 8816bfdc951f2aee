//! The kernel finds itself in the wrong: what it reports, and that everything stops.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;

use super::live;
use crate::{
    guest::{Gdb, Guest, Qmp},
    kernel_file,
    qemu::{Machine, Nic},
    smoke::{Context, Scenario},
};

const LIMIT: u64 = 60;

/// The kernel function that is broken: each call of one of the kernel's own objects comes there.
const BROKEN: &str = "kernel::message::serve";

/// `ud2`, the instruction that is none.
const UD2: [u8; 2] = [0x0f, 0x0b];

/// How long a page that must not answer is asked.
const PATIENCE: Duration = Duration::from_secs(1);

/// Bugs and diagnoses.
pub fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("panic-kernel-code", "a kernel with a bug says where and stops", LIMIT, kernel_code),
        Scenario::new(
            "panic-diagnostic",
            "a diagnostic interrupt shows what a machine does",
            LIMIT,
            diagnostic,
        ),
    ]
}

fn machine(context: &mut Context) -> Result<Machine> {
    let mut machine = Machine::new(context.direct("manifests/default.capnp")?);
    machine.nic = Some(Nic::Modern);
    machine.processors = 2;
    Ok(machine)
}

fn kernel_code(context: &mut Context) -> Result<()> {
    let address = kernel_file::address(&context.paths().kernel(), BROKEN)?;
    let sockets = tempfile::Builder::new().prefix("capos-").tempdir()?;
    let port = sockets.path().join("gdb");
    let mut machine = machine(context)?;
    let chardev = format!("socket,id=gdb,path={},server=on,wait=off", port.display());
    machine.more.extend(["-chardev", &chardev, "-gdb", "chardev:gdb"].map(Into::into));
    let (mut guest, page) = live::start(context, machine)?;
    let mut debugger = Gdb::connect(&port, context.deadline())?;
    debugger.write(address, &UD2)?;
    debugger.detach()?;
    let report = report(&mut guest)?;
    ensure!(report.contains("kernel panic: invalid instruction in the kernel"), "{report}");
    ensure!(report.contains("processor ") && report.contains(", process "), "{report}");
    let names = backtrace(&report);
    ensure!(names.first() == Some(&BROKEN), "the backtrace begins elsewhere:\n{report}");
    // The system call that led there: what called the function was read from the stack.
    ensure!(names.get(1).is_some_and(|name| name.starts_with("kernel::ipc::")), "no caller:\n{report}");
    has_registers(&report)?;
    all_stopped(&mut guest.qmp()?)?;
    ensure!(live::get(page, "/healthz", PATIENCE).is_err(), "the page answers after a panic");
    Ok(())
}

fn diagnostic(context: &mut Context) -> Result<()> {
    let machine = machine(context)?;
    let (mut guest, _) = live::start(context, machine)?;
    let mut qmp = guest.qmp()?;
    qmp.execute("inject-nmi", json!({}))?;
    let report = report(&mut guest)?;
    ensure!(report.contains("kernel panic: diagnostic interrupt (NMI)"), "{report}");
    has_registers(&report)?;
    let in_user_code = report.contains("in user code");
    let in_kernel = backtrace(&report).iter().any(|name| name.starts_with("kernel::"));
    ensure!(in_user_code || in_kernel, "no place:\n{report}");
    all_stopped(&mut qmp)
}

/// The lines of the panic.
fn report(guest: &mut Guest) -> Result<String> {
    guest.wait_for("capos kernel panic: ")?;
    guest.wait_for("all processors stopped")?;
    let lines = guest.lines();
    let start =
        lines.iter().position(|line| line.contains("capos kernel panic: ")).context("it was there")?;
    Ok(lines.get(start..).unwrap_or_default().join("\n"))
}

/// The names of the functions in a report, the last called one first.
fn backtrace(report: &str) -> Vec<&str> {
    let function = |line: &str| line.strip_prefix("  0x").is_some();
    let name = |line: &str| line.split_whitespace().nth(1).is_some();
    report
        .lines()
        .filter(|line| function(line) && name(line))
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect()
}

fn has_registers(report: &str) -> Result<()> {
    for name in ["rax", "rbx", "rsp", "rip", "r15", "cr2", "cr3"] {
        let value = report.split_whitespace().skip_while(|word| *word != name).nth(1);
        let value = value.with_context(|| format!("no register {name}:\n{report}"))?;
        ensure!(value.len() == 16 && u64::from_str_radix(value, 16).is_ok(), "{name} is {value:?}");
    }
    Ok(())
}

/// Every processor of the machine halts for good: with interrupts off.
fn all_stopped(qmp: &mut Qmp) -> Result<()> {
    let answer = qmp.execute("human-monitor-command", json!({ "command-line": "info registers -a" }))?;
    let text = answer.as_str().context("a text")?;
    let processors: Vec<&str> = text.lines().filter(|line| line.contains("HLT=")).collect();
    let interrupts_on = |line: &&str| {
        let flags = line.split("RFL=").nth(1).and_then(|rest| rest.get(..8));
        flags.and_then(|flags| u32::from_str_radix(flags, 16).ok()).is_none_or(|flags| flags & 0x200 != 0)
    };
    if processors.len() != 2 || processors.iter().any(|line| interrupts_on(line) || !line.contains("HLT=1")) {
        bail!("not all processors have stopped:\n{}", processors.join("\n"));
    }
    Ok(())
}
