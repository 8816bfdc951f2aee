//! The serial port: its driver has the log from the kernel without a gap, dies and comes back, and need not be there.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::live;
use crate::{
    guest::{Channel, is_log},
    qemu::{FirstSerial, Machine, Nic},
    smoke::{Context, Scenario},
};

const LIMIT: u64 = 60;

/// How often the driver is killed.
const KILLS: usize = 5;

/// All of them.
pub fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("uart-log", "no line of the log is lost or doubled on the port", LIMIT, log),
        Scenario::new("uart-recovery", "a driver that dies loses no line of the log", LIMIT, recovery),
        Scenario::new("uart-gone", "without its driver, the kernel writes the log again", LIMIT, gone),
        Scenario::new("uart-panic", "a kernel that stops takes the port back and says why", LIMIT, panic),
        Scenario::new("uart-absent", "a machine without a serial port serves its page", LIMIT, absent),
        Scenario::new("uart-slow", "a terminal that does not read holds up the prompt alone", LIMIT, slow),
    ]
}

fn machine(context: &mut Context, manifest: &str) -> Result<Machine> {
    let mut machine = Machine::new(context.direct(manifest)?);
    machine.nic = Some(Nic::Modern);
    Ok(machine)
}

/// The kernel's log by way of the page.
fn kernel_log(context: &Context, address: std::net::SocketAddr) -> Result<Vec<String>> {
    let log: Value = serde_json::from_str(&context.get(&format!("http://{address}/api/log?after=0"))?)?;
    let lines = log["lines"].as_array().context("the log is a list of lines")?;
    Ok(lines.iter().filter_map(Value::as_str).filter(|line| is_log(line)).map(ToOwned::to_owned).collect())
}

fn log(context: &mut Context) -> Result<()> {
    for processors in [1, 4] {
        let mut machine = machine(context, "manifests/default.capnp")?;
        machine.processors = processors;
        let (mut guest, address) = live::start(context, machine)?;
        let last = guest.lines().last().cloned().context("a boot log")?;
        ensure!(last.ends_with("capos: ready, http://10.0.2.15:8080/"), "the last line is {last:?}");
        // The page's request may be in the log of one and not yet of the other.
        let logged = kernel_log(context, address)?;
        if let Some(last) = logged.last()
            && !guest.lines().contains(last)
        {
            guest.wait_for(last)?;
        }
        let written: Vec<String> = guest.lines().into_iter().filter(|line| is_log(line)).collect();
        ensure!(written == logged, "the port has {written:#?}, the log {logged:#?}");
    }
    Ok(())
}

fn recovery(context: &mut Context) -> Result<()> {
    let machine = machine(context, "manifests/tests/hook.capnp")?;
    let (mut guest, mut terminal) = context.start_with_terminal(machine, &[live::PORT])?;
    let address = guest.address(live::PORT)?;
    let mut hook = guest.hook()?;
    hook.wait_for("hook ready")?;
    terminal.wait_line("capos: ready")?;
    let mut before = Vec::new();
    for kill in 1..=KILLS {
        if kill == 2 {
            // What the first death left is kept for good: capacity of tables.
            before = usage(&mut hook)?;
        }
        hook.order("kill uart")?;
        // The kernel's own output, or already the next driver's.
        terminal.wait_line(&format!("restarting ({kill}"))?;
        let help = terminal.command("help")?;
        ensure!(help.len() > 10, "after kill {kill}, help says {help:?}");
    }
    let after = usage(&mut hook)?;
    ensure!(before == after, "a death takes something away: {before:?}, then {after:?}");
    let logged = kernel_log(context, address)?;
    let mut written: BTreeMap<String, usize> = BTreeMap::new();
    for line in guest.lines().into_iter().filter(|line| is_log(line)) {
        *written.entry(line).or_default() += 1;
    }
    let lost: Vec<_> = logged.iter().filter(|line| !written.contains_key(*line)).collect();
    ensure!(lost.is_empty(), "lines that the port does not have: {lost:#?}");
    // A line that was being written when its writer died comes again.
    let doubled: usize = written.values().map(|times| times - 1).sum();
    ensure!(doubled <= KILLS, "{doubled} lines came again after {KILLS} deaths");
    live::wait_healthy(address, context.deadline())
}

