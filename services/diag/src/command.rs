//! The commands, and how a line is one of them.

use alloc::{borrow::ToOwned, format, string::String};

/// Log lines that `logs` shows when it is not told how many.
pub const DEFAULT_LOG_LINES: usize = 20;
/// Most log lines that it shows.
pub const MAXIMUM_LOG_LINES: usize = 1000;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Nothing: an empty line.
    Nothing,
    /// The system at a glance.
    Status,
    /// Processors.
    Cpu,
    /// Memory.
    Mem,
    /// Firmware tables.
    Acpi,
    /// PCI functions.
    Pci,
    /// Interrupts.
    Irq,
    /// Clocks and deadlines.
    Timers,
    /// Devices and their drivers.
    Devices,
    /// Processes.
    Ps,
    /// Who holds what: of one process, or of all.
    Caps(Option<String>),
    /// Ends of processes that were no success: of one process with what is known, or of all.
    Crashes(Option<String>),
    /// The network interface.
    Net,
    /// The newest lines of the log: how many, and of which process.
    Logs {
        /// At most so many.
        count: usize,
        /// Only its lines.
        process: Option<String>,
    },
    /// The commands.
    Help,
    /// Restarts the machine.
    Reboot,
    /// Switches the machine off.
    Halt,
}

/// Each command, its arguments, and what it does: the text of `help`.
pub const COMMANDS: [(&str, &str, &str); 16] = [
    ("status", "", "the system at a glance"),
    ("cpu", "", "processors: idle time and interrupts"),
    ("mem", "", "memory: free, the kernel's, each process's"),
    ("acpi", "", "firmware tables"),
    ("pci", "", "PCI functions: numbers, registers, owners"),
    ("irq", "", "interrupts: source, count, owner"),
    ("timers", "", "clocks, and deadlines of each processor"),
    ("devices", "", "devices and their drivers"),
    ("ps", "", "processes"),
    ("caps", "[process]", "who holds what"),
    ("crashes", "[process]", "processes that crashed; of one: what it was doing"),
    ("net", "", "the network interface"),
    ("logs", "[-n N] [process]", "the newest N lines of the log (20, at most 1000)"),
    ("help", "", "this list"),
    ("reboot", "", "restarts the machine"),
    ("halt", "", "switches the machine off"),
];

/// Reads a line.
///
/// Errors: what to tell the person who wrote it, in one line.
pub fn parse(line: &str) -> Result<Command, String> {
    let mut words = line.split_ascii_whitespace();
    let Some(name) = words.next() else { return Ok(Command::Nothing) };
    let simple = match name {
        "status" => Command::Status,
        "cpu" => Command::Cpu,
        "mem" => Command::Mem,
        "acpi" => Command::Acpi,
        "pci" => Command::Pci,
        "irq" => Command::Irq,
        "timers" => Command::Timers,
        "devices" => Command::Devices,
        "ps" => Command::Ps,
        "net" => Command::Net,
        "help" | "?" => Command::Help,
        "reboot" => Command::Reboot,
        "halt" => Command::Halt,
        "crashes" => Command::Crashes(words.next().map(ToOwned::to_owned)),
        "caps" => Command::Caps(words.next().map(ToOwned::to_owned)),
        "logs" => return logs(words),
        other => return Err(format!("unknown command {:?}; try help", cut(other))),
    };
    match words.next() {
        None => Ok(simple),
        Some(_) => Err(usage(name)),
    }
}

fn logs<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Command, String> {
    let wrong = || usage("logs");
    let (mut count, mut process) = (None, None);
    while let Some(word) = words.next() {
        if word == "-n" && count.is_none() {
            let number = words.next().and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
            count = Some(number);
        } else if !word.starts_with('-') && process.is_none() {
            process = Some(word.to_owned());
        } else {
            return Err(wrong());
        }
    }
    let count: usize = count.unwrap_or(DEFAULT_LOG_LINES);
    Ok(Command::Logs { count: count.min(MAXIMUM_LOG_LINES), process })
}

fn usage(name: &str) -> String {
    let arguments =
        COMMANDS.iter().find(|(known, ..)| *known == name).map_or("", |(_, arguments, _)| arguments);
    format!("usage: {name} {arguments}").trim_end().to_owned()
}

/// The start of a word that is too long to be repeated.
fn cut(word: &str) -> &str {
    word.get(..32).unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_the_help_is_known() {
        for (name, ..) in COMMANDS {
            assert!(parse(name).is_ok(), "{name}");
            assert!(parse(&format!("{name} one two three four")).is_err(), "{name}");
        }
    }

    #[test]
    fn arguments() {
        let logs = |count, process: Option<&str>| Command::Logs { count, process: process.map(Into::into) };
        for (line, command) in [
            ("", Command::Nothing),
            ("  \t ", Command::Nothing),
            (" status ", Command::Status),
            ("caps", Command::Caps(None)),
            ("caps netstack", Command::Caps(Some("netstack".into()))),
            ("crashes", Command::Crashes(None)),
            ("crashes nvme", Command::Crashes(Some("nvme".into()))),
            ("logs", logs(20, None)),
            ("logs -n 3", logs(3, None)),
            ("logs netstack -n 5", logs(5, Some("netstack"))),
            ("logs -n 999999", logs(1000, None)),
        ] {
            assert_eq!(parse(line), Ok(command), "{line}");
        }
    }

    #[test]
    fn wrong_lines_say_why() {
        for (line, problem) in [
            ("frobnicate", "unknown command \"frobnicate\"; try help"),
            ("Status", "unknown command \"Status\"; try help"),
            ("status now", "usage: status"),
            ("logs -n", "usage: logs [-n N] [process]"),
            ("logs -n x", "usage: logs [-n N] [process]"),
            ("logs -n -1", "usage: logs [-n N] [process]"),
            ("logs -n 1 -n 2", "usage: logs [-n N] [process]"),
            ("logs a b", "usage: logs [-n N] [process]"),
            ("caps a b", "usage: caps [process]"),
            ("reboot -f", "usage: reboot"),
        ] {
            assert_eq!(parse(line), Err(problem.into()));
        }
        let long = parse(&"x".repeat(500)).expect_err("no command");
        assert!(long.len() < 80, "{long}");
    }
}
