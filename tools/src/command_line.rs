//! The tool's own command line.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Result, anyhow};
use clap::{Args, Parser, Subcommand};

use crate::{
    bench,
    cloud::{self, Cloud, Form},
    faults::{self, Fault, Plan, Target},
    graph,
    image::{self, Loader, Mebibytes, Recipe},
    kernel_file, manifest_check, package,
    paths::Paths,
    provenance::{self, Build},
    qemu::{Boot, Disk, DiskDevice, Firmware, FirstSerial, Forward, Iommu, Machine, Nic},
    run,
    smoke::{self, List},
};

/// Builds, runs and tests capOS.
#[derive(Parser)]
#[command(name = "capos-tools", disable_version_flag = true)]
struct CommandLine {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Checks a manifest and packs it with the programs that it names.
    Package {
        /// The manifest.
        #[arg(long)]
        manifest: PathBuf,
        /// The package; by default in the build folder.
        #[arg(long)]
        output: Option<PathBuf>,
    },
    /// Writes a disk image that boots a manifest.
    Image {
        /// The manifest.
        #[arg(long, default_value = "manifests/default.capnp")]
        manifest: PathBuf,
        /// The boot loader to pack.
        #[arg(long, value_enum, default_value = "grub")]
        loader: Loader,
        /// The system's command line.
        #[arg(long, default_value = "")]
        append: String,
        /// The disk's size in MiB.
        #[arg(long, default_value_t = Mebibytes::DEFAULT.0)]
        size: u64,
        /// The image; by default `capos-image.raw` in the build folder.
        #[arg(long)]
        output: Option<PathBuf>,
    },
    /// Writes the disk of 10 GiB that Compute Engine boots, and the archive that it imports.
    CloudbootImage {
        /// The manifest.
        #[arg(long, default_value = "manifests/default.capnp")]
        manifest: PathBuf,
        /// The boot loader to pack.
        #[arg(long, value_enum, default_value = "grub")]
        loader: Loader,
        /// The system's command line.
        #[arg(long, default_value = "")]
        append: String,
    },
    /// Packages the disk image as clouds import it, and reads each file back.
    PackageImage {
        /// The clouds; all of them if none is named.
        #[arg(value_enum)]
        clouds: Vec<Cloud>,
        /// The image; by default `capos-image.raw` in the build folder.
        #[arg(long)]
        image: Option<PathBuf>,
    },
    /// Writes what the disk image was made of and with, and the list of its components.
    BuildProvenance {
        /// The manifest that it boots.
        #[arg(long, default_value = "manifests/default.capnp")]
        manifest: PathBuf,
        /// The boot loader that is packed.
        #[arg(long, value_enum, default_value = "grub")]
        loader: Loader,
        /// The compiler of the kernel and the user programs.
        #[arg(long, default_value = "rustc")]
        compiler: PathBuf,
    },
    /// Checks an image, raw or packaged, against a record.
    VerifyProvenance {
        /// The image; by default `capos-image.raw` in the build folder.
        #[arg(long)]
        image: Option<PathBuf>,
        /// The record; by default the one of `capos-image.raw`.
        #[arg(long)]
        record: Option<PathBuf>,
    },
    /// Boots every packaged file by UEFI and by BIOS to the page.
    RunCloudImages,
    /// Runs a machine with its serial console in the terminal.
    Run(RunOptions),
    /// Boots the system in QEMU and looks at it from outside.
    Smoke {
        /// Only scenarios whose name contains one of these.
        names: Vec<String>,
        /// Only names the scenarios.
        #[arg(long)]
        list: bool,
    },
    /// Counts instructions and compares them with the limits.
    Bench {
        /// Only these parts: kernel, boot, programs, nvme, network; all when empty.
        parts: Vec<String>,
        /// Results to compare with, in place of the last ones; then a regression is a failure.
        #[arg(long)]
        baseline: Option<PathBuf>,
        /// Measures Debian's cloud kernel too, which apt downloads.
        #[arg(long)]
        linux: bool,
    },
    /// Injects faults into drivers and devices, and tells what became of them.
    Faults {
        /// How many.
        #[arg(long, default_value_t = 60)]
        count: u64,
        /// Decides what is injected.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Who is hit, with commas between; by default every driver with a device.
        #[arg(long, value_enum, value_delimiter = ',')]
        target: Vec<Target>,
        /// What by, with commas between; by default everything.
        #[arg(long, value_enum, value_delimiter = ',')]
        faults: Vec<Fault>,
        /// Only the injection with this number.
        #[arg(long)]
        only: Option<u64>,
    },
    /// Checks boot manifests.
    Check {
        /// `[--memory MIB] MANIFEST...`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Draws who holds what in a boot manifest.
    Graph {
        /// `MANIFEST PICTURE.svg`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

/// Which machine to run.
#[derive(Args)]
struct RunOptions {
    /// The manifest to pack and boot.
    #[arg(long, default_value = "manifests/default.capnp")]
    manifest: PathBuf,
    /// Boots from a disk with this boot loader, instead of by QEMU's own.
    #[arg(long, value_enum)]
    disk: Option<Loader>,
    /// The disk's size in MiB.
    #[arg(long, default_value_t = Mebibytes::DEFAULT.0)]
    size: u64,
    /// How the machine sees the disk.
    #[arg(long, value_enum, default_value = "ide")]
    disk_device: DiskDevice,
    /// What starts the disk.
    #[arg(long, value_enum, default_value = "uefi")]
    firmware: Firmware,
    /// QEMU's machine type.
    #[arg(long, default_value = "q35")]
    machine: String,
    /// QEMU's processor model.
    #[arg(long, default_value = "max")]
    cpu: String,
    /// Number of processors.
    #[arg(long, default_value_t = 2)]
    smp: u32,
    /// Memory in MiB.
    #[arg(long, default_value_t = 256)]
    memory: u32,
    /// IOMMU; needs the machine type q35.
    #[arg(long, value_enum, default_value = "none")]
    iommu: Iommu,
    /// Network card.
    #[arg(long, value_enum, default_value = "modern")]
    nic: Nic,
    /// The machine has no network card.
    #[arg(long, conflicts_with_all = ["nic", "port"])]
    no_nic: bool,
    /// Port of this machine that leads to the guest's port 8080.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// The system's command line.
    #[arg(long, default_value = "")]
    append: String,
    /// Seconds after which the machine is stopped.
    #[arg(long)]
    time_limit: Option<u64>,
    /// More arguments for QEMU, behind `--`.
    #[arg(last = true)]
    more: Vec<String>,
}

impl RunOptions {
    /// What is written onto the disk.
    fn recipe(&self, loader: Loader) -> Recipe<'_> {
        Recipe { manifest: &self.manifest, loader, command_line: &self.append, size: Mebibytes(self.size) }
    }

    /// What leads to the guest from outside.
    fn forwards(&self) -> Vec<Forward> {
        if self.no_nic { Vec::new() } else { vec![Forward { host: self.port, guest: 8080 }] }
    }
}

/// Does what the command line says.
pub fn run() -> Result<ExitCode> {
    let verb = CommandLine::parse().verb;
    let paths = Paths::find()?;
    match verb {
        Verb::Package { manifest, output } => {
            let output = output.unwrap_or_else(|| paths.package(&manifest));
            let programs = package::build(&paths, &manifest, &output)?;
            println!("{}: {}", output.display(), programs.join(", "));
        }
        Verb::Image { manifest, loader, append, size, output } => {
            let output = output.unwrap_or_else(|| paths.disk_image());
            let recipe = Recipe { manifest: &manifest, loader, command_line: &append, size: Mebibytes(size) };
            image::build(&paths, recipe, &output)?;
            println!("{}: boots {}", output.display(), manifest.display());
        }
        Verb::CloudbootImage { manifest, loader, append } => {
            let disk = paths.cloudboot_disk();
            let size = Mebibytes::CLOUD_BOOT;
            image::build(&paths, Recipe { manifest: &manifest, loader, command_line: &append, size }, &disk)?;
            println!("{}: boots {}", disk.display(), manifest.display());
            cloud::package_form(Form::GcpArchive, &disk, &paths.cloudboot_archive())?;
        }
        Verb::PackageImage { clouds, image } => {
            let clouds = if clouds.is_empty() { Cloud::ALL.to_vec() } else { clouds };
            cloud::package(&paths, &image.unwrap_or_else(|| paths.disk_image()), &clouds)?;
        }
        Verb::BuildProvenance { manifest, loader, compiler } => {
            let build = Build { manifest: &manifest, loader, compiler: &compiler };
            provenance::write(&paths, &paths.disk_image(), &build)?;
        }
        Verb::VerifyProvenance { image, record } => {
            let record = record.unwrap_or_else(|| provenance::record_file(&paths.disk_image()));
            return provenance::verify(&image.unwrap_or_else(|| paths.disk_image()), &record);
        }
        Verb::RunCloudImages => return cloud::run_images(paths),
        Verb::Run(options) => return run_machine(&paths, options),
        Verb::Bench { parts, baseline, linux } => {
            let opponent = if linux { bench::Comparison::Linux } else { bench::Comparison::None };
            return bench::run(paths, &bench::Options { parts, baseline, opponent });
        }
        Verb::Smoke { names, list } => {
            return smoke::run(paths, &names, if list { List::Only } else { List::Not });
        }
        Verb::Faults { count, seed, target, faults, only } => {
            let targets = if target.is_empty() { Target::ALL.to_vec() } else { target };
            let faults = if faults.is_empty() { Fault::ALL.to_vec() } else { faults };
            return faults::run(paths, &Plan { seed, count, targets, faults }, only);
        }
        Verb::Check { arguments } => {
            manifest_check::run(&paths.root, &arguments).map_err(|error| anyhow!(error))?
        }
        Verb::Graph { arguments } => graph::run(&paths.root, &arguments).map_err(|error| anyhow!(error))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn run_machine(paths: &Paths, options: RunOptions) -> Result<ExitCode> {
    let boot = match options.disk {
        Some(loader) => {
            let image = paths.disk_image();
            image::build(paths, options.recipe(loader), &image)?;
            let disk = Disk { device: options.disk_device, ..Disk::raw(image) };
            Boot::Disk { disk, firmware: options.firmware }
        }
        None => {
            let package = paths.package(&options.manifest);
            package::build(paths, &options.manifest, &package)?;
            Boot::Direct { loader: paths.loader(), kernel: stripped_kernel(paths)?, package }
        }
    };
    let forwards = options.forwards();
    let machine = Machine {
        board: options.machine,
        processor: options.cpu,
        processors: options.smp,
        memory: options.memory,
        iommu: options.iommu,
        nic: (!options.no_nic).then_some(options.nic),
        forwards,
        first_serial: FirstSerial::Present,
        boot,
        command_line: options.append,
        more: options.more.into_iter().map(Into::into).collect(),
    };
    run::run(machine, options.time_limit.map(Duration::from_secs))
}

/// The kernel without debug information, in the image folder.
fn stripped_kernel(paths: &Paths) -> Result<PathBuf> {
    let output = paths.image_folder().join("kernel");
    package::write(&output, &kernel_file::read(&paths.kernel())?)?;
    Ok(output)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::{CommandLine, Loader, RunOptions, Verb};

    fn run_options(arguments: &[&str]) -> RunOptions {
        let words = ["capos-tools", "run"].iter().chain(arguments);
        match CommandLine::try_parse_from(words).map(|line| line.verb) {
            Ok(Verb::Run(options)) => options,
            _ => panic!("{arguments:?} are not taken"),
        }
    }

    #[test]
    fn a_disk_that_is_run_is_as_large_as_was_said() {
        let options = run_options(&["--disk", "grub", "--size", "300", "--append", "word"]);
        let recipe = options.recipe(Loader::Grub);
        assert_eq!((recipe.size.0, recipe.command_line), (300, "word"));
    }

    #[test]
    fn without_a_card_nothing_is_forwarded() {
        assert!(run_options(&["--no-nic"]).forwards().is_empty());
        assert_eq!(run_options(&["--port", "81"]).forwards()[0].host, 81);
    }
}
