//! Machines that QEMU can be, as its command line.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

/// The emulator.
const QEMU: &str = "qemu-system-x86_64";

/// Where distributions put the UEFI firmware for QEMU: code, and its variables.
const OVMF: [(&str, &str); 3] = [
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
];

/// How a virtio network card is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Nic {
    /// Virtio 1 by memory-mapped registers, with MSI-X.
    Modern,
    /// Virtio 0.9.5 by I/O ports, with MSI-X.
    Legacy,
    /// Virtio 1 with an interrupt line in place of MSI-X.
    Line,
    /// Virtio 0.9.5 with an interrupt line in place of MSI-X.
    LegacyLine,
}

impl Nic {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Modern, Self::Legacy, Self::Line, Self::LegacyLine];

    /// Short name, as on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Modern => "modern",
            Self::Legacy => "legacy",
            Self::Line => "line",
            Self::LegacyLine => "legacy-line",
        }
    }

    const fn properties(self) -> &'static str {
        match self {
            Self::Modern => "disable-legacy=on,disable-modern=off",
            Self::Legacy => "disable-legacy=off,disable-modern=on",
            Self::Line => "disable-legacy=on,disable-modern=off,vectors=0",
            Self::LegacyLine => "disable-legacy=off,disable-modern=on,vectors=0",
        }
    }
}

/// What is between a machine's devices and its memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Iommu {
    /// Nothing.
    #[default]
    None,
    /// Intel's IOMMU, with interrupt remapping. Only on `q35`.
    Intel,
}

impl Iommu {
    /// How a card is put behind it: without this it goes around the IOMMU, as a part of the host would, and as legacy cards
    /// always do.
    const fn card_properties(self, nic: Nic) -> &'static str {
        match (self, nic) {
            (Self::Intel, Nic::Modern | Nic::Line) => ",iommu_platform=on",
            (Self::None, _) | (_, Nic::Legacy | Nic::LegacyLine) => "",
        }
    }
}

/// Whether a machine has its first serial port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstSerial {
    /// It has.
    Present,
    /// Its ports are nobody's.
    Absent,
}

/// A TCP port of the host that leads to one of the guest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Port at 127.0.0.1.
    pub host: u16,
    /// Port of the guest.
    pub guest: u16,
}

/// What starts the machine's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Firmware {
    /// The BIOS that QEMU brings.
    Bios,
    /// UEFI by OVMF.
    Uefi,
}

impl Firmware {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Uefi, Self::Bios];

    /// Short name, as on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bios => "bios",
            Self::Uefi => "uefi",
        }
    }
}

/// How a machine sees its disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DiskDevice {
    /// What the board has: AHCI on `q35`, IDE on `pc`.
    #[default]
    Ide,
    /// An NVMe namespace.
    Nvme,
    /// A virtio block device.
    VirtioBlk,
    /// A disk at a virtio SCSI controller, as on Compute Engine.
    VirtioScsi,
}

impl DiskDevice {
    /// Short name, as on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ide => "ide",
            Self::Nvme => "nvme",
            Self::VirtioBlk => "virtio-blk",
            Self::VirtioScsi => "virtio-scsi",
        }
    }

    /// The devices that show the drive `disk0`.
    const fn devices(self) -> &'static [&'static str] {
        match self {
            Self::Ide => &["ide-hd,drive=disk0,bus=ide.0,bootindex=0"],
            Self::Nvme => &["nvme,drive=disk0,serial=capos0,bootindex=0"],
            Self::VirtioBlk => &["virtio-blk-pci,drive=disk0,bootindex=0"],
            Self::VirtioScsi => &["virtio-scsi-pci,id=scsi0", "scsi-hd,drive=disk0,bus=scsi0.0,bootindex=0"],
        }
    }
}

/// The form of a disk's file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskFormat {
    /// The disk's bytes.
    #[default]
    Raw,
    /// VHD, which QEMU names after Virtual PC.
    Vhd,
    /// VMDK.
    Vmdk,
}

