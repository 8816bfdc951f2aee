//! Packaged disks boot from the file that a cloud would be given.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    cloud::{self, Form, MEMBER},
    image::{self, Loader, Recipe},
    qemu::Firmware,
    smoke::{Context, Scenario},
};

const LIMIT: u64 = 120;
const MANIFEST: &str = "manifests/default.capnp";

/// Each form of file once; `make run-cloud-images` boots all of them by both firmwares.
const BOOTS: [(&str, Form, Firmware); 3] = [
    ("gcp-bios", Form::GcpArchive, Firmware::Bios),
    ("aws-vmdk-uefi", Form::AwsVmdk, Firmware::Uefi),
    ("azure-vhd-bios", Form::AzureVhd, Firmware::Bios),
];

/// One scenario for each form, and one in which other programs read the files.
pub fn scenarios() -> Vec<Scenario> {
    let boots = BOOTS.into_iter().map(|(name, form, firmware)| {
        let name = format!("cloud-{name}");
        Scenario::new(name, "a disk as a cloud imports it boots to the page", LIMIT, move |context| {
            let folder = context.temporary()?;
            let (_, packaged) = package(context, folder.path(), form)?;
            cloud::boot(context, form, &packaged, firmware)
        })
    });
    let others = Scenario::new(
        "cloud-other-readers",
        "qemu-img and GNU tar find the source in the packaged disks",
        LIMIT,
        other_readers,
    );
    boots.chain([others]).collect()
}

/// Makes a disk and one form of it, in a folder.
fn package(context: &Context, folder: &Path, form: Form) -> Result<(PathBuf, PathBuf)> {
    let source = folder.join("disk.img");
    let manifest = context.paths().root.join(MANIFEST);
    image::build(context.paths(), Recipe::new(&manifest, Loader::Grub), &source)?;
    let packaged = folder.join(form.file_name());
    cloud::package_form(form, &source, &packaged)?;
    Ok((source, packaged))
}

fn other_readers(context: &mut Context) -> Result<()> {
    let folder = context.temporary()?;
    for form in [Form::AwsVhd, Form::AwsVmdk, Form::AzureVhd] {
        let (source, packaged) = package(context, folder.path(), form)?;
        let mut command = Command::new("qemu-img");
        command.args(["compare", "-f", "raw", "-F", form.disk_format().name()]).arg(source).arg(packaged);
        succeed(&mut command)?;
    }
    let (_, archive) = package(context, folder.path(), Form::GcpArchive)?;
    succeed(Command::new("tar").arg("-xzSf").arg(&archive).arg("-C").arg(folder.path()))?;
    let disk = folder.path().join(MEMBER);
    let data = disk.metadata()?;
    ensure!(data.len() == 1 << 30, "tar unpacks {} bytes", data.len());
    ensure!(data.blocks() * 512 < 64 << 20, "tar unpacks a file without holes");
    // What it unpacked packs to the same archive: it is the disk that was packed.
    let again = folder.path().join("again.tar.gz");
    cloud::package_form(Form::GcpArchive, &disk, &again)?;
    ensure!(std::fs::read(&archive)? == std::fs::read(&again)?, "tar unpacks another disk");
    Ok(())
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said).trim());
    Ok(())
}
