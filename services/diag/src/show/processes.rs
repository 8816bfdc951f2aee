//! Processes: `ps`, `caps`.

use super::gaps;
use crate::table::{Table, printable};
use alloc::{format, string::String, vec, vec::Vec};
use inspect::{Process, Snapshot, Target};

/// All processes.
pub fn processes(snapshot: &Snapshot) -> Vec<String> {
    let mut table =
        Table::new(&[">id", "process", "state", ">restarts", ">cpu ms", ">frames", ">handles", ">threads"]);
    for process in &snapshot.processes {
        let id = if process.id == 0 { "-".into() } else { format!("{}", process.id) };
        table.row([
            id,
            process.name.clone(),
            process.state.into(),
            format!("{}", process.restarts),
            process.cpu.map_or_else(|| "-".into(), |time| format!("{}", time / 1000)),
            format!("{}/{}", process.frames.0, process.frames.1),
            format!("{}/{}", process.handles.0, process.handles.1),
            format!("{}/{}", process.threads.0, process.threads.1),
        ]);
    }
    let mut lines = table.lines();
    for process in snapshot.processes.iter().filter(|process| !process.problem.is_empty()) {
        lines.push(format!("{}: {}", process.name, printable(&process.problem, 120)));
    }
    gaps(snapshot, &["status", "system-info", "processes"], &mut lines);
    lines
}

/// What one process, or every one, was granted, offers, and holds now.
pub fn capabilities(snapshot: &Snapshot, process: Option<&str>) -> Vec<String> {
    let wanted = |candidate: &&Process| process.is_none_or(|name| candidate.name == name);
    let mut lines = Vec::new();
    for process in snapshot.processes.iter().filter(wanted) {
        lines.push(format!("{} ({})", process.name, process.state));
        for grant in &process.grants {
            lines.push(format!("  granted  {:<16} {} from {}", grant.0, grant.2, grant.1));
        }
        for export in &process.exports {
            lines.push(format!("  offers   {export}"));
        }
        for holding in &process.holds {
            let target = match &holding.1 {
                Target::Process(index) => snapshot
                    .processes
                    .get(*index)
                    .map_or_else(String::new, |other| format!(" of {}", other.name)),
                Target::Device(address) => format!(" {address}"),
                Target::Unnamed => String::new(),
            };
            lines.push(format!("  holds    {:>4} {}{target}", holding.2, holding.0));
        }
    }
    if let (Some(name), true) = (process, lines.is_empty()) {
        return vec![format!("there is no process {:?}; ps lists them", printable(name, 32))];
    }
    gaps(snapshot, &["status", "system-info", "processes", "grants", "holdings"], &mut lines);
    lines.iter().map(|line| printable(line, 160)).collect()
}
