//! Processes that hang are noticed by their heartbeats, ended and started again; those that only seem to are left alone.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{live, page};
use crate::{
    guest::{Channel, Guest},
    qemu::{Machine, Nic},
    smoke::{Context, Scenario},
};

/// Bytes of the disk: nothing is stored on it.
const DISK_BYTES: usize = 1 << 20;

/// How long the page may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The scenarios.
pub fn scenarios() -> Vec<Scenario> {
    let about = "processes that hang are noticed, ended and started again, and leave evidence";
    vec![Scenario::new("hangs", about, 120, hangs)]
}

/// Adds an empty NVMe disk.
pub(super) fn add_disk(machine: &mut Machine, folder: &Path) -> Result<()> {
    let image = folder.join("disk");
    fs::write(&image, vec![0; DISK_BYTES])?;
    machine.add_drive("drive0", &image)?;
    machine.more.extend(["-device", "nvme,serial=one,drive=drive0"].map(Into::into));
    Ok(())
}

fn hangs(context: &mut Context) -> Result<()> {
    let folder = context.temporary()?;
    let mut machine = Machine::new(context.direct("manifests/tests/hangs.capnp")?);
    (machine.processors, machine.nic) = (2, Some(Nic::Modern));
    add_disk(&mut machine, folder.path())?;
    let (mut guest, address) = live::start(context, machine)?;
    let mut hook = guest.hook()?;
    hook.wait_for("hook ready")?;
    // These two hang from the start, and their policy is to leave them.
    for (process, reason) in
        [("spin", "missed 4 heartbeats of 300 ms, it computes"), ("unwell", "it says \"the device is late\"")]
    {
        wait_killed(&mut guest, process, reason)?;
    }
    for process in ["virtio-net", "netstack", "nvme"] {
        let before = restarts(&mut hook, process)?;
        hook.order(&format!("pause {process}"))?;
        wait_killed(&mut guest, process, "missed 4 heartbeats of 300 ms, it is paused")?;
        live::wait_healthy(address, context.deadline()).with_context(|| format!("after {process} hung"))?;
        while !hook.order("status")?.contains(&format!(" {process}=running/{}/", before + 1)) {
            ensure!(Instant::now() < context.deadline(), "{process} does not come back");
        }
    }
    guest.wait_until("the end of the follower", |line| {
        line.contains("process follower (") && line.contains("ended with nvme, restarting with it")
    })?;
    while !hook.order("status")?.contains(" follower=running/1/") {
        ensure!(Instant::now() < context.deadline(), "the follower does not come back");
    }
    ensure!(restarts(&mut hook, "busy")? == 0, "a process that answers was ended");
    ensure!(
        restarts(&mut hook, "remote-session-web-ui")? == 0,
        "a process that waited for another was ended"
    );
    evidence(&live::get(address, "/api/state", PATIENCE)?.body)?;
    match page::browser() {
        Some(browser) => {
            seen(&page::browse(context, browser, &["--dump-dom", &format!("http://{address}/")])?)
        }
        None => Ok(()),
    }
}

/// Waits for the end of a process, which may have come before the page was ready, and looks for its reason.
fn wait_killed(guest: &mut Guest, process: &str, reason: &str) -> Result<()> {
    let (name, reason) = (format!("process {process} ("), format!("killed: {reason}"));
    let fits = |line: &str| line.contains(&name) && line.contains(&reason);
    if !guest.lines().iter().any(|line| fits(line)) {
        guest.wait_until(&format!("the end of {process}"), fits)?;
    }
    Ok(())
}

/// The page's data tells the causes and the calls, and shows no memory.
fn evidence(body: &[u8]) -> Result<()> {
    let state: serde_json::Value = serde_json::from_slice(body)?;
    let crashes = state["crashes"].as_array().context("no crashes")?;
    let of = |process: &str| crashes.iter().rfind(|crash| crash["process"] == process);
    for process in ["virtio-net", "netstack", "nvme"] {
        let crash = of(process).with_context(|| format!("no crash of {process} in {crashes:?}"))?;
        let cause = crash["cause"].as_str().unwrap_or_default();
        ensure!(cause == "killed: missed 4 heartbeats of 300 ms, it is paused", "{process}: {cause}");
        ensure!(crash["held"].as_array().is_some_and(|held| !held.is_empty()), "{process} held nothing");
    }
    ensure!(of("follower").is_none(), "an end that was wanted counts as a crash");
    let spin = of("spin").context("no crash of spin")?;
    ensure!(spin["instruction"].as_str().is_some_and(|at| at != "0"), "spin was nowhere: {spin}");
    ensure!(last(spin, "made").starts_with("Supervisor."), "spin: {spin}");
    let unwell = of("unwell").context("no crash of unwell")?;
    ensure!(last(unwell, "made") == "Supervisor.alive", "unwell: {unwell}");
    let card = of("virtio-net").context("no crash of virtio-net")?;
    ensure!(last(card, "received").starts_with("Nic"), "virtio-net: {card}");
    in_flight(card, "received", "netstack", "NicSession.linkChanged")?;
    let stack = of("netstack").context("no crash of netstack")?;
    // Who has received a call is not known.
    in_flight(stack, "made", "", "NicSession.linkChanged")?;
    in_flight(stack, "received", "remote-session-web-ui", "TcpListener.accept")?;
    let text = serde_json::to_string(crashes)?;
    ensure!(!text.contains("interface"), "a call without a name: {text}");
    for secret in ["stack", "registers", "message"] {
        ensure!(crashes.iter().all(|crash| crash.get(secret).is_none()), "the page shows the {secret}");
    }
    Ok(())
}

/// The method that the first thread of a crash received or made last.
fn last<'c>(crash: &'c serde_json::Value, which: &str) -> &'c str {
    crash["lastCalls"][0][which].as_str().unwrap_or_default()
}

/// Looks for a call in flight.
fn in_flight(crash: &serde_json::Value, kind: &str, process: &str, method: &str) -> Result<()> {
    let call = serde_json::json!({"kind": kind, "process": process, "method": method});
    let calls = crash["inFlight"].as_array().context("no calls")?;
    ensure!(calls.contains(&call), "no {call} in {crash}");
    Ok(())
}

/// A person sees the calls.
fn seen(document: &str) -> Result<()> {
    for cell in [
        "received last",
        "Supervisor.alive",
        "in flight, received",
        "TcpListener.accept",
        "by remote-session-web-ui",
        "NicSession.linkChanged",
    ] {
        let found = document.split("<td>").any(|rest| {
            rest.split_once("</td>")
                .is_some_and(|(text, _)| text == cell || text.ends_with(&format!(" {cell}")))
        });
        ensure!(found, "the page does not show {cell:?}:\n{document}");
    }
    Ok(())
}

/// How often a process was started again.
fn restarts(hook: &mut Channel, process: &str) -> Result<u32> {
    let status = hook.order("status")?;
    let row = status.split(' ').find_map(|word| word.strip_prefix(process)?.strip_prefix('='));
    let row = row.with_context(|| format!("no {process} in {status}"))?;
    Ok(row.split('/').nth(1).context("no count of restarts")?.parse()?)
}
