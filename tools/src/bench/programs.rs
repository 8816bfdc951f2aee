//! Programs that measure themselves: calls, system calls, process starts.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::{
    LIMIT,
    figures::{Figures, Unit},
    session::Session,
};
use crate::{guest::Guest, qemu::Machine};

/// Their manifest.
const MANIFEST: &str = "manifests/bench.capnp";

/// The line that ends their report.
const DONE: &str = "UB-DONE";

/// Runs them.
pub fn measure(session: &mut Session) -> Result<()> {
    session.context.enter("bench-programs", Instant::now() + LIMIT);
    let mut machine = Machine::new(session.context.direct(MANIFEST)?);
    machine.more = ["-icount", "shift=0,sleep=off"].map(Into::into).to_vec();
    let mut guest = Guest::start(machine, &[], &session.log("programs"), session.context.deadline())?;
    guest.wait_for(DONE)?;
    let lines = guest.lines().iter().filter(|line| take(line, &mut session.capos).is_some()).count();
    ensure!(lines > 0, "no line with a measurement");
    Ok(())
}

/// Takes the measurement in a line of the serial log: `UB <name> <count>`, behind whatever the log puts in front.
fn take(line: &str, figures: &mut Figures) -> Option<()> {
    let mut words = line.split_whitespace().skip_while(|word| *word != "UB").skip(1);
    let (name, value) = (words.next()?, words.next()?.parse().ok()?);
    figures.add(name, Unit::Instructions, value);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_are_found_in_log_lines() {
        let mut figures = Figures::default();
        assert!(take("[    0.112] bench: UB typed_call 2041", &mut figures).is_some());
        assert!(take("[    0.112] bench: UB-DONE", &mut figures).is_none());
        assert!(take("UB typed_call many", &mut figures).is_none());
        assert_eq!(figures.spread("typed_call").map(|spread| spread.runs), Some(vec![2041.0]));
    }
}
