//! What the system and its processes have, before a campaign and after it.

use std::{thread, time::Duration};

use anyhow::{Result, ensure};

use super::hook::{Hook, number};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// Looks that must show the same before it counts as settled, and how many are taken at the most.
const SAME: usize = 3;
const LOOKS: usize = 25;

/// Frames that heaps may keep more or fewer of, in a process and in the machine.
const SLACK: u64 = 16;

/// Frames that init may have more or fewer of: it keeps evidence of the last four crashes of each process, which differ in size.
const EVIDENCE: u64 = 48;

/// Handles that a runtime may keep more of: as many calls as were ever in flight at once.
const KEPT_CALLS: u64 = 4;

/// Names of what is counted of a process.
const OF_PROCESS: [&str; 4] = ["handles", "threads", "dma-pages", "frames"];

/// Everything that is counted, as numbers by name, and how far each may be from what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accounts {
    rows: Vec<(String, u64, u64)>,
}

impl Accounts {
    /// Looks until nothing changes any more. `young` has just been started: how much memory it keeps depends on what it has
    /// served since.
    pub fn settled(hook: &mut Hook, young: &str) -> Result<Self> {
        let mut last = Self::look(hook, young)?;
        let mut same = 0;
        for _ in 0..LOOKS {
            thread::sleep(LOOK);
            let now = Self::look(hook, young)?;
            same = if now == last { same + 1 } else { 0 };
            last = now;
            if same == SAME {
                break;
            }
        }
        Ok(last)
    }

    fn look(hook: &mut Hook, young: &str) -> Result<Self> {
        let mut rows = Vec::new();
        let status = hook.order("status")?;
        let names = status.split(' ').filter_map(|word| word.split_once('='));
        let mut frames = 0;
        for (name, _) in names.filter(|(_, value)| value.contains('/')) {
            let usage = hook.order(&format!("usage {name}"))?;
            frames += number(&usage, "frames")?;
            for what in OF_PROCESS {
                let slack = match what {
                    "frames" if name == young => continue,
                    "frames" if name == "init" => EVIDENCE,
                    "frames" => SLACK,
                    "handles" => KEPT_CALLS,
                    _ => 0,
                };
                rows.push((format!("{name}: {what}"), number(&usage, what)?, slack));
            }
        }
        let machine = hook.order("accounts")?;
        let free = number(&machine, "free-frames")?;
        rows.push(("frames, free or in processes".into(), free + frames, SLACK));
        for (what, slack) in [("kernel-frames", SLACK), ("vectors", 0), ("claimed", 0)] {
            rows.push((what.into(), number(&machine, what)?, slack));
        }
        Ok(Self { rows })
    }

    /// The numbers, by name.
    pub fn rows(&self) -> impl Iterator<Item = (&str, u64)> {
        self.rows.iter().map(|(name, value, _)| (name.as_str(), *value))
    }

    /// Errors with what is not where it was.
    pub fn ensure_same(&self, after: &Self) -> Result<()> {
        let mut wrong = Vec::new();
        for (name, was, slack) in &self.rows {
            match after.rows.iter().find(|(known, ..)| known == name) {
                Some((_, is, _)) if was.abs_diff(*is) <= *slack => {}
                Some((_, is, _)) => wrong.push(format!("{name}: {was}, then {is}")),
                None => wrong.push(format!("{name}: {was}, then nothing")),
            }
        }
        ensure!(wrong.is_empty(), "accounts are not where they were: {}", wrong.join("; "));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(handles: u64, frames: u64) -> Accounts {
        Accounts { rows: vec![("a: handles".into(), handles, KEPT_CALLS), ("vectors".into(), frames, 0)] }
    }

    #[test]
    fn losses_are_found() {
        assert!(accounts(10, 4).ensure_same(&accounts(14, 4)).is_ok());
        assert!(accounts(10, 4).ensure_same(&accounts(15, 4)).is_err());
        assert!(accounts(10, 4).ensure_same(&accounts(10, 5)).is_err());
        assert!(accounts(10, 4).ensure_same(&Accounts { rows: vec![] }).is_err());
    }
}
