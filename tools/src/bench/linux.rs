//! The opponent: Debian's cloud kernel with our own program for it (`tools/bench/linux`), in the same machine.
//!
//! Kernel and busybox are downloaded by apt and unpacked in the build folder; nothing is installed.

use std::{
    ffi::OsString,
    fs,
    io::{Cursor, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use cpio::newc::{Builder, ModeFileType, trailer};

use super::session::Work;
use crate::{
    package,
    paths::Paths,
    qemu::{Boot, Machine},
};

/// The package that depends on the newest kernel.
const KERNEL: &str = "linux-image-cloud-amd64";

/// A shell with `mount`, `insmod` and `ip` in one static program.
const BUSYBOX: &str = "busybox-static";

/// Modules of the network card, each behind those that it needs. A kernel that has one built in has no file for it.
const MODULES: [&str; 8] = [
    "failover",
    "net_failover",
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_net",
];

/// Where the host builds our program for: the same Linux, statically linked.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Without the work that capOS does not do either: mitigations, clearing of memory that is allocated, security modules.
const COMMAND_LINE: &str = "console=ttyS0 quiet loglevel=1 panic=-1 mitigations=off init_on_alloc=0 apparmor=0 audit=0 rdinit=/init --";

/// The first program: makes the machine ready for the work that the command line names.
const INIT: &str = "#!/bin/busybox sh
/bin/busybox mkdir -p /dev /proc /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
exec </dev/ttyS0 >/dev/ttyS0 2>&1
if [ \"$1\" = network ]; then
    for module in /modules/*; do /bin/busybox insmod $module; done
    /bin/busybox ip link set lo up
    /bin/busybox ip link set eth0 up
    /bin/busybox ip addr add 10.0.2.15/24 dev eth0
    /bin/busybox ip route add default via 10.0.2.2
fi
/bench-linux \"$@\"
while :; do /bin/busybox sleep 1000; done
";

/// The kernel and what it starts.
pub struct Opponent {
    kernel: PathBuf,
    files: PathBuf,
}

impl Opponent {
    /// Downloads what is not there yet, and builds our program.
    pub fn build(paths: &Paths) -> Result<Self> {
        let folder = paths.target.join("bench-linux");
        let kernel = unpack(&folder, &newest_kernel()?)?;
        let busybox = unpack(&folder, BUSYBOX)?.join("bin/busybox");
        let mut archive = Archive::default();
        archive.add_folder("bin")?;
        archive.add_folder("modules")?;
        archive.add("init", INIT.as_bytes())?;
        archive.add("bin/busybox", &read(&busybox)?)?;
        archive.add("bench-linux", &read(&program(paths, &folder)?)?)?;
        for (index, name) in MODULES.iter().enumerate() {
            if let Some(file) = find(&kernel.join("lib/modules"), &format!("{name}.ko"))? {
                // The shell sorts them.
                archive.add(&format!("modules/{index}-{name}.ko"), &read(&file)?)?;
            }
        }
        let files = folder.join("initramfs.cpio");
        package::write(&files, &archive.finish()?)?;
        let boot = kernel.join("boot");
        let kernel = entries(&boot)?.into_iter().find(|file| name(file).starts_with("vmlinuz"));
        Ok(Self { kernel: kernel.with_context(|| format!("{}: no kernel", boot.display()))?, files })
    }

    /// A machine that does some work.
    pub fn machine(&self, work: Work) -> Result<Machine> {
        let work = match work {
            Work::Network => "network",
            Work::Block => "block /dev/nvme0n1",
        };
        let mut machine = Machine::new(Boot::None);
        let append = format!("{COMMAND_LINE} {work}");
        let arguments: [OsString; 6] = [
            "-kernel".into(),
            self.kernel.clone().into(),
            "-initrd".into(),
            self.files.clone().into(),
            "-append".into(),
            append.into(),
        ];
        machine.more.extend(arguments);
        Ok(machine)
    }
}

/// The package that [`KERNEL`] depends on.
fn newest_kernel() -> Result<String> {
    let output = run(Command::new("apt-cache").args(["depends", "--important", KERNEL]))?;
    let depends = output.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    Ok(depends.with_context(|| format!("apt knows no {KERNEL}; try apt-get update"))?.to_owned())
}

/// A package's files, downloaded and unpacked once.
fn unpack(folder: &Path, package: &str) -> Result<PathBuf> {
    let unpacked = folder.join(package);
    if unpacked.exists() {
        return Ok(unpacked);
    }
    let download = tempfile::Builder::new().prefix("deb-").tempdir_in(created(folder)?)?;
    run(Command::new("apt-get").args(["download", package]).current_dir(download.path()))?;
    let file = entries(download.path())?.into_iter().find(|file| name(file).ends_with(".deb"));
    let file = file.with_context(|| format!("apt-get downloaded no {package}"))?;
    let half = download.path().join("files");
    run(Command::new("dpkg-deb").arg("-x").arg(&file).arg(&half))?;
    fs::rename(&half, &unpacked)?;
    Ok(unpacked)
}

/// Builds our program, in a folder where its other flags disturb no other build.
fn program(paths: &Paths, folder: &Path) -> Result<PathBuf> {
    let target = folder.join("target");
    let mut command = Command::new("cargo");
    command.args(["build", "--quiet", "--release", "--locked", "-p", "bench-linux", "--target", TARGET]);
    command.arg("--target-dir").arg(&target).current_dir(&paths.root);
    command.env("RUSTFLAGS", "-Ctarget-feature=+crt-static").env_remove("RUSTC_WRAPPER");
    run(&mut command)?;
    Ok(target.join(TARGET).join("release/bench-linux"))
}

/// Files in the format that Linux unpacks at its start.
#[derive(Default)]
struct Archive(Cursor<Vec<u8>>);

impl Archive {
    fn add_folder(&mut self, name: &str) -> Result<()> {
        let builder = Builder::new(name).mode(0o755).set_mode_file_type(ModeFileType::Directory);
        builder.write(&mut self.0, 0).finish()?;
        Ok(())
    }

    fn add(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let builder = Builder::new(name).mode(0o755).set_mode_file_type(ModeFileType::Regular);
        let mut writer = builder.write(&mut self.0, u32::try_from(bytes.len())?);
        writer.write_all(bytes)?;
        writer.finish()?;
        Ok(())
    }

    fn finish(self) -> Result<Vec<u8>> {
        Ok(trailer(self.0)?.into_inner())
    }
}

/// A file of this name anywhere below a folder.
fn find(folder: &Path, wanted: &str) -> Result<Option<PathBuf>> {
    for file in entries(folder)? {
        if file.is_dir() {
            if let Some(found) = find(&file, wanted)? {
                return Ok(Some(found));
            }
        } else if name(&file) == wanted {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    read.map(|entry| Ok(entry?.path())).collect()
}

fn name(file: &Path) -> &str {
    file.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| file.display().to_string())
}

fn created(folder: &Path) -> Result<&Path> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// Runs a program, and returns what it printed.
fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", error.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use cpio::newc::Reader;

    use super::*;

    #[test]
    fn files_are_found_again_in_the_archive() {
        let mut archive = Archive::default();
        archive.add_folder("bin").expect("added");
        archive.add("bin/a", b"bytes").expect("added");
        let bytes = archive.finish().expect("finished");
        let folder = Reader::new(&bytes[..]).expect("an entry");
        assert_eq!(folder.entry().name(), "bin");
        let file = Reader::new(folder.finish().expect("the rest")).expect("an entry");
        assert_eq!((file.entry().name(), file.entry().file_size()), ("bin/a", 5));
    }
}
