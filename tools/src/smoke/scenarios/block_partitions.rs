//! One partition of a disk is granted to a process: it can write that, and nothing else of the disk.

use std::{fs, io::Cursor, path::Path};

use anyhow::{Context as _, Result, ensure};
use gpt::{GptConfig, disk::LogicalBlockSize, mbr::ProtectiveMBR, partition_types::LINUX_FS};
use serde_json::json;

use super::{
    block::{IMAGE_BYTES, STEPS, compare_blocks},
    image::{fill, play},
};
use crate::{
    qemu::Machine,
    smoke::{Context, Scenario},
};

/// Bytes of a block.
pub const BLOCK_BYTES: usize = 512;

/// Blocks of the first partition, and of the one that is granted.
const BEFORE: u64 = 1000;
const GRANTED: u64 = 12_000;

/// Seed and largest step of the script (`manifests/tests/block-partitions.capnp`).
const SCRIPT: (u64, u64) = (8, 200);

/// Both tables are good, or the first one is not.
pub fn scenarios() -> Vec<Scenario> {
    let about = "a process writes the one partition that it is granted, and nothing else";
    let second = "the same by the second partition table, when the first is damaged";
    vec![
        Scenario::new("block-partitions", about, 60, |context| script(context, |_| ())),
        Scenario::new("block-partitions-second-table", second, 60, |context| {
            script(context, |image| image[BLOCK_BYTES + 20] ^= 1)
        }),
    ]
}

/// An image with two partitions, of which the second is named "data" and has the contents of key 0; the rest of the disk
/// has other contents. Returns the data's first block.
pub fn create(path: &Path, change: impl FnOnce(&mut [u8])) -> Result<u64> {
    let mut bytes = vec![0; usize::try_from(IMAGE_BYTES)?];
    for (number, block) in (0..).zip(bytes.chunks_exact_mut(BLOCK_BYTES)) {
        fill(block, u64::MAX, number);
    }
    let mut device = Cursor::new(bytes);
    let last = u32::try_from(IMAGE_BYTES)? / u32::try_from(BLOCK_BYTES)? - 1;
    ProtectiveMBR::with_lb_size(last).overwrite_lba0(&mut device)?;
    let config = GptConfig::new().writable(true).logical_block_size(LogicalBlockSize::Lb512);
    let mut disk = config.create_from_device(device, None)?;
    disk.add_partition("system", BEFORE * BLOCK_BYTES as u64, LINUX_FS, 0, None)?;
    let number = disk.add_partition("data", GRANTED * BLOCK_BYTES as u64, LINUX_FS, 0, None)?;
    let first = disk.partitions().get(&number).context("the partition was just made")?.first_lba;
    let mut bytes = disk.write()?.into_inner();
    for (number, block) in (0..GRANTED).zip(bytes.chunks_exact_mut(BLOCK_BYTES).skip(usize::try_from(first)?))
    {
        fill(block, 0, number);
    }
    change(&mut bytes);
    fs::write(path, bytes)?;
    Ok(first)
}

fn script(context: &mut Context, change: impl FnOnce(&mut [u8])) -> Result<()> {
    let folder = context.temporary()?;
    let image = folder.path().join("disk");
    let first = create(&image, change)?;
    let before = fs::read(&image)?;
    let mut machine = Machine::new(context.direct("manifests/tests/block-partitions.capnp")?);
    machine.add_drive("drive0", &image)?;
    machine.more.extend(["-device", "nvme,serial=one,drive=drive0"].map(Into::into));
    let mut guest = context.start(machine, &[])?;
    let line = guest.wait_until("the end of the script", |line| {
        line.contains("block: done") || line.contains("block: FAILED")
    })?;
    ensure!(line.contains("block: done"), "{line}");
    guest.qmp()?.execute("quit", json!({}))?;
    guest.wait_exit()?;
    let after = fs::read(&image)?;
    let start = usize::try_from(first)? * BLOCK_BYTES;
    let end = start + usize::try_from(GRANTED)? * BLOCK_BYTES;
    ensure!(before.get(..start) == after.get(..start), "something before the partition was changed");
    ensure!(before.get(end..) == after.get(end..), "something behind the partition was changed");
    let granted = after.get(start..end).context("the image is too short")?;
    compare_blocks(granted, BLOCK_BYTES, &play(SCRIPT.0, STEPS, GRANTED, SCRIPT.1))
}