/// Handles and threads of the processes that live on.
fn usage(hook: &mut Channel) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for process in ["init", "diag", "netstack"] {
        hook.send(&format!("usage {process}"))?;
        let answer = hook.wait_for("ok frames=")?;
        all.push(answer.split(' ').skip(2).collect::<Vec<_>>().join(" "));
    }
    Ok(all)
}

fn gone(context: &mut Context) -> Result<()> {
    let machine = machine(context, "manifests/tests/uart-once.capnp")?;
    let (mut guest, address) = live::start(context, machine)?;
    let mut hook = guest.hook()?;
    hook.wait_for("hook ready")?;
    for process in ["uart", "remote-session-web-ui"] {
        hook.order(&format!("kill {process}"))?;
    }
    guest.wait_for("process uart")?;
    guest.wait_for("process remote-session-web-ui")?;
    guest.wait_for("capos: ready")?;
    let logged = kernel_log(context, address)?;
    let written: Vec<String> = guest.lines().into_iter().filter(|line| is_log(line)).collect();
    ensure!(written == logged, "the port has {written:#?}, the log {logged:#?}");
    Ok(())
}

fn panic(context: &mut Context) -> Result<()> {
    for processors in [1, 2] {
        let mut machine = machine(context, "manifests/default.capnp")?;
        machine.processors = processors;
        let (mut guest, _) = live::start(context, machine)?;
        // An error that the processor reports: bank 1, valid, not corrected, and the machine check is in progress.
        let order = json!({ "command-line": "mce 0 1 0xb200000000000000 0x5 0 0" });
        guest.qmp()?.execute("human-monitor-command", order)?;
        guest.wait_until("the kernel's last words", |line| {
            line.starts_with("capos kernel panic: machine check")
        })?;
        guest.wait_for("all processors stopped")?;
    }
    Ok(())
}

fn absent(context: &mut Context) -> Result<()> {
    let mut machine = machine(context, "manifests/default.capnp")?;
    machine.first_serial = FirstSerial::Absent;
    let guest = context.start(machine, &[live::PORT])?;
    let address = guest.address(live::PORT)?;
    live::wait_healthy(address, context.deadline())?;
    let logged = kernel_log(context, address)?;
    ensure!(logged.iter().any(|line| line.ends_with("uart: no UART answers")), "the log is {logged:#?}");
    let state = context.get(&format!("http://{address}/api/state"))?;
    let state: Value = serde_json::from_str(&state)?;
    for name in ["uart", "diag"] {
        let processes = state["processes"].as_array().context("a list of processes")?;
        let process = processes.iter().find(|process| process["name"] == name).context("the process")?;
        ensure!(process["state"] == "running" && process["restarts"] == 0, "{name}: {process}");
    }
    Ok(())
}

fn slow(context: &mut Context) -> Result<()> {
    let machine = machine(context, "manifests/default.capnp")?;
    let (guest, mut terminal) = context.start_with_terminal(machine, &[live::PORT])?;
    let address = guest.address(live::PORT)?;
    terminal.wait_line("capos: ready")?;
    terminal.wait_prompt()?;
    terminal.pause();
    // Far more output than the pseudo-terminal, the driver and the prompt keep together.
    for _ in 0..40 {
        terminal.send(b"help\rlogs -n 20\rps\r")?;
    }
    for _ in 0..20 {
        context.get(&format!("http://{address}/api/state"))?;
    }
    terminal.go_on();
    terminal.send(b"\x03\r\r")?;
    let marker = terminal.command("logs -n 1 nobody")?;
    ensure!(marker == ["no lines of \"nobody\""], "the prompt answers {marker:?}");
    Ok(())
}
