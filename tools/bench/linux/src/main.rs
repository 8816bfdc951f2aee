//! Runs in a Linux guest: `bench-linux network` serves clients, `bench-linux block DEVICE` reads and writes a disk. Prints
//! the lines and sets the marks that `bench-net` and `bench-block` do on capOS.

use std::process::ExitCode;

use anyhow::{Result, bail};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-linux: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    match arguments {
        [work] if work == "network" => bench_linux::serve(),
        [work, device] if work == "block" => bench_linux::read_and_write(device.as_ref()),
        _ => bail!("usage: bench-linux network | block DEVICE"),
    }
}
