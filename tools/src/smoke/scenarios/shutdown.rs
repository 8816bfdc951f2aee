//! The orderly end of the whole system: each driver leaves its device with nothing undone, and nobody who hangs holds it up.

use std::{
    fs,
    net::UdpSocket,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;

use super::{block, hangs, image::fill};
use crate::{
    guest::Qmp,
    qemu::{Machine, Nic},
    smoke::{Context, Scenario},
};

/// What `tests/programs/src/bin/unflushed.rs` writes: so many blocks of so many bytes, by this key.
const BLOCKS: usize = 128;
const BLOCK_BYTES: usize = 512;
const KEY: u64 = 1;

/// The port of `tests/programs/src/bin/farewell.rs`, and how many datagrams it sends in the end.
const PORT: u16 = 9001;
const LAST: u8 = 16;

/// How long the card keeps what it is to send, in nanoseconds: longer than all processes above its driver take to end.
const CARD_DELAY: u64 = 50_000_000;

/// Between two greetings, and how long the last datagrams may be on their way on this host.
const GREETING: Duration = Duration::from_millis(200);
const ARRIVAL: Duration = Duration::from_secs(2);

/// The scenarios.
pub fn scenarios() -> Vec<Scenario> {
    let shutdown = |hung: &'static str| {
        let about = "the prompt ends the system in order, and the disk's controller is shut down";
        Scenario::new(
            format!("shutdown-{}", if hung.is_empty() { "clean" } else { "hung" }),
            about,
            60,
            move |context| shutdown(context, hung),
        )
    };
    let about = "in the end virtio disks are flushed, and the last frames leave the card";
    vec![shutdown(""), shutdown("test-echo"), Scenario::new("shutdown-virtio", about, 60, virtio)]
}

/// Halts the machine by the prompt, while one process hangs.
fn shutdown(context: &mut Context, hung: &str) -> Result<()> {
    let folder = context.temporary()?;
    let mut machine = Machine::new(context.direct("manifests/tests/shutdown.capnp")?);
    (machine.processors, machine.nic) = (2, Some(Nic::Modern));
    hangs::add_disk(&mut machine, folder.path())?;
    let (mut guest, mut terminal) = context.start_with_terminal(machine, &[])?;
    terminal.wait_line("nvme: namespace 1")?;
    terminal.wait_line("netstack: DHCP lease")?;
    let mut hook = guest.hook()?;
    hook.wait_for("hook ready")?;
    if !hung.is_empty() {
        hook.order(&format!("pause {hung}"))?;
    }
    let mut qmp = guest.qmp()?;
    terminal.wait_prompt()?;
    terminal.send(b"halt\r")?;
    let event = qmp.wait_event("SHUTDOWN")?;
    ensure!(event["guest"] == true && event["reason"] == "guest-shutdown", "QEMU says {event}");
    guest.wait_exit()?;
    // With the serial driver gone the kernel wrote this itself.
    terminal.wait_line("kernel: halt asked for by init")?;
    let lines = terminal.wait("all lines", |lines, _| Some(lines.to_vec()))?;
    let place = |text: &str| lines.iter().position(|line| line.contains(text));
    let (Some(begun), Some(disk)) =
        (place("init: halt: all processes are asked to end"), place("nvme: the device is shut down"))
    else {
        bail!("no orderly end: {:#?}", lines.iter().rev().take(12).collect::<Vec<_>>())
    };
    ensure!(begun < disk, "the controller was shut down before that was asked for");
    ensure!(place("virtio-net: the device is shut down").is_some(), "the card was not shut down");
    let killed = place("did not end within 3 s when it was asked to");
    ensure!(killed.is_some() != hung.is_empty(), "killed: {killed:?}");
    ensure!(place("restarting").is_none(), "something was started again");
    Ok(())
}