impl DiskFormat {
    /// What QEMU calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Vhd => "vpc",
            Self::Vmdk => "vmdk",
        }
    }
}

/// A disk that a machine boots from.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Its file; what the guest writes is thrown away.
    pub file: PathBuf,
    /// The file's form.
    pub format: DiskFormat,
    /// How the machine sees it.
    pub device: DiskDevice,
}

impl Disk {
    /// A raw image at the board's own controller.
    pub fn raw(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), format: DiskFormat::Raw, device: DiskDevice::Ide }
    }
}

/// What a machine boots.
#[derive(Clone, Debug)]
pub enum Boot {
    /// Nothing, unless [`Machine::more`] says.
    None,
    /// Loader, kernel and package are given to QEMU itself.
    Direct {
        /// The multiboot loader.
        loader: PathBuf,
        /// The kernel.
        kernel: PathBuf,
        /// The boot package.
        package: PathBuf,
    },
    /// A disk.
    Disk {
        /// The disk.
        disk: Disk,
        /// What starts it.
        firmware: Firmware,
    },
}

/// A machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// QEMU's machine type: `q35` or `pc`.
    pub board: String,
    /// QEMU's processor model.
    pub processor: String,
    /// Number of processors.
    pub processors: u32,
    /// Memory in MiB.
    pub memory: u32,
    /// What is between its devices and its memory.
    pub iommu: Iommu,
    /// Its network card, if any.
    pub nic: Option<Nic>,
    /// Ports of the host that lead to it.
    pub forwards: Vec<Forward>,
    /// Whether it has COM1, in tests.
    pub first_serial: FirstSerial,
    /// What it boots.
    pub boot: Boot,
    /// The system's command line.
    pub command_line: String,
    /// More arguments for QEMU.
    pub more: Vec<OsString>,
}

impl Machine {
    /// A machine of the usual kind, without a network.
    pub fn new(boot: Boot) -> Self {
        Self {
            board: "q35".into(),
            processor: "max".into(),
            processors: 1,
            memory: 256,
            iommu: Iommu::None,
            nic: None,
            forwards: Vec::new(),
            first_serial: FirstSerial::Present,
            boot,
            command_line: String::new(),
            more: Vec::new(),
        }
    }

    /// Gives the machine a drive for a device to name: a raw image that the guest may write, and discard parts of.
    pub fn add_drive(&mut self, id: &str, image: &Path) -> Result<()> {
        let drive = format!("if=none,id={id},format=raw,discard=unmap,file={}", option(image)?);
        self.more.extend(["-drive".into(), drive.into()]);
        Ok(())
    }

    /// The command that runs the machine. Serial ports, QMP and the like are the caller's to add.
    pub fn command(&self) -> Result<Command> {
        let mut command = Command::new(QEMU);
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-accel", "tcg"]);
        command.args(["-machine", &self.board, "-cpu", &self.processor]);
        command.args(["-smp", &self.processors.to_string(), "-m", &self.memory.to_string()]);
        // Before all other devices: those that come earlier are not behind it.
        if self.iommu == Iommu::Intel {
            command.args(["-device", "intel-iommu,intremap=on"]);
        }
        self.add_network(&mut command);
        self.add_boot(&mut command)?;
        command.args(&self.more);
        Ok(command)
    }

    fn add_network(&self, command: &mut Command) {
        let Some(nic) = self.nic else { return };
        let mut network = String::from("user,id=net0");
        for Forward { host, guest } in &self.forwards {
            network += &format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}");
        }
        // Without an option ROM: the firmware need not boot from the network.
        let card = format!(
            "virtio-net-pci,netdev=net0,romfile=,{}{}",
            nic.properties(),
            self.iommu.card_properties(nic)
        );
        command.args(["-netdev", &network, "-device", &card]);
    }

    fn add_boot(&self, command: &mut Command) -> Result<()> {
        match &self.boot {
            Boot::None => {}
            Boot::Direct { loader, kernel, package } => {
                let modules = [module(kernel)?, module(package)?].join(",");
                command.arg("-kernel").arg(loader).args(["-initrd", &modules]);
                if !self.command_line.is_empty() {
                    command.args(["-append", &self.command_line]);
                }
            }
            Boot::Disk { disk, firmware } => {
                if *firmware == Firmware::Uefi {
                    add_ovmf(command)?;
                }
                let (format, file) = (disk.format.name(), option(&disk.file)?);
                command
                    .args(["-drive", &format!("if=none,id=disk0,format={format},snapshot=on,file={file}")]);
                for device in disk.device.devices() {
                    command.args(["-device", device]);
                }
            }
        }
        Ok(())
    }
}

