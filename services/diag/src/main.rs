//! Prompt on a console.
//!
//! Grants: `console` (Console of a driver); `system-info` (SystemInfo), `kernel-log` (KernelLog), `status` (SupervisorStatus), `pci`
//! (PciInventory that lists), `evidence` (CrashEvidence), `network` (NetworkManager, optional), `power` (Power): what is missing, its
//! commands say.
//! Arguments: `rows` (24) and `columns` (80) of the terminal.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

mod prompt;
mod session;
mod system;

use capnp::{Error, ErrorKind};
use core::time::Duration;
use inspect::Observer;
use prompt::Prompt;
use rt::Environment;
use schema::console_capnp::console;
use session::Session;
use system::System;

rt::program!(serve);

/// How long the first prompt waits for processes that are still starting: their log lines come first.
const SETTLING: Duration = Duration::from_secs(3);

/// How long it then waits for the line that closes the boot. Without a network nobody writes that.
const CLOSING: Duration = Duration::from_millis(1500);

/// What that line contains.
const CLOSED: [&[u8]; 2] = [b"capos: ready", b"capos: incomplete"];

/// Between two tries of what failed, so that a lasting failure is no busy loop.
const PAUSE: Duration = Duration::from_millis(200);

async fn serve(environment: Environment) -> Result<(), Error> {
    let rows = number(&environment, "rows", 24)?;
    let columns = number(&environment, "columns", 80)?;
    let system = System::new(&environment);
    if let Some(status) = system.observer().status() {
        inspect::settled(status, SETTLING).await;
        // Later is no harm, the prompt stays last: but who sees only the bytes reads a log without it.
        let _ = rt::timeout(CLOSING, closed(system.observer())).await;
    }
    let mut prompt = Prompt::new(system, rows, columns);
    loop {
        // Waits while the driver is being restarted.
        let console: console::Client = environment.reacquire("console").await?;
        let Err(error) = converse(&mut prompt, &console).await;
        if error.kind != ErrorKind::Disconnected {
            log::warn!("the console answers with an error: {error}");
            rt::sleep(PAUSE).await;
        }
    }
}

/// Waits until the boot's last line is in the log.
async fn closed(observer: &Observer) -> Result<(), Error> {
    const PAUSE: Duration = Duration::from_millis(20);
    let mut cursor = 0;
    loop {
        for part in observer.read_log(cursor).await? {
            cursor = part.next;
            if CLOSED.iter().any(|line| part.text.windows(line.len()).any(|text| text == *line)) {
                return Ok(());
            }
        }
        rt::sleep(PAUSE).await;
    }
}

/// Serves one session of the console, until that ends.
async fn converse(
    prompt: &mut Prompt,
    console: &console::Client,
) -> Result<core::convert::Infallible, Error> {
    let mut session = Session::open(console).await?;
    prompt.run(&mut session, console).await
}

/// The number that the manifest gives for `name`.
fn number(environment: &Environment, name: &str, default: usize) -> Result<usize, Error> {
    let number = environment.argument(name).map_or(Ok(default), str::parse);
    number
        .ok()
        .filter(|number| (2..=1000).contains(number))
        .ok_or_else(|| Error::failed(alloc::format!("argument {name} is no number from 2 to 1000")))
}
