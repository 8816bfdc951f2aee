//! Crashes: `crashes`.

use super::seconds;
use crate::table::{Table, printable};
use alloc::{format, string::String, vec, vec::Vec};
use inspect::crashes::{Crash, Holdings, REGISTERS, Thread};

/// Words of a row of the stack.
const WORDS_PER_ROW: usize = 4;

/// The crashes of one process or of all, the oldest first.
pub fn crashes(crashes: &[Crash], process: Option<&str>) -> Vec<String> {
    let mut table = Table::new(&[">no", "process", ">id", ">at", ">lived", ">restarts", "cause"]);
    let shown: Vec<&Crash> =
        crashes.iter().filter(|crash| process.is_none_or(|name| crash.process == name)).collect();
    if shown.is_empty() {
        let of = process.map_or_else(String::new, |name| format!(" of {:?}", printable(name, 32)));
        return vec![format!("no crash{of} is known")];
    }
    for crash in shown {
        table.row([
            format!("{}", crash.number),
            crash.process.clone(),
            format!("{}", crash.id),
            seconds(crash.at_microseconds),
            seconds(crash.lived_microseconds),
            format!("{}", crash.restarts),
            crash.cause.clone(),
        ]);
    }
    table.lines()
}

/// All that is known of one crash.
pub fn evidence(crash: &Crash, threads: &[Thread], holdings: &Holdings) -> Vec<String> {
    let mut lines = vec![format!("crash {}: {}", crash.number, printable(&crash.cause, 160))];
    lines.push(format!(
        "  code at {}, on the stack {}",
        crash.instruction,
        or_nothing(&crash.trace.join(" "))
    ));
    for thread in threads {
        lines.extend(self::thread(thread));
    }
    let held = crash.held.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>();
    lines.push(format!("  held {}", or_nothing(&held.join(", "))));
    for (handle, kind, process) in &holdings.handles {
        let of = if process.is_empty() { String::new() } else { format!(" of {}", printable(process, 32)) };
        lines.push(format!("    {handle:>8x} {kind}{of}"));
    }
    for call in &holdings.calls {
        let process = if call.process.is_empty() { "-" } else { &call.process };
        lines.push(format!(
            "  call {}, {}, {}: {}",
            call.kind,
            printable(process, 32),
            call.method,
            words(&call.message)
        ));
    }
    lines
}

fn thread(thread: &Thread) -> Vec<String> {
    let state = if thread.in_system_call { ", in a system call" } else { "" };
    let mut lines =
        vec![format!("  thread {} at {:x}, flags {:x}{state}", thread.id, thread.instruction, thread.flags)];
    let registers = REGISTERS.iter().zip(&thread.registers).collect::<Vec<_>>();
    for row in registers.chunks(WORDS_PER_ROW) {
        let cells = row.iter().map(|(name, value)| format!("{name:>3} {value:016x}"));
        lines.push(format!("    {}", cells.collect::<Vec<_>>().join(" ")));
    }
    lines.push(format!("    message {}", words(&thread.message)));
    if let Some(method) = thread.last.received {
        let answered = if thread.last.answered { "answered" } else { "not answered" };
        lines.push(format!("    received last: {method}, {answered}"));
    }
    if let Some(method) = thread.last.made {
        lines.push(format!("    made last: {method}"));
    }
    let stack: Vec<u64> = thread
        .stack
        .chunks_exact(8)
        .filter_map(|word| word.try_into().ok().map(u64::from_le_bytes))
        .collect();
    for (row, part) in stack.chunks(WORDS_PER_ROW).enumerate() {
        lines.push(format!("    rsp+{:03x} {}", row * WORDS_PER_ROW * 8, words(part)));
    }
    lines
}

fn words(words: &[u64]) -> String {
    words.iter().map(|word| format!("{word:016x}")).collect::<Vec<_>>().join(" ")
}

fn or_nothing(text: &str) -> &str {
    if text.is_empty() { "nothing" } else { text }
}
