//! `capos-tools`: everything that is done with capOS on the host. The `Makefile` at the top calls it.
#![forbid(unsafe_code)]

mod bench;
mod cloud;
mod command_line;
mod executable;
mod faults;
mod graph;
mod guest;
mod image;
mod kernel_file;
mod manifest_check;
mod package;
mod paths;
mod plot;
mod progress;
mod provenance;
mod qemu;
mod run;
mod smoke;
mod sparse;

use std::process::ExitCode;

fn main() -> ExitCode {
    match command_line::run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("capos-tools: {error:#}");
            ExitCode::FAILURE
        }
    }
}
