//! `run`: a machine with its serial console in the terminal.

use std::{
    io::IsTerminal as _,
    net::TcpListener,
    process::{Child, ExitCode, ExitStatus},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::qemu::Machine;

/// How long a machine may run that nobody watches, unless the caller says otherwise.
const UNWATCHED: Duration = Duration::from_secs(3600);

/// Between two looks at whether QEMU has ended, while a limit is kept.
const STEP: Duration = Duration::from_millis(100);

/// Runs a machine until it ends, Ctrl-C, or the limit. Without a limit, one holds only where standard input is no terminal.
pub fn run(mut machine: Machine, limit: Option<Duration>) -> Result<ExitCode> {
    for forward in &machine.forwards {
        TcpListener::bind(("127.0.0.1", forward.host))
            .with_context(|| format!("port {} of this machine is in use", forward.host))?;
        println!(
            "The guest's port {} is http://127.0.0.1:{}/ here. Ctrl-C ends the machine.",
            forward.guest, forward.host
        );
    }
    machine.more.extend(["-serial", "stdio", "-monitor", "none"].map(Into::into));
    let limit = limit.or_else(|| (!std::io::stdin().is_terminal()).then_some(UNWATCHED));
    let child =
        machine.command()?.spawn().context("cannot start QEMU (Debian: apt-get install qemu-system-x86)")?;
    let status = wait(child, limit)?;
    match status {
        Some(status) if status.success() => Ok(ExitCode::SUCCESS),
        Some(status) => {
            eprintln!("QEMU ended: {status}");
            Ok(ExitCode::FAILURE)
        }
        None => {
            eprintln!("The time limit was reached; the machine was stopped.");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Waits for a child; kills it and returns `None` when the limit is reached first.
fn wait(mut child: Child, limit: Option<Duration>) -> Result<Option<ExitStatus>> {
    let Some(limit) = limit else { return Ok(Some(child.wait()?)) };
    let started = std::time::Instant::now();
    while started.elapsed() < limit {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(STEP);
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}
