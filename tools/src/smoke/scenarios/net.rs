//! The network card's driver, shown by the page that it carries.

use anyhow::{Result, ensure};

use crate::{
    qemu::{Machine, Nic},
    smoke::{Context, Scenario},
};

const LIMIT: u64 = 60;

/// Port of the page.
const PORT: u16 = 8080;

/// What the health check answers.
const HEALTHY: &str = r#"{"ok":true,"service":"remote-session-web-ui"}"#;

/// One scenario for each kind of card, board and number of processors.
pub fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for nic in Nic::ALL {
        for board in ["q35", "pc"] {
            for processors in [1, 4] {
                let name = format!("net-{}-{board}-{processors}", nic.name());
                all.push(Scenario::new(
                    name,
                    "the page answers through the network card",
                    LIMIT,
                    move |context| {
                        let mut machine = Machine::new(context.direct("manifests/default.capnp")?);
                        machine.nic = Some(nic);
                        machine.board = board.into();
                        machine.processors = processors;
                        answers(context, machine)
                    },
                ));
            }
        }
    }
    all
}

/// Boots a machine and asks its health check often enough to use every buffer of the card's queues.
fn answers(context: &Context, machine: Machine) -> Result<()> {
    let mut guest = context.start(machine, &[PORT])?;
    guest.wait_for("http://")?;
    let url = format!("http://{}/healthz", guest.address(PORT)?);
    for number in 0..20 {
        let body = context.get(&url)?;
        ensure!(body == HEALTHY, "answer {number} is {body:?}");
    }
    Ok(())
}
