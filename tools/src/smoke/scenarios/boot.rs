//! The kernel starts on every machine that is supported.

use anyhow::{Context as _, Result, ensure};

use crate::{
    qemu::Machine,
    smoke::{Context, Scenario},
};

/// Seconds that the largest machine may take.
const LIMIT: u64 = 60;

/// The first line on COM1; version and source commit stand behind it.
const FIRST_LINE: &str = "capos kernel starting";

/// Board, processor model, number of processors, memory in MiB.
const MACHINES: [(&str, &str, u32, u32); 10] = [
    ("q35", "max", 1, 64),
    ("q35", "qemu64", 1, 256),
    ("q35", "max", 2, 256),
    ("q35", "qemu64", 4, 256),
    ("q35", "max", 8, 8192),
    ("pc", "max", 1, 256),
    ("pc", "qemu64", 1, 64),
    ("pc", "qemu64", 2, 256),
    ("pc", "max", 4, 3584),
    ("pc", "qemu64", 8, 8192),
];

/// One scenario for each machine.
pub fn scenarios() -> Vec<Scenario> {
    MACHINES
        .into_iter()
        .map(|(board, processor, processors, memory)| {
            let name = format!("boot-{board}-{processor}-{processors}-{memory}");
            Scenario::new(
                name,
                "the kernel starts with all processors, and init after it",
                LIMIT,
                move |context| {
                    let mut machine = Machine::new(context.direct("manifests/default.capnp")?);
                    machine.board = board.into();
                    machine.processor = processor.into();
                    machine.processors = processors;
                    machine.memory = memory;
                    starts(context, machine)
                },
            )
        })
        .collect()
}

fn starts(context: &Context, machine: Machine) -> Result<()> {
    let processors = machine.processors;
    let mut guest = context.start(machine, &[])?;
    let line = guest.wait_for(FIRST_LINE)?;
    let lines = guest.lines();
    ensure!(lines.first() == Some(&line), "another line came first: {:?}", lines.first());
    let mut words =
        line.strip_prefix(FIRST_LINE).context("the line starts with something else")?.split_whitespace();
    let version = words.next().context("no version")?;
    ensure!(version.split('.').count() == 3, "{version:?} is not a version");
    words.next().context("no source commit")?;
    guest.wait_for(&format!("kernel: {processors} processors"))?;
    guest.wait_for("init: manifest")?;
    Ok(())
}
