//! A machine as Compute Engine's first and second generation make it: SeaBIOS, no HPET, no ECAM, virtio 0.9.5 for disk, card and
//! entropy, and a network where every neighbour is behind a gateway that is not on the link.
//!
//! What this QEMU cannot be is said: its TCG has x2APIC only from version 9 on.

mod dhcp;
mod network;

use std::ffi::OsString;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use self::network::{CLIENT, Cable, GATEWAY, GUEST, GUEST_MAC, Gateway, MTU};
use super::live;
use crate::{
    image::{self, Loader, Recipe},
    qemu::{Boot, Machine},
    smoke::{Context, Scenario},
};

const LIMIT: u64 = 90;

/// Frames of Ethernet's head in front of a packet.
const ETHERNET_HEAD: usize = 14;

/// The only one.
pub fn scenarios() -> Vec<Scenario> {
    vec![Scenario::new("gce-like", "the page answers on a machine like Compute Engine's", LIMIT, run)]
}

fn run(context: &mut Context) -> Result<()> {
    let x2apic = offers_x2apic(context)?;
    let cable = Cable::new(context.temporary()?)?;
    let machine = machine(context, &cable, x2apic)?;
    let mut guest = context.start(machine, &[])?;
    let mut gateway = Gateway::new(cable.accept(context.deadline())?, context.deadline());
    guest
        .wait_for("capos kernel starting")
        .context("SeaBIOS from a legacy virtio SCSI disk, GRUB and loader")?;
    let kernel = guest.wait_for("kernel: 4 processors")?;
    ensure!(!kernel.contains("HPET"), "the kernel found an HPET: {kernel}");
    gateway.serve_until(|| guest.has_line("capos: ready"))?;
    let ready = guest.wait_for("capos: ready")?;
    ensure!(ready.ends_with(&format!("http://{GUEST}:8080/")), "the page is said to be elsewhere: {ready}");

    let health = gateway.get("/healthz")?;
    live::ensure_health(&health)?;
    let page = gateway.get("/")?;
    ensure!(page.status == 200 && page.body.ends_with(b"</html>\n"), "the page is cut off");
    let script = gateway.get("/app.js")?;
    ensure!(script.status == 200 && script.body.len() > MTU, "the script is {} bytes", script.body.len());
    let state: Value = serde_json::from_slice(&gateway.get("/api/state")?.body)?;
    let interface = &state["network"];
    ensure!(interface["address"] == format!("{GUEST}/32"), "the interface is {interface}");
    ensure!(interface["mtu"] == MTU, "the interface is {interface}");
    let routes = json!([
        [format!("{GUEST}/32"), ""],
        [format!("{GATEWAY}/32"), ""],
        ["0.0.0.0/0", GATEWAY.to_string()]
    ]);
    ensure!(interface["routes"] == routes, "the interface is {interface}");

    let seen = gateway.seen();
    ensure!(seen.largest_frame <= MTU + ETHERNET_HEAD, "a frame of {} bytes", seen.largest_frame);
    ensure!(seen.largest_frame > MTU, "no frame as large as the MTU allows: {} bytes", seen.largest_frame);
    ensure!(seen.asked_for.iter().all(|address| *address == GATEWAY), "ARP for {:?}", seen.asked_for);
    print(&[
        ("machine", "pc without HPET and ECAM, 4 processors, SeaBIOS".into()),
        ("interrupts", interrupts(x2apic).into()),
        ("disk", "legacy virtio-scsi, target 1, booted by GRUB".into()),
        ("card", "legacy virtio-net".into()),
        ("lease", format!("{GUEST}/32, MTU {MTU}, gateway {GATEWAY} off the link by option 121")),
        (
            "page",
            format!("answered to {CLIENT} behind the gateway; largest frame {} bytes", seen.largest_frame),
        ),
    ]);
    Ok(())
}

/// Whether this QEMU's emulated processor can have an x2APIC.
#[derive(Clone, Copy, PartialEq, Eq)]
enum X2apic {
    Offered,
    Absent,
}

const fn interrupts(x2apic: X2apic) -> &'static str {
    match x2apic {
        X2apic::Offered => "x2APIC",
        X2apic::Absent => "xAPIC, since this QEMU's TCG offers no x2APIC",
    }
}

/// Asks a QEMU that runs nothing.
fn offers_x2apic(context: &Context) -> Result<X2apic> {
    let mut machine = Machine::new(Boot::None);
    machine.more.push("-S".into());
    let mut guest = context.start(machine, &[])?;
    let model = json!({ "type": "full", "model": { "name": "max" } });
    let answer = guest.qmp()?.execute("query-cpu-model-expansion", model)?;
    Ok(if answer["model"]["props"]["x2apic"] == true { X2apic::Offered } else { X2apic::Absent })
}

fn machine(context: &Context, cable: &Cable, x2apic: X2apic) -> Result<Machine> {
    let image = context.folder().join("gce.img");
    let manifest = context.paths().root.join("manifests/default.capnp");
    image::build(context.paths(), Recipe::new(&manifest, Loader::Grub), &image)?;
    let drive = format!("if=none,id=disk0,format=raw,snapshot=on,file={}", image.display());
    let card =
        format!("virtio-net-pci,netdev=net0,mac={GUEST_MAC},romfile=,rx_queue_size=1024,addr=4,{LEGACY}");
    let arguments = [
        "-smbios".into(),
        "type=1,manufacturer=Google,product=Google Compute Engine".into(),
        "-drive".into(),
        drive,
        "-device".into(),
        format!("virtio-scsi-pci,id=scsi0,addr=3,{LEGACY}"),
        "-device".into(),
        "scsi-hd,drive=disk0,bus=scsi0.0,scsi-id=1,lun=0,vendor=Google,product=PersistentDisk,\
         logical_block_size=512,physical_block_size=4096,bootindex=0"
            .into(),
        "-netdev".into(),
        cable.netdev("net0"),
        "-device".into(),
        card,
        "-device".into(),
        format!("virtio-rng-pci,addr=5,{LEGACY}"),
    ];
    let mut machine = Machine::new(Boot::None);
    machine.board = "pc,hpet=off".into();
    machine.processor = match x2apic {
        X2apic::Offered => "max,x2apic=on".into(),
        X2apic::Absent => "max".into(),
    };
    machine.processors = 4;
    machine.more = arguments.map(OsString::from).into();
    Ok(machine)
}

/// Virtio 0.9.5 alone.
const LEGACY: &str = "disable-legacy=off,disable-modern=on";

fn print(rows: &[(&str, String)]) {
    for (what, text) in rows {
        println!("  {what:<12}{text}");
    }
}
