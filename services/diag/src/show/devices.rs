//! Devices: `pci`, `devices`.

use super::gaps;
use crate::table::Table;
use alloc::{collections::BTreeMap, format, string::String, vec::Vec};
use inspect::{Snapshot, decode::pci_name, machine::Function};

/// PCI functions with their registers.
pub fn functions(functions: &[Function], names: &BTreeMap<u32, String>) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in functions {
        let function = &entry.function;
        let owner = match names.get(&function.owner) {
            Some(name) => format!("owner {name}"),
            None if function.claimed => "claimed".into(),
            None => "free".into(),
        };
        lines.push(format!(
            "{} {:04x}:{:04x} rev {:02x} sub {:04x}:{:04x} {:06x} {}, {}, {owner}",
            pci_name(function.address),
            function.vendor,
            function.device,
            entry.revision,
            entry.subsystem.0,
            entry.subsystem.1,
            function.class,
            class_name(function.class),
            match function.interrupt_count {
                0 => "no interrupt".into(),
                count => format!("{} x{count}", function.interrupt_kind),
            },
        ));
        for bar in &entry.bars {
            lines.push(format!(
                "    BAR{} {:<5} {:#x} size {:#x}",
                bar.index, bar.kind, bar.address, bar.size
            ));
        }
    }
    if lines.is_empty() {
        lines.push("no PCI functions".into());
    }
    lines
}

/// What each device is and who drives it. Ports and interrupt lines of processes are devices too.
pub fn devices(snapshot: &Snapshot) -> Vec<String> {
    let mut table = Table::new(&["device", "what", "driver"]);
    for device in &snapshot.devices {
        let driver = device.driver.and_then(|index| snapshot.processes.get(index));
        table.row([
            device.address.clone(),
            format!("{:04x}:{:04x} {}", device.vendor, device.device, class_name(device.class)),
            match driver {
                Some(process) => process.name.clone(),
                None if device.claimed => "(between two runs)".into(),
                None => "-".into(),
            },
        ]);
    }
    for process in &snapshot.processes {
        let legacy = |what: &str| what.starts_with("ports ") || what.starts_with("ISA line ");
        for grant in process.grants.iter().filter(|grant| legacy(&grant.2)) {
            table.row([grant.2.clone(), "legacy".into(), process.name.clone()]);
        }
    }
    let mut lines = table.lines();
    gaps(snapshot, &["pci", "status", "devices"], &mut lines);
    lines
}

/// What a class and subclass are. [PCI Code and ID Assignment 1.16]
fn class_name(class: u32) -> &'static str {
    match class >> 8 {
        0x0100 => "SCSI",
        0x0101 => "IDE",
        0x0106 => "SATA",
        0x0108 => "NVMe",
        0x0200 => "Ethernet",
        0x0300 => "VGA",
        0x0600 => "host bridge",
        0x0601 => "ISA bridge",
        0x0604 => "PCI bridge",
        0x0680 => "bridge",
        0x0700 => "serial port",
        0x0880 => "system device",
        0x0c03 => "USB",
        0x0c05 => "SMBus",
        0x00ff | 0x1000 => "unclassified",
        other => match other >> 8 {
            0x01 => "storage",
            0x02 => "network",
            0x03 => "display",
            0x05 => "memory",
            0x06 => "bridge",
            _ => "device",
        },
    }
}
