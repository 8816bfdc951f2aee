//! Disk drivers that are killed under a load of writes: no write that was answered is lost, no block is torn, and
//! nothing that the driver had is.

use std::{fs, path::Path, thread, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;

use super::{block::create, block_partitions, image::fill};
use crate::{
    guest::Channel,
    qemu::Machine,
    smoke::{Context, Scenario},
};

/// Seconds for all kills.
const LIMIT: u64 = 120;

/// Times that the driver is killed before anything is counted: what is made once and kept is not lost.
const FIRST_KILLS: u32 = 3;

/// Times that it is killed between the two counts.
const KILLS: u32 = 7;

/// Guest time that the load runs before each kill.
const RUN: Duration = Duration::from_millis(20);

/// Frames that the kernel's heap and the runtimes may keep more or fewer of.
const SLACK: u64 = 16;

/// Handles that runtimes may keep more of: calls that were once in flight.
const KEPT_CALLS: u64 = 4;

/// The load's places: how many, blocks of each, blocks from one to the next, first block (`tests/programs/src/bin/block-load.rs`).
const PLACES: u64 = 16;
const BLOCKS: u64 = 9;
const STRIDE: u64 = 16;
const FIRST: u64 = 3;

/// Versions that a block can have at the most.
const VERSIONS: u64 = 2_000_000;

/// A driver under load.
struct Case {
    name: &'static str,
    /// The driver's process.
    process: &'static str,
    manifest: &'static str,
    arguments: &'static [&'static str],
    block_bytes: usize,
    layout: Layout,
}

/// What is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// The load alone.
    Whole,
    /// Partitions, and the load on the second.
    Partitions,
}

const CASES: &[Case] = &[
    Case {
        name: "block-nvme-kill",
        process: "nvme",
        manifest: "manifests/tests/block-nvme-load.capnp",
        arguments: &["-device", "nvme,serial=one,drive=drive0"],
        block_bytes: 512,
        layout: Layout::Whole,
    },
    Case {
        name: "block-virtio-blk-kill",
        process: "virtio-blk",
        manifest: "manifests/tests/block-virtio-blk-load.capnp",
        arguments: &["-device", "virtio-blk-pci,drive=drive0"],
        block_bytes: 512,
        layout: Layout::Whole,
    },
    Case {
        name: "block-virtio-scsi-kill",
        process: "virtio-scsi",
        manifest: "manifests/tests/block-virtio-scsi-load.capnp",
        arguments: &["-device", "virtio-scsi-pci,id=scsi0", "-device", "scsi-hd,bus=scsi0.0,drive=drive0"],
        block_bytes: 512,
        layout: Layout::Whole,
    },
    Case {
        name: "block-partitions-kill",
        process: "nvme",
        manifest: "manifests/tests/block-partitions-load.capnp",
        arguments: &["-device", "nvme,serial=one,drive=drive0"],
        block_bytes: block_partitions::BLOCK_BYTES,
        layout: Layout::Partitions,
    },
];

/// One scenario for each driver.
pub fn scenarios() -> Vec<Scenario> {
    CASES
        .iter()
        .map(|case| {
            let about = "a driver is killed under load: no answered write is lost, no block is torn";
            Scenario::new(case.name, about, LIMIT, move |context| kill(context, case))
        })
        .collect()
}

fn kill(context: &mut Context, case: &Case) -> Result<()> {
    let folder = context.temporary()?;
    let image = folder.path().join("disk");
    let first = match case.layout {
        Layout::Whole => create(&image, case.block_bytes).map(|()| 0)?,
        Layout::Partitions => block_partitions::create(&image, |_| ())?,
    };
    let mut machine = Machine::new(context.direct(case.manifest)?);
    machine.add_drive("drive0", &image)?;
    machine.more.extend(case.arguments.iter().map(Into::into));
    let mut guest = context.start(machine, &[])?;
    let mut hook = guest.hook()?;
    hook.wait_for("hook ready")?;
    let mut before = None;
    for number in 0..FIRST_KILLS + KILLS {
        running(&mut guest, "block-load: running")?;
        if number == FIRST_KILLS {
            before = Some(usage(&mut hook, case.process)?);
        }
        let since = uptime(&mut hook)?;
        while uptime(&mut hook)? < since + RUN {
            thread::sleep(Duration::from_millis(1));
        }
        hook.order(&format!("kill {}", case.process))?;
        running(&mut guest, &format!("block-load: checked {}", number + 1))?;
    }
    running(&mut guest, "block-load: running")?;
    let (before, after) = (before.context("no kill was counted")?, usage(&mut hook, case.process)?);
    ensure_same(&before, &after)?;
    guest.qmp()?.execute("quit", json!({}))?;
    guest.wait_exit()?;
    let image = fs::read(&image)?;
    let load = image.get(usize::try_from(first)? * case.block_bytes..).context("the image is too short")?;
    let newest = check_image(load, case.block_bytes)?;
    println!("  {} drivers were killed, {newest} versions were written", FIRST_KILLS + KILLS);
    Ok(())
}

