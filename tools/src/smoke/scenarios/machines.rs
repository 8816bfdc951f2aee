//! The page answers on every kind of machine that is supported.

use anyhow::Result;

use super::live;
use crate::{
    qemu::{Machine, Nic},
    smoke::{Context, Scenario},
};

/// Seconds that the slowest machine may take.
const LIMIT: u64 = 90;

/// Board with its options, processor model, number of processors, memory in MiB: each value of each at least once, and
/// the smallest memory with the most processors.
const MACHINES: [(&str, &str, u32, u32); 9] = [
    ("q35", "max", 1, 64),
    ("pc", "qemu64", 2, 64),
    ("q35", "qemu64", 4, 256),
    ("pc", "max", 8, 256),
    ("q35", "max", 2, 3072),
    ("pc", "qemu64", 1, 3072),
    ("q35", "qemu64", 8, 8192),
    ("pc,hpet=off", "max", 4, 8192),
    ("q35,hpet=off", "qemu64", 2, 256),
];

/// One scenario for each machine.
pub fn scenarios() -> Vec<Scenario> {
    MACHINES
        .into_iter()
        .map(|(board, processor, processors, memory)| {
            let name =
                format!("machine-{}-{processor}-{processors}-{memory}", board.replace([',', '='], "-"));
            Scenario::new(name, "the page answers on this machine", LIMIT, move |context| {
                let mut machine = Machine::new(context.direct("manifests/default.capnp")?);
                machine.board = board.into();
                machine.processor = processor.into();
                machine.processors = processors;
                machine.memory = memory;
                machine.nic = Some(Nic::Modern);
                answers(context, machine)
            })
        })
        .collect()
}

fn answers(context: &Context, machine: Machine) -> Result<()> {
    let (_guest, address) = live::start(context, machine)?;
    // More than once: from every processor's and buffer's point of view.
    for _ in 0..10 {
        live::wait_healthy(address, context.deadline())?;
    }
    Ok(())
}
