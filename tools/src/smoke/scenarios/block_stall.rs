//! A disk that stops answering under a load of writes: commands are aborted, the controller is reset, and what was in
//! flight is done once the disk works again.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{
    block::create,
    block_kill::{check_image, running},
};
use crate::{
    guest::Qmp,
    qemu::Machine,
    smoke::{Context, Scenario},
};

/// Seconds. The driver's patience is 1 s, and an abort's grace 5 s.
const LIMIT: u64 = 120;

/// Bytes of a block.
const BLOCK_BYTES: usize = 512;

/// The one scenario.
pub fn scenarios() -> Vec<Scenario> {
    let about = "a disk stops answering: abort, controller reset, nothing lost and nothing answered twice";
    vec![Scenario::new("block-nvme-stall", about, LIMIT, stall)]
}

fn stall(context: &mut Context) -> Result<()> {
    let folder = context.temporary()?;
    let image = folder.path().join("disk");
    create(&image, BLOCK_BYTES)?;
    let mut machine = Machine::new(context.direct("manifests/tests/block-nvme-stall.capnp")?);
    machine.add_drive("drive0", &image)?;
    machine.more.extend(["-device", "nvme,serial=one,drive=drive0"].map(Into::into));
    let mut guest = context.start(machine, &[])?;
    let mut hook = guest.hook()?;
    hook.wait_for("hook ready")?;
    let mut qmp = guest.qmp()?;
    running(&mut guest, "block-load: running")?;
    // One request a second is far too slow for a load that always has sixteen in flight.
    requests_per_second(&mut qmp, 1)?;
    running(&mut guest, "takes too long: abort")?;
    let reset = running(&mut guest, "the controller is reset, with ")?;
    requests_per_second(&mut qmp, 0)?;
    ensure!(!reset.contains("with 0 commands"), "nothing was in flight: {reset}");
    let stalled = check_image(&std::fs::read(&image)?, BLOCK_BYTES).context("the image after the stall")?;
    // The load reads all blocks back when it has lost a driver: until then it was served by one and the same.
    ensure!(!guest.lines().iter().any(|line| line.contains("block-load: checked")), "the driver ended");
    hook.order("kill nvme")?;
    running(&mut guest, "block-load: checked 1")?;
    running(&mut guest, "block-load: running")?;
    // The first write that was answered may be one to a place that was behind the others. While blocks are written an image
    // may be between two versions: it is looked at again then.
    while !check_image(&std::fs::read(&image)?, BLOCK_BYTES).is_ok_and(|newest| newest > stalled) {
        ensure!(Instant::now() < context.deadline(), "no write was done after the stall");
    }
    qmp.execute("quit", json!({}))?;
    guest.wait_exit()?;
    let newest = check_image(&std::fs::read(&image)?, BLOCK_BYTES)?;
    println!("  {stalled} versions when the controller was reset, {newest} at the end");
    Ok(())
}

/// Limits the disk's requests; 0 is no limit.
fn requests_per_second(qmp: &mut Qmp, limit: u32) -> Result<()> {
    let arguments = json!({ "device": "drive0", "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": limit, "iops_rd": 0, "iops_wr": 0 });
    qmp.execute("block_set_io_throttle", arguments)?;
    Ok(())
}
