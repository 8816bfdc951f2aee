//! Disk images boot.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use crate::{
    image::{self, Loader, Recipe},
    qemu::{Boot, Disk, DiskDevice, Firmware, Machine, Nic},
    smoke::{Context, Scenario},
};

const LIMIT: u64 = 90;
const MANIFEST: &str = "manifests/default.capnp";

/// Port of the page.
const PORT: u16 = 8080;

/// Boards, firmware and memory in MiB. UEFI keeps some tens of MiB for itself while it boots.
const MACHINES: [(&str, Firmware, u32); 4] = [
    ("q35", Firmware::Bios, 64),
    ("pc", Firmware::Bios, 256),
    ("q35", Firmware::Uefi, 256),
    ("pc", Firmware::Uefi, 256),
];

/// Other controllers than the boards' own, each with the firmware that starts it.
const DEVICES: [(DiskDevice, Firmware); 6] = [
    (DiskDevice::Nvme, Firmware::Bios),
    (DiskDevice::Nvme, Firmware::Uefi),
    (DiskDevice::VirtioBlk, Firmware::Bios),
    (DiskDevice::VirtioBlk, Firmware::Uefi),
    (DiskDevice::VirtioScsi, Firmware::Bios),
    (DiskDevice::VirtioScsi, Firmware::Uefi),
];

/// One scenario for each boot loader that is installed and each machine, and one for what cannot be packed.
///
/// GRUB is part of the set-up, and its scenarios fail without it; Limine is used where it is.
pub fn scenarios() -> Vec<Scenario> {
    let limine = image::check_installed(Loader::Limine).is_ok();
    let loaders = [Loader::Grub].into_iter().chain(limine.then_some(Loader::Limine));
    let boots = loaders.flat_map(|loader| MACHINES.into_iter().map(move |machine| boots(loader, machine)));
    let absent =
        Scenario::new("disk-limine-absent", "a Limine that is not there is said", LIMIT, |context| {
            let empty = context.temporary()?;
            let manifest = context.paths().root.join(MANIFEST);
            let output = empty.path().join("disk.img");
            let tool = std::env::current_exe()?;
            let result = std::process::Command::new(tool)
                .args(["image", "--loader", "limine", "--manifest"])
                .arg(&manifest)
                .arg("--output")
                .arg(&output)
                .env("LIMINE_DIR", empty.path())
                .output()?;
            let said = String::from_utf8_lossy(&result.stderr);
            ensure!(!result.status.success(), "an image was made of nothing");
            ensure!(said.contains("Limine's BOOTX64.EFI is not in"), "it says {said:?}");
            Ok(())
        });
    let devices = DEVICES.into_iter().map(|(device, firmware)| boots_from(device, firmware));
    let same = Scenario::new("disk-same-bytes", "a disk that is made again is the same", LIMIT, |context| {
        let first = std::fs::read(write(context, Loader::Grub)?)?;
        ensure!(first == std::fs::read(write(context, Loader::Grub)?)?, "the second disk differs");
        Ok(())
    });
    boots.chain(devices).chain([absent, same]).collect()
}

fn boots(loader: Loader, (board, firmware, memory): (&'static str, Firmware, u32)) -> Scenario {
    let name = format!("disk-{}-{}-{board}", loader.name(), firmware.name());
    Scenario::new(name, "a disk boots to the page", LIMIT, move |context| {
        let image = write(context, loader)?;
        let mut machine = Machine::new(Boot::Disk { disk: Disk::raw(image), firmware });
        machine.board = board.into();
        machine.memory = memory;
        machine.nic = Some(Nic::Modern);
        boots_to_the_page(context, machine)
    })
}

fn boots_from(device: DiskDevice, firmware: Firmware) -> Scenario {
    let name = format!("disk-{}-{}", device.name(), firmware.name());
    Scenario::new(name, "a disk at this controller boots to the page", LIMIT, move |context| {
        let disk = Disk { device, ..Disk::raw(write(context, Loader::Grub)?) };
        let mut machine = Machine::new(Boot::Disk { disk, firmware });
        machine.nic = Some(Nic::Modern);
        boots_to_the_page(context, machine)
    })
}

fn write(context: &Context, loader: Loader) -> Result<PathBuf> {
    let image = context.folder().join("disk.img");
    let manifest = context.paths().root.join(MANIFEST);
    image::build(context.paths(), Recipe::new(&manifest, loader), &image)?;
    Ok(image)
}

fn boots_to_the_page(context: &Context, machine: Machine) -> Result<()> {
    let mut guest = context.start(machine, &[PORT])?;
    guest.wait_for("capos kernel starting").context("firmware, GRUB and loader")?;
    guest.wait_for("http://")?;
    let body = context.get(&format!("http://{}/healthz", guest.address(PORT)?))?;
    ensure!(body.contains("\"ok\":true"), "the page answers {body:?}");
    Ok(())
}