/// Halts a machine whose disks were never told to flush, and whose network has frames that the card has not sent.
fn virtio(context: &mut Context) -> Result<()> {
    let folder = context.temporary()?;
    let mut machine = Machine::new(context.direct("manifests/tests/shutdown-virtio.capnp")?);
    machine.processors = 2;
    let port = UdpSocket::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let network = format!("user,id=net0,hostfwd=udp:127.0.0.1:{port}-:{PORT}");
    let card = format!("virtio-net-pci,netdev=net0,romfile=,tx=timer,x-txtimer={CARD_DELAY}");
    machine.more.extend(["-netdev", &network, "-device", &card].map(Into::into));
    let images = ["blk", "scsi"].map(|name| folder.path().join(name));
    for (id, image) in ["blk", "scsi"].iter().zip(&images) {
        block::create(image, BLOCK_BYTES)?;
        machine.add_drive(id, image)?;
    }
    let disks = ["virtio-blk-pci,drive=blk", "virtio-scsi-pci", "scsi-hd,drive=scsi"];
    machine.more.extend(disks.into_iter().flat_map(|device| ["-device", device]).map(Into::into));
    // QEMU stays when the machine is off, to be asked.
    machine.more.push("-no-shutdown".into());
    let (mut guest, mut terminal) = context.start_with_terminal(machine, &[])?;
    terminal.wait_line("unflushed-blk: unflushed: written")?;
    terminal.wait_line("unflushed-scsi: unflushed: written")?;
    let peer = greet(port, context.deadline())?;
    let mut qmp = guest.qmp()?;
    for disk in ["blk", "scsi"] {
        let (writes, flushes) = counters(&mut qmp, disk)?;
        ensure!(writes > 0 && flushes == 0, "{disk}: {writes} writes and {flushes} flushes before the end");
    }
    terminal.wait_prompt()?;
    terminal.send(b"halt\r")?;
    let event = qmp.wait_event("SHUTDOWN")?;
    ensure!(event["guest"] == true && event["reason"] == "guest-shutdown", "QEMU says {event}");
    for disk in ["blk", "scsi"] {
        let (_, flushes) = counters(&mut qmp, disk)?;
        ensure!(flushes == 1, "{disk}: {flushes} flushes");
    }
    qmp.execute("quit", json!({}))?;
    guest.wait_exit()?;
    for driver in ["virtio-blk", "virtio-scsi", "virtio-net"] {
        terminal.wait_line(&format!("{driver}: the device is shut down"))?;
    }
    for image in &images {
        compare(image)?;
    }
    farewell(&peer)
}

/// Writes and flushes that a drive was asked for.
fn counters(qmp: &mut Qmp, drive: &str) -> Result<(u64, u64)> {
    let all = qmp.execute("query-blockstats", json!({}))?;
    let row = all.as_array().and_then(|rows| rows.iter().find(|row| row["device"] == drive));
    let stats = &row.with_context(|| format!("no {drive} in {all}"))?["stats"];
    let count = |name: &str| stats[name].as_u64().with_context(|| format!("no {name} in {stats}"));
    Ok((count("wr_operations")?, count("flush_operations")?))
}

/// Sends datagrams until one comes back: a socket whose peer is the guest's program.
fn greet(port: u16, deadline: Instant) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    socket.connect(("127.0.0.1", port))?;
    socket.set_read_timeout(Some(GREETING))?;
    let mut answer = [0; 16];
    while Instant::now() < deadline {
        socket.send(b"hello")?;
        if socket.recv(&mut answer).is_ok_and(|length| answer.get(..length) == Some(b"hello")) {
            return Ok(socket);
        }
    }
    bail!("nobody answers")
}

/// The last datagrams have all arrived.
fn farewell(peer: &UdpSocket) -> Result<()> {
    peer.set_read_timeout(Some(ARRIVAL))?;
    let mut missing: Vec<u8> = (0..LAST).collect();
    let mut datagram = [0; 16];
    while !missing.is_empty() {
        let length = peer.recv(&mut datagram).with_context(|| format!("without {missing:?} of {LAST}"))?;
        // Answers to greetings may come late.
        if length == 1 {
            missing.retain(|number| *number != datagram[0]);
        }
    }
    Ok(())
}

/// What was written is in the image.
fn compare(image: &Path) -> Result<()> {
    let bytes = fs::read(image)?;
    let mut wanted = [0; BLOCK_BYTES];
    for (number, block) in (0..).zip(bytes.chunks_exact(BLOCK_BYTES)).take(BLOCKS) {
        fill(&mut wanted, KEY, number);
        ensure!(block == wanted, "{}: block {number} is not what was written", image.display());
    }
    Ok(())
}
