//! Disk drivers: a process in the guest writes by a script, and the image is compared with what the script means.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail, ensure};
use serde_json::json;

use super::{
    block_virtio as virtio,
    image::{Content, fill, play},
};
use crate::{
    qemu::Machine,
    smoke::{Context, Scenario},
};

/// Seconds that one machine may take.
const LIMIT: u64 = 90;

/// Bytes of an image.
pub const IMAGE_BYTES: u64 = 8 << 20;

/// A disk as QEMU shows it.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Bytes of a block.
    pub block_bytes: usize,
    /// QEMU's arguments that make the device, with `{drive}` where the image's drive is named.
    pub arguments: &'static [&'static str],
}

/// A machine with disks, and what runs in it.
#[derive(Clone, Debug)]
pub struct Case {
    /// Name of the scenario.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    /// What is booted.
    pub manifest: &'static str,
    /// QEMU's machine type.
    pub board: &'static str,
    /// Number of processors.
    pub processors: u32,
    /// Arguments before the disks'.
    pub controller: &'static [&'static str],
    /// The disks.
    pub disks: &'static [Disk],
    /// Seed and largest step of each disk's script.
    pub scripts: &'static [(u64, u64)],
}

/// Steps of each script.
pub const STEPS: u32 = 300;

const NVME: &[Disk] = &[Disk { block_bytes: 512, arguments: &["-device", "nvme,serial=one,drive={drive}"] }];

/// Two namespaces of one controller, with blocks of both sizes.
const NAMESPACES: &[Disk] = &[
    Disk { block_bytes: 512, arguments: &["-device", "nvme-ns,bus=nvme0,nsid=1,drive={drive}"] },
    Disk {
        block_bytes: 4096,
        arguments: &[
            "-device",
            "nvme-ns,bus=nvme0,nsid=2,logical_block_size=4096,physical_block_size=4096,drive={drive}",
        ],
    },
];

const CASES: &[Case] = &[
    Case {
        name: "block-nvme-q35-1",
        about: "NVMe: what is written is on the disk",
        manifest: "manifests/tests/block-nvme.capnp",
        board: "q35",
        processors: 1,
        controller: &[],
        disks: NVME,
        scripts: &[(1, 200)],
    },
    Case {
        name: "block-nvme-q35-4",
        about: "NVMe: two namespaces with blocks of two sizes, a queue for each of four processors",
        manifest: "manifests/tests/block-nvme-two.capnp",
        board: "q35",
        processors: 4,
        controller: &["-device", "nvme,id=nvme0,serial=two"],
        disks: NAMESPACES,
        scripts: &[(2, 300), (3, 40)],
    },
    Case {
        name: "iommu-nvme",
        about: "NVMe behind an IOMMU, a queue for each of two processors",
        manifest: "manifests/tests/block-nvme.capnp",
        board: "q35",
        processors: 2,
        controller: &["-device", "intel-iommu,intremap=on"],
        disks: NVME,
        scripts: &[(1, 200)],
    },
    Case {
        name: "block-nvme-pc-4",
        about: "NVMe on a conventional bus, blocks of 4096 bytes",
        manifest: "manifests/tests/block-nvme.capnp",
        board: "pc",
        processors: 4,
        controller: &[],
        disks: &[Disk {
            block_bytes: 4096,
            arguments: &[
                "-device",
                "nvme,serial=one,logical_block_size=4096,physical_block_size=4096,drive={drive}",
            ],
        }],
        scripts: &[(1, 128)],
    },
    Case {
        name: "block-nvme-one-queue",
        about: "NVMe with one queue, one vector and short transfers",
        manifest: "manifests/tests/block-nvme.capnp",
        board: "q35",
        processors: 2,
        controller: &[],
        disks: &[Disk {
            block_bytes: 512,
            arguments: &["-device", "nvme,serial=one,max_ioqpairs=1,msix_qsize=1,mdts=2,drive={drive}"],
        }],
        scripts: &[(1, 32)],
    },
    Case {
        name: "block-nvme-polled",
        about: "NVMe without interrupts",
        manifest: "manifests/tests/block-nvme-polled.capnp",
        board: "q35",
        processors: 1,
        controller: &[],
        disks: NVME,
        scripts: &[(4, 32)],
    },
    Case {
        name: "block-nvme-line",
        about: "NVMe with an interrupt line",
        manifest: "manifests/tests/block-nvme-line.capnp",
        board: "pc",
        processors: 1,
        controller: &[],
        disks: NVME,
        scripts: &[(4, 32)],
    },
];

