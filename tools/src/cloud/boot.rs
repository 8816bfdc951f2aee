//! `run-cloud-images`: boots every packaged file, by UEFI and by BIOS, to the page, and prints a table.
//!
//! QEMU reads the packaged file itself; only an archive is unpacked first. The machine is as like the cloud's as QEMU
//! has it: the board, the disk's controller, the network card where there is one.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{Cloud, Form, verify};
use crate::{
    paths::Paths,
    progress::Progress,
    qemu::{Boot, Disk, DiskDevice, Firmware, Machine, Nic},
    smoke::Context,
    sparse::NewFile,
};

/// How long one boot may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Port of the page.
const PORT: u16 = 8080;

/// A packaged file.
struct Packaged {
    form: Form,
    file: PathBuf,
}

/// Boots all of them. Succeeds if each one came to the page.
pub fn run(paths: Paths) -> Result<ExitCode> {
    let cloudboot = Packaged { form: Form::GcpArchive, file: paths.cloudboot_archive() };
    let forms = Form::ALL.map(|form| Packaged { form, file: paths.cloud_folder().join(form.file_name()) });
    let mut context = Context::new(paths);
    let mut rows = Vec::new();
    let mut failures = 0;
    for packaged in forms.iter().chain([&cloudboot]) {
        let name = packaged.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for firmware in Firmware::ALL {
            println!("{name}, {}", firmware.name());
            let started = Instant::now();
            context.enter(&format!("cloud-image-{name}-{}", firmware.name()), started + LIMIT);
            let result = boot(&context, packaged.form, &packaged.file, firmware);
            let seconds = started.elapsed().as_secs_f64();
            let outcome = match result {
                Ok(()) => "page".into(),
                Err(error) => {
                    failures += 1;
                    format!("FAILED: {error:#}")
                }
            };
            rows.push(row(packaged.form, &name, firmware, seconds, &outcome));
        }
    }
    println!("\n{:<18} {:<9} {:<27} {:<12} {:>7}  came to", "file", "firmware", "as", "disk", "seconds");
    rows.iter().for_each(|row| println!("{row}"));
    println!("\n{} passed, {failures} failed", rows.len() - failures);
    Ok(if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn row(form: Form, name: &str, firmware: Firmware, seconds: f64, outcome: &str) -> String {
    let device = device(form.cloud()).name();
    let kind = kind(form.cloud(), firmware);
    format!("{name:<18} {:<9} {kind:<27} {device:<12} {seconds:>7.1}  {outcome}", firmware.name())
}

/// What makes the cloud boot by this firmware.
const fn kind(cloud: Cloud, firmware: Firmware) -> &'static str {
    match (cloud, firmware) {
        (Cloud::Gcp, Firmware::Uefi) => "GCE, UEFI_COMPATIBLE",
        (Cloud::Gcp, Firmware::Bios) => "GCE, no UEFI_COMPATIBLE",
        (Cloud::Aws, Firmware::Uefi) => "EC2, boot mode uefi",
        (Cloud::Aws, Firmware::Bios) => "EC2, boot mode legacy-bios",
        (Cloud::Azure, Firmware::Uefi) => "Azure, generation 2",
        (Cloud::Azure, Firmware::Bios) => "Azure, generation 1",
    }
}

/// What the cloud's boot disk is, as far as QEMU has it. Azure's generation 2 has VMBus, which QEMU does not have.
const fn device(cloud: Cloud) -> DiskDevice {
    match cloud {
        Cloud::Gcp => DiskDevice::VirtioScsi,
        Cloud::Aws => DiskDevice::Nvme,
        Cloud::Azure => DiskDevice::Ide,
    }
}

/// Boots one packaged file until the page answers.
pub fn boot(context: &Context, form: Form, packaged: &Path, firmware: Firmware) -> Result<()> {
    ensure!(packaged.exists(), "{} is not there", packaged.display());
    // Holds the unpacked disk's name while the machine runs.
    let mut unpacked = None;
    let file = match form {
        Form::GcpArchive => unpacked.insert(unpack(packaged, &context.folder())?).path().to_owned(),
        _ => packaged.to_owned(),
    };
    let cloud = form.cloud();
    let disk = Disk { file, format: form.disk_format(), device: device(cloud) };
    let mut machine = Machine::new(Boot::Disk { disk, firmware });
    machine.board = "pc".into();
    machine.processors = 2;
    machine.nic = Some(if cloud == Cloud::Gcp { Nic::Legacy } else { Nic::Modern });
    let mut guest = context.start(machine, &[PORT])?;
    guest.wait_for("capos kernel starting").context("firmware, boot loader and loader")?;
    guest.wait_for("http://")?;
    let body = context.get(&format!("http://{}/healthz", guest.address(PORT)?))?;
    ensure!(body.contains("\"ok\":true"), "the page answers {body:?}");
    Ok(())
}

/// Unpacks an archive's disk to a file that goes away with what is returned.
fn unpack(archive: &Path, folder: &Path) -> Result<NewFile> {
    let mut output = NewFile::create(&folder.join("unpacked.raw"), 0)?;
    let progress = &mut Progress::new(format!("unpacking {}", archive.display()), archive.metadata()?.len());
    verify::unpack(File::open(archive)?, output.file(), progress)?;
    Ok(output)
}