/// Writes the image that the load expects.
pub fn create_image(file: &Path, block_bytes: usize) -> Result<()> {
    create(file, block_bytes)
}

/// Waits for a line of the load, unless it says that it failed.
pub(super) fn running(guest: &mut crate::guest::Guest, text: &str) -> Result<String> {
    let line = guest.wait_until(text, |line| line.contains(text) || line.contains("block-load: FAILED"))?;
    ensure!(line.contains(text), "{line}");
    Ok(line)
}

fn number(words: &str, name: &str) -> Result<u64> {
    let word = words.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    Ok(word.with_context(|| format!("no {name} in {words:?}"))?.parse()?)
}

fn uptime(hook: &mut Channel) -> Result<Duration> {
    Ok(Duration::from_nanos(number(&hook.order("status")?, "uptime-ns")?))
}

/// What is counted: names and numbers, and how far each may be from what it was.
type Usage = Vec<(String, u64, u64)>;

fn usage(hook: &mut Channel, process: &str) -> Result<Usage> {
    let mut all = vec![];
    for process in [process, "block-load", "init"] {
        let words = hook.order(&format!("usage {process}"))?;
        for (what, slack) in [("handles", KEPT_CALLS), ("threads", 0), ("dma-pages", 0)] {
            all.push((format!("{process} {what}"), number(&words, what)?, slack));
        }
    }
    all.push(("free frames".into(), number(&hook.order("status")?, "free-frames")?, SLACK));
    Ok(all)
}

fn ensure_same(before: &Usage, after: &Usage) -> Result<()> {
    for ((what, was, slack), (_, is, _)) in before.iter().zip(after) {
        ensure!(was.abs_diff(*is) <= *slack, "{what}: {was} before the kills, {is} after them");
    }
    Ok(())
}

/// Each block of a place must be one version of it, and neighbours at most one version apart: that of the last write that
/// was answered, and that of the one that was not. Returns the newest.
pub fn check_image(bytes: &[u8], block_bytes: usize) -> Result<u64> {
    let mut newest = 0;
    for place in 0..PLACES {
        let mut versions = Vec::new();
        for number in (place * STRIDE + FIRST..).take(BLOCKS as usize) {
            let start = number as usize * block_bytes;
            let block = bytes.get(start..start + block_bytes).context("the image is too short")?;
            let Some(version) = (0..VERSIONS).find(|version| is_version(block, *version, number)) else {
                bail!("block {number} is torn")
            };
            versions.push(version);
        }
        let (least, most) = (versions.iter().min().copied(), versions.iter().max().copied());
        let (least, most) = least.zip(most).context("a place without blocks")?;
        ensure!(most - least <= 1, "place {place} has the versions {versions:?}");
        newest = newest.max(most);
    }
    Ok(newest)
}

fn is_version(block: &[u8], version: u64, number: u64) -> bool {
    let mut first = [0; 8];
    fill(&mut first, version, number);
    if !block.starts_with(&first) {
        return false;
    }
    let mut expected = vec![0; block.len()];
    fill(&mut expected, version, number);
    expected == block
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(versions: impl Fn(u64, u64) -> u64) -> Vec<u8> {
        let mut bytes = vec![0; 512 * 300];
        for place in 0..PLACES {
            for index in 0..BLOCKS {
                let number = place * STRIDE + FIRST + index;
                let start = number as usize * 512;
                fill(&mut bytes[start..start + 512], versions(place, index), number);
            }
        }
        bytes
    }

    #[test]
    fn lost_and_torn_blocks_are_found() {
        assert_eq!(check_image(&image(|_, index| 7 + index % 2), 512).ok(), Some(8));
        assert!(check_image(&image(|_, index| 7 + index), 512).is_err(), "versions too far apart");
        let mut torn = image(|_, _| 7);
        torn[512 * 5 + 300] ^= 1;
        assert!(check_image(&torn, 512).is_err());
    }
}