/// One scenario for each case.
pub fn scenarios() -> Vec<Scenario> {
    CASES
        .iter()
        .chain(virtio::CASES)
        .map(|case| Scenario::new(case.name, case.about, LIMIT, move |context| compare(context, case)))
        .chain([Scenario::new(
            "block-nvme-event",
            "the driver hears what the controller reports",
            LIMIT,
            event,
        )])
        .collect()
}

/// Lets the controller report warnings, more often than events can be asked for at once.
fn event(context: &mut Context) -> Result<()> {
    let folder = context.temporary()?;
    let image = folder.path().join("disk");
    create(&image, 512)?;
    let mut machine = Machine::new(context.direct("manifests/tests/block-nvme.capnp")?);
    machine.add_drive("drive0", &image)?;
    machine.more.extend(["-device", "nvme,id=nvme0,serial=one,drive=drive0"].map(Into::into));
    let mut guest = context.start(machine, &[])?;
    guest.wait_for("block: done")?;
    let mut qmp = guest.qmp()?;
    for _ in 0..6 {
        for warning in [4, 0] {
            let arguments = json!({ "path": "/machine/peripheral/nvme0", "property": "smart_critical_warning", "value": warning });
            qmp.execute("qom-set", arguments)?;
        }
        guest.wait_for("the controller reports: health event")?;
    }
    Ok(())
}

/// Writes an image with the contents of key 0 in every block.
pub fn create(path: &Path, block_bytes: usize) -> Result<()> {
    let mut bytes = vec![0; IMAGE_BYTES as usize];
    for (number, block) in (0..).zip(bytes.chunks_exact_mut(block_bytes)) {
        fill(block, 0, number);
    }
    Ok(fs::write(path, bytes)?)
}

fn compare(context: &mut Context, case: &Case) -> Result<()> {
    let folder = context.temporary()?;
    let mut machine = Machine::new(context.direct(case.manifest)?);
    machine.board = case.board.into();
    machine.processors = case.processors;
    machine.more = case.controller.iter().map(Into::into).collect();
    let mut images: Vec<PathBuf> = Vec::new();
    for (index, disk) in case.disks.iter().enumerate() {
        let image = folder.path().join(format!("disk{index}"));
        create(&image, disk.block_bytes)?;
        machine.add_drive(&format!("drive{index}"), &image)?;
        let device =
            disk.arguments.iter().map(|argument| argument.replace("{drive}", &format!("drive{index}")));
        machine.more.extend(device.map(Into::into));
        images.push(image);
    }
    let mut guest = context.start(machine, &[])?;
    for _ in case.disks {
        let line = guest.wait_until("the end of a script", |line| {
            line.contains("block: done") || line.contains("block: FAILED")
        })?;
        ensure!(line.contains("block: done"), "{line}");
    }
    guest.qmp()?.execute("quit", json!({}))?;
    guest.wait_exit()?;
    for ((disk, image), (seed, largest)) in case.disks.iter().zip(&images).zip(case.scripts) {
        let bytes = fs::read(image)?;
        ensure!(bytes.len() as u64 == IMAGE_BYTES, "the image has {} bytes", bytes.len());
        let blocks = IMAGE_BYTES / disk.block_bytes as u64;
        compare_blocks(&bytes, disk.block_bytes, &play(*seed, STEPS, blocks, *largest))?;
    }
    Ok(())
}

/// Whether the blocks are what the contents say.
pub fn compare_blocks(bytes: &[u8], block_bytes: usize, contents: &[Content]) -> Result<()> {
    let expected = (0..).zip(contents).zip(bytes.chunks_exact(block_bytes));
    let (mut compared, mut scratch) = (0, vec![0; block_bytes]);
    for ((number, content), block) in expected {
        match content {
            Content::Any => continue,
            Content::Zero => scratch.fill(0),
            Content::Key(key) => fill(&mut scratch, *key, number),
        }
        compared += 1;
        if scratch != block {
            bail!("block {number} of the image is not {content:?}");
        }
    }
    println!("  {compared} of {} blocks compared", contents.len());
    ensure!(compared > contents.len() / 2, "too few blocks are known");
    Ok(())
}
