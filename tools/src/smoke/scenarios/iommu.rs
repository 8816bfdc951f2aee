//! Machines with an IOMMU, and a driver that reaches for what is not its own.

use anyhow::{Result, ensure};

use super::{live, recovery};
use crate::{
    guest::Guest,
    qemu::{Iommu, Machine, Nic},
    smoke::{Context, Scenario},
};

const LIMIT: u64 = 90;

/// Three of QEMU's `edu` devices, which reach 32 bits of addresses.
const DEVICES: [&str; 6] = ["-device", EDU, "-device", EDU, "-device", EDU];
const EDU: &str = "edu,dma_mask=0xffffffff";

/// What an IOMMU changes.
pub fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("iommu-page", "the page is served behind an IOMMU", LIMIT, page),
        Scenario::new("iommu-bypass", "a card that goes around the IOMMU works as without", LIMIT, bypass),
        Scenario::new(
            "iommu-hostile",
            "a driver reaches no foreign page, forges no interrupt",
            LIMIT,
            hostile,
        ),
        Scenario::new("iommu-absent", "without an IOMMU the machine says what it cannot stop", LIMIT, absent),
        Scenario::new("iommu-recovery", "a killed driver gives back all of its domain", 300, |context| {
            recovery::recover(context, "virtio-net", Nic::Modern, Iommu::Intel)
        }),
    ]
}

/// What the kernel says of a machine with an IOMMU.
const MODE: &str = "iommu: DMA mode vt-d, 1 units";

fn says_mode(guest: &Guest) -> Result<()> {
    let lines = guest.lines();
    let mode = lines.iter().find(|line| line.contains(MODE));
    ensure!(mode.is_some_and(|line| line.contains("interrupts remapped")), "the mode is not said: {mode:?}");
    let fault = lines.iter().find(|line| line.contains("without the right"));
    ensure!(fault.is_none(), "an honest driver was refused something: {fault:?}");
    ensure!(
        !lines.iter().any(|line| line.contains("is trusted with all memory")),
        "a driver is called trusted"
    );
    Ok(())
}

fn page(context: &mut Context) -> Result<()> {
    let mut machine = Machine::new(context.direct("manifests/default.capnp")?);
    (machine.nic, machine.iommu, machine.processors) = (Some(Nic::Modern), Iommu::Intel, 2);
    let (guest, _) = live::start(context, machine)?;
    says_mode(&guest)
}

fn bypass(context: &mut Context) -> Result<()> {
    let mut machine = Machine::new(context.direct("manifests/default.capnp")?);
    // Its interrupt is a line, so this is the way through the I/O APIC too.
    (machine.nic, machine.iommu) = (Some(Nic::LegacyLine), Iommu::Intel);
    let (guest, _) = live::start(context, machine)?;
    says_mode(&guest)
}

fn attack(context: &mut Context, iommu: Iommu) -> Result<Guest> {
    let mut machine = Machine::new(context.direct("manifests/tests/hostile-dma.capnp")?);
    machine.iommu = iommu;
    machine.more.extend(DEVICES.map(Into::into));
    context.start(machine, &[])
}

fn hostile(context: &mut Context) -> Result<()> {
    let mut guest = attack(context, Iommu::Intel)?;
    guest.wait_for("isolated: hostile: mode vt-d")?;
    guest.wait_for("hostile: forged interrupt: dropped and counted")?;
    expect(
        &guest,
        &[
            "hostile: hostile: mode vt-d",
            "hostile: own memory: reached",
            "hostile: own interrupt: arrived",
            "hostile: foreign page: intact, the fault was counted",
            "hostile: remapped format: nothing arrived",
            "without the right (reason",
            "process hostile: its device ",
            "reached for what is not its own (refused: ",
        ],
    )
}

fn absent(context: &mut Context) -> Result<()> {
    let mut guest = attack(context, Iommu::None)?;
    guest.wait_for("hostile: forged interrupt: dropped and counted")?;
    expect(
        &guest,
        &[
            "iommu: none; DMA is direct: a driver that may start it reaches all memory",
            "hostile is trusted with all memory: ",
            " is granted behind an IOMMU only, and there is none",
            "hostile: mode direct",
            "hostile: own memory: reached",
            "hostile: own interrupt: arrived",
            "hostile: foreign page: overwritten, this machine cannot stop it",
        ],
    )
}

fn expect(guest: &Guest, parts: &[&str]) -> Result<()> {
    let lines = guest.lines();
    for part in parts {
        ensure!(lines.iter().any(|line| line.contains(part)), "nobody said {part:?}");
    }
    Ok(())
}
