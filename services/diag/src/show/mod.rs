//! From what was seen of the system to lines of text. Every output is bounded, since what was seen is.

mod crashes;
mod devices;
mod machine;
mod network;
mod processes;
#[cfg(test)]
mod tests;

pub use crashes::{crashes, evidence};
pub use devices::{devices, functions};
pub use machine::{acpi_tables, cpu, interrupts, memory, status, timers};
pub use network::network;
pub use processes::{capabilities, processes};

use crate::command::COMMANDS;
use alloc::{format, string::String, vec::Vec};
use inspect::Snapshot;

/// The commands.
pub fn help() -> Vec<String> {
    let line = |(name, arguments, what): &(&str, &str, &str)| {
        let call = format!("{name} {arguments}");
        format!("{call:<25}{what}")
    };
    COMMANDS.iter().map(line).collect()
}

/// What of the system could not be seen, and which lists are cut; nothing in the usual case. `parts` are those that matter.
fn gaps(snapshot: &Snapshot, parts: &[&str], lines: &mut Vec<String>) {
    for absent in snapshot.absent.iter().filter(|absent| parts.contains(&absent.what)) {
        lines.push(format!("({}: {})", absent.what, crate::table::printable(&absent.why, 100)));
    }
    for list in snapshot.truncated.iter().filter(|list| parts.contains(list)) {
        lines.push(format!("(there are more {list} than are shown)"));
    }
}

/// 4 KiB frames in MiB, to a tenth.
fn mebibytes(frames: u64) -> String {
    let tenths = frames.saturating_mul(10) / 256;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

/// Microseconds as seconds.
fn seconds(microseconds: u64) -> String {
    format!("{}.{:03} s", microseconds / 1_000_000, microseconds / 1000 % 1000)
}

/// Parts of a whole in percent, to a tenth; "-" of nothing.
fn percent(part: u64, whole: u64) -> String {
    let tenths = u128::from(part) * 1000;
    match tenths.checked_div(whole.into()) {
        Some(tenths) => format!("{}.{}%", tenths / 10, tenths % 10),
        None => "-".into(),
    }
}
