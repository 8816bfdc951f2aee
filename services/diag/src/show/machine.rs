//! The machine: `status`, `cpu`, `mem`, `acpi`, `irq`, `timers`.

use super::{gaps, mebibytes, percent, seconds};
use crate::table::{Table, printable};
use alloc::{collections::BTreeMap, format, string::String, vec, vec::Vec};
use inspect::{
    Snapshot,
    decode::pci_name,
    machine::{AcpiTable, Interrupts, Timers},
};

/// Widest text of firmware or boot loader.
const WIDTH: usize = 64;

/// The system at a glance.
pub fn status(snapshot: &Snapshot, console: Option<&str>) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(summary) = &snapshot.summary {
        lines.push(format!("version    capOS {} {}", summary.version, summary.commit));
        lines.push(format!("manifest   {}", or_unknown(&summary.manifest)));
        lines.push(format!("uptime     {}", seconds(summary.uptime_microseconds)));
        lines.push(format!(
            "machine    {} of {}, loaded by {}",
            count(summary.processors.into(), "processor"),
            or_unknown(&summary.machine),
            or_unknown(&summary.boot_loader)
        ));
        lines.push(format!(
            "memory     {}, {} free",
            mebibytes(summary.memory_frames),
            mebibytes(summary.free_frames)
        ));
        lines.push(format!("time       {}, {}", summary.clock_source, summary.clock_event));
        let weaker =
            if summary.dma_mode == "direct" { ": drivers that start DMA reach all memory" } else { "" };
        lines.push(format!("DMA        {}{weaker}", summary.dma_mode));
    }
    let running = snapshot.processes.iter().filter(|process| process.state == "running").count();
    lines.push(format!("processes  {running} of {} running", snapshot.processes.len()));
    let others = snapshot.processes.iter().filter(|process| process.state != "running");
    lines.extend(others.map(|process| format!("           {} is {}", process.name, process.state)));
    lines.push(match &snapshot.network {
        Some(network) if network.address.is_empty() => {
            format!("network    {}, no address", printable(&network.name, 16))
        }
        Some(network) => format!("network    {} by {}", network.address, network.source),
        None => "network    none".into(),
    });
    lines.extend(console.map(|console| format!("console    {console}")));
    gaps(snapshot, &["status", "system-info", "processes"], &mut lines);
    lines.iter().map(|line| printable(line, 160)).collect()
}

/// Processors.
pub fn cpu(snapshot: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    let mut uptime = 0;
    if let Some(summary) = &snapshot.summary {
        lines.push(printable(&summary.machine, WIDTH));
        uptime = summary.uptime_microseconds;
    }
    let mut table = Table::new(&[">cpu", ">apic", ">idle", ">interrupts"]);
    for processor in &snapshot.processors {
        table.row([
            format!("{}", processor.index),
            format!("{}", processor.apic_id),
            percent(processor.idle_microseconds.min(uptime), uptime),
            format!("{}", processor.interrupts),
        ]);
    }
    lines.extend(table.lines());
    gaps(snapshot, &["system-info", "processors"], &mut lines);
    lines
}

/// Memory.
pub fn memory(snapshot: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(summary) = &snapshot.summary {
        lines.push(format!("total   {:>12}", mebibytes(summary.memory_frames)));
        lines.push(format!("free    {:>12}", mebibytes(summary.free_frames)));
        lines.push(format!("kernel  {:>12}", mebibytes(summary.kernel_frames)));
    }
    let mut table = Table::new(&["process", ">used", ">quota", ">", ">DMA used", ">DMA quota"]);
    for process in snapshot.processes.iter().filter(|process| process.id != 0) {
        let (used, quota) = process.frames;
        table.row([
            process.name.clone(),
            mebibytes(used.into()),
            mebibytes(quota.into()),
            percent(used.into(), quota.into()),
            mebibytes(process.dma.0.into()),
            mebibytes(process.dma.1.into()),
        ]);
    }
    lines.extend(table.lines());
    gaps(snapshot, &["system-info", "processes"], &mut lines);
    lines
}

/// Firmware tables.
pub fn acpi_tables(tables: &[AcpiTable]) -> Vec<String> {
    if tables.is_empty() {
        return vec!["no usable ACPI tables".into()];
    }
    let mut rows = Table::new(&["table", ">revision", ">bytes", "address"]);
    for table in tables {
        rows.row([
            table.signature.clone(),
            format!("{}", table.revision),
            format!("{}", table.length),
            format!("{:#x}", table.address),
        ]);
    }
    rows.lines()
}

/// Interrupts. `holders` says which process holds which object, `names` what processes are called.
pub fn interrupts(
    interrupts: &Interrupts,
    holders: &BTreeMap<u64, u32>,
    names: &BTreeMap<u32, String>,
) -> Vec<String> {
    let mut table = Table::new(&[">vector", "kind", "source", ">cpu", ">count", ">dropped", "owner"]);
    for interrupt in &interrupts.interrupts {
        let source = match (interrupt.function, interrupt.line) {
            (Some(function), Some(line)) => format!("{} line {line}", pci_name(function.into())),
            (Some(function), None) => format!("{} #{}", pci_name(function.into()), interrupt.index),
            (None, Some(line)) => format!("line {line}"),
            (None, None) => "-".into(),
        };
        let owner = holders.get(&interrupt.object).and_then(|holder| names.get(holder));
        table.row([
            format!("{}", interrupt.vector),
            interrupt.kind.into(),
            source,
            format!("{}", interrupt.processor),
            format!("{}", interrupt.count),
            format!("{}", interrupt.dropped),
            owner.map_or("-", String::as_str).into(),
        ]);
    }
    let mut lines = table.lines();
    lines.push(format!("{} of vectors that belong to nobody", interrupts.stray));
    lines
}

/// Clocks and deadlines.
pub fn timers(snapshot: &Snapshot, timers: &Timers) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(summary) = &snapshot.summary {
        lines.push(printable(&format!("clock   {}", summary.clock_source), WIDTH));
        lines.push(format!("        {} kHz", timers.frequency / 1000));
        lines.push(printable(&format!("events  {}", summary.clock_event), WIDTH));
        lines.push(format!("uptime  {}", seconds(summary.uptime_microseconds)));
    }
    let mut table = Table::new(&[">cpu", ">deadlines", ">first in"]);
    for deadlines in &timers.deadlines {
        table.row([
            format!("{}", deadlines.processor),
            format!("{}", deadlines.armed),
            deadlines.next.map_or_else(|| "-".into(), |next| seconds(next / 1000)),
        ]);
    }
    lines.extend(table.lines());
    lines
}

fn or_unknown(text: &str) -> String {
    if text.is_empty() { "unknown".into() } else { printable(text, WIDTH) }
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
