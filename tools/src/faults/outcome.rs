//! What became of a fault.

use std::time::Duration;

use serde::Serialize;

/// What became of one fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nobody saw anything.
    Masked,
    /// The driver noticed and put it right itself, for example by a reset of its device.
    Repaired,
    /// The driver noticed and ended with an error; it was started again.
    Gave,
    /// The driver was ended by the processor or by its own panic, and started again.
    Crashed,
    /// The supervisor noticed that the driver does not answer, and started it again.
    Heartbeat,
    /// The driver was killed, and started again.
    Restarted,
    /// There was nothing to hit.
    NotInjected,
    /// A client's data is wrong, by a write to memory that holds it, or a command about it, in the process that was hit: only
    /// the client's own check can tell.
    Garbled,
    /// A client's data is wrong, or the system is not back.
    Failed,
}

impl Outcome {
    /// All of them, as the table has them.
    pub const ALL: [Self; 9] = [
        Self::Masked,
        Self::Repaired,
        Self::Gave,
        Self::Crashed,
        Self::Heartbeat,
        Self::Restarted,
        Self::NotInjected,
        Self::Garbled,
        Self::Failed,
    ];

    /// Head of its column.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Masked => "masked",
            Self::Repaired => "repaired by driver",
            Self::Gave => "driver gave up, restarted",
            Self::Crashed => "crashed, restarted",
            Self::Heartbeat => "heartbeat, restarted",
            Self::Restarted => "killed, restarted",
            Self::NotInjected => "nothing to hit",
            Self::Garbled => "wrong data by wild write",
            Self::Failed => "FAILED",
        }
    }

    /// Whether the machine is of no more use.
    pub const fn ends_machine(self) -> bool {
        matches!(self, Self::Garbled | Self::Failed)
    }

    /// Whether there is a new process.
    pub const fn restarts(self) -> bool {
        matches!(self, Self::Gave | Self::Crashed | Self::Heartbeat | Self::Restarted)
    }

    /// Whether clients had to wait.
    pub const fn recovers(self) -> bool {
        matches!(self, Self::Repaired | Self::Gave | Self::Crashed | Self::Heartbeat | Self::Restarted)
    }
}

/// What was seen of one fault.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// What was done exactly.
    pub what: String,
    /// What became of it.
    pub outcome: Outcome,
    /// The line of the log, or the error, that shows it.
    pub detail: String,
    /// The longest time, in the guest, in which no client got on.
    #[serde(skip)]
    pub pause: Duration,
}

impl Found {
    /// A fault that could not be injected.
    pub fn not_injected(why: String) -> Self {
        Self { what: String::new(), outcome: Outcome::NotInjected, detail: why, pause: Duration::ZERO }
    }

    /// A fault that a client suffered from.
    pub fn failed(what: String, why: String) -> Self {
        Self { what, outcome: Outcome::Failed, detail: why, pause: Duration::ZERO }
    }

    /// A write to the very bytes that a client was to get.
    pub fn garbled(what: String, why: String) -> Self {
        Self { what, outcome: Outcome::Garbled, detail: why, pause: Duration::ZERO }
    }

    /// A fault that is over, by what the log says of the process since.
    pub fn new(what: String, process: &str, lines: &[String], pause: Duration) -> Self {
        let (outcome, detail) = judge(process, lines);
        Self { what, outcome, detail, pause }
    }
}

fn judge(process: &str, lines: &[String]) -> (Outcome, String) {
    let ending = format!("process {process} (");
    let own = format!("] {process}: ");
    let found = |outcome, line: &String| (outcome, line.clone());
    let endings: Vec<_> =
        lines.iter().filter(|line| line.contains("init: ") && line.contains(&ending)).collect();
    if let Some(line) = endings.first() {
        let outcome = if line.contains("heartbeat") || line.contains("does not answer") {
            Outcome::Heartbeat
        } else if line.contains("): killed") {
            Outcome::Restarted
        } else if line.contains("exited with code 101") || !line.contains("exited with code") {
            Outcome::Crashed
        } else {
            Outcome::Gave
        };
        // Its own last words say more than the code that it ended with.
        let words = lines.iter().rfind(|line| line.contains(&own) && line.contains("error"));
        return found(outcome, words.filter(|_| outcome == Outcome::Gave).unwrap_or(line));
    }
    let own = lines.iter().find(|line| line.contains(&own));
    own.map_or((Outcome::Masked, String::new()), |line| found(Outcome::Repaired, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(lines: &[&str]) -> Outcome {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        judge("nvme", &lines).0
    }

    #[test]
    fn the_log_tells_what_became_of_it() {
        let init = "[ 1.0] init: warning: process nvme (7): ";
        let line = |end: &str| judged(&[&format!("{init}{end}")]);
        assert_eq!(judged(&["[ 1.0] netstack: link up"]), Outcome::Masked);
        assert_eq!(judged(&["[ 1.0] nvme: warning: the controller is reset"]), Outcome::Repaired);
        assert_eq!(line("killed, restarting (1st time)"), Outcome::Restarted);
        assert_eq!(line("exited with code 1, restarting (1st time)"), Outcome::Gave);
        assert_eq!(line("exited with code 101, restarting (1st time)"), Outcome::Crashed);
        assert_eq!(line("page fault reading 0x0 at 0x1000, restarting (1st time)"), Outcome::Crashed);
        assert_eq!(line("missed its heartbeat, killed, restarting (1st time)"), Outcome::Heartbeat);
    }
}
