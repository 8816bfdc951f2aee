//! The machines of virtio's disks, by both transports.

use super::block::{Case, Disk};

const MODERN: &str = "virtio-blk-pci,disable-legacy=on,disable-modern=off,drive={drive}";
const LEGACY: &str = "virtio-blk-pci,disable-legacy=off,disable-modern=on,drive={drive}";
const LINE: &str = "virtio-blk-pci,disable-legacy=off,disable-modern=on,vectors=0,drive={drive}";
const LARGE: &str =
    "virtio-blk-pci,disable-legacy=on,logical_block_size=4096,physical_block_size=4096,drive={drive}";

/// The manifests.
const BLOCK: &str = "manifests/tests/block-virtio-blk.capnp";
const SCSI: &str = "manifests/tests/block-virtio-scsi.capnp";

const fn block(
    name: &'static str,
    about: &'static str,
    board: &'static str,
    processors: u32,
    disks: &'static [Disk],
    scripts: &'static [(u64, u64)],
) -> Case {
    Case { name, about, manifest: BLOCK, board, processors, controller: &[], disks, scripts }
}

/// Two disks of one host, with blocks of both sizes.
const TARGETS: &[Disk] = &[
    Disk {
        block_bytes: 512,
        arguments: &["-device", "scsi-hd,bus=scsi0.0,scsi-id=1,lun=0,serial=first,drive={drive}"],
    },
    Disk {
        block_bytes: 4096,
        arguments: &[
            "-device",
            "scsi-hd,bus=scsi0.0,scsi-id=5,lun=3,logical_block_size=4096,physical_block_size=4096,drive={drive}",
        ],
    },
];

const SCSI_SCRIPTS: &[(u64, u64)] = &[(6, 200), (7, 40)];

const fn scsi(
    name: &'static str,
    about: &'static str,
    board: &'static str,
    processors: u32,
    controller: &'static [&'static str],
) -> Case {
    Case { name, about, manifest: SCSI, board, processors, controller, disks: TARGETS, scripts: SCSI_SCRIPTS }
}

/// One case for each transport, board and kind of interrupt.
pub const CASES: &[Case] = &[
    block(
        "block-virtio-blk-modern",
        "virtio block device: what is written is on the disk",
        "q35",
        1,
        &[Disk { block_bytes: 512, arguments: &["-device", MODERN] }],
        &[(5, 200)],
    ),
    block(
        "block-virtio-blk-legacy",
        "virtio block device by I/O ports",
        "pc",
        4,
        &[Disk { block_bytes: 512, arguments: &["-device", LEGACY] }],
        &[(5, 200)],
    ),
    block(
        "block-virtio-blk-line",
        "virtio block device by I/O ports, with an interrupt line",
        "q35",
        1,
        &[Disk { block_bytes: 512, arguments: &["-device", LINE] }],
        &[(5, 200)],
    ),
    block(
        "block-virtio-blk-4096",
        "virtio block device with blocks of 4096 bytes",
        "pc",
        2,
        &[Disk { block_bytes: 4096, arguments: &["-device", LARGE] }],
        &[(5, 200)],
    ),
    scsi(
        "block-virtio-scsi-modern",
        "virtio SCSI host: two disks with blocks of two sizes",
        "q35",
        4,
        &["-device", "virtio-scsi-pci,id=scsi0,disable-legacy=on,disable-modern=off"],
    ),
    scsi(
        "block-virtio-scsi-legacy",
        "virtio SCSI host by I/O ports",
        "pc",
        1,
        &["-device", "virtio-scsi-pci,id=scsi0,disable-legacy=off,disable-modern=on"],
    ),
    scsi(
        "block-virtio-scsi-line",
        "virtio SCSI host with an interrupt line",
        "pc",
        1,
        &["-device", "virtio-scsi-pci,id=scsi0,disable-legacy=on,disable-modern=off,vectors=0"],
    ),
];