/// A path as a module of `-initrd`, where commas divide modules and a space starts a module's arguments.
fn module(path: &Path) -> Result<String> {
    let text = option(path)?;
    if text.contains(' ') {
        bail!("{text}: QEMU takes no module from a path with a space");
    }
    Ok(text)
}

/// A path as the value of an option, where a comma is written twice.
fn option(path: &Path) -> Result<String> {
    let text = path.to_str().with_context(|| format!("{}: not UTF-8", path.display()))?;
    Ok(text.replace(',', ",,"))
}

/// The UEFI firmware of this machine: code and variables, if it is installed.
pub fn uefi_firmware() -> Option<(&'static Path, &'static Path)> {
    OVMF.iter()
        .map(|(code, variables)| (Path::new(code), Path::new(variables)))
        .find(|(code, _)| code.exists())
}

fn add_ovmf(command: &mut Command) -> Result<()> {
    let (code, variables) =
        uefi_firmware().context("no UEFI firmware for QEMU is installed (Debian: apt-get install ovmf)")?;
    command.args(["-drive", &format!("if=pflash,unit=0,format=raw,readonly=on,file={}", code.display())]);
    command
        .args(["-drive", &format!("if=pflash,unit=1,format=raw,snapshot=on,file={}", variables.display())]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(machine: &Machine) -> String {
        let command = machine.command().expect("a command");
        command.get_args().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    fn direct(kernel: &str) -> Machine {
        Machine::new(Boot::Direct { loader: "l".into(), kernel: kernel.into(), package: "p".into() })
    }

    #[test]
    fn a_direct_boot_gives_the_modules_in_order() {
        let mut machine = direct("k");
        machine.command_line = "a b".into();
        machine.nic = Some(Nic::Legacy);
        machine.forwards = vec![Forward { host: 8080, guest: 80 }];
        let arguments = arguments(&machine);
        assert!(arguments.contains("-kernel l -initrd k,p -append a b"), "{arguments}");
        assert!(arguments.contains("hostfwd=tcp:127.0.0.1:8080-:80"), "{arguments}");
        assert!(arguments.contains("disable-modern=on"), "{arguments}");
    }

    #[test]
    fn an_iommu_comes_before_what_is_behind_it() {
        let mut machine = direct("k");
        (machine.nic, machine.iommu) = (Some(Nic::Modern), Iommu::Intel);
        let arguments = arguments(&machine);
        let (iommu, card) = (arguments.find("intel-iommu"), arguments.find("iommu_platform=on"));
        assert!(iommu.is_some() && iommu < card, "{arguments}");
    }

    #[test]
    fn a_disk_is_seen_as_it_was_asked_for() {
        for device in DiskDevice::value_variants() {
            let device = *device;
            let disk = Disk { device, format: DiskFormat::Vhd, ..Disk::raw("d.vhd") };
            let arguments = arguments(&Machine::new(Boot::Disk { disk, firmware: Firmware::Bios }));
            assert!(arguments.contains("format=vpc,snapshot=on,file=d.vhd"), "{arguments}");
            assert!(arguments.contains(&device.name()[..3]), "{arguments}");
            assert_eq!(arguments.matches("bootindex=0").count(), 1, "{arguments}");
        }
    }

    #[test]
    fn paths_cannot_slip_into_options() {
        assert!(arguments(&direct("a,b")).contains("-initrd a,,b,p"));
        assert!(direct("a b").command().is_err());
    }
}
