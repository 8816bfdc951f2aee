//! Limine, where it is installed: version 8 or later.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    disk::{Content, File},
    read,
};

/// Files of Limine that a disk needs.
const UEFI: &str = "BOOTX64.EFI";
const BIOS: &str = "limine-bios.sys";

/// Number of the BIOS boot partition.
const BIOS_BOOT_NUMBER: &str = "1";

/// Limine on this machine.
pub struct Installed {
    /// The `limine` command.
    command: PathBuf,
    /// The folder of its files.
    files: PathBuf,
}

impl Installed {
    /// Looks in the folder `LIMINE_DIR`, or else for `limine` on the path and asks it for its data folder.
    pub fn find() -> Result<Self> {
        let installed = match env::var_os("LIMINE_DIR") {
            Some(folder) => Self { command: command(), files: folder.into() },
            None => Self { command: command(), files: data_folder()? },
        };
        for file in [UEFI, BIOS] {
            if !installed.files.join(file).exists() {
                bail!("Limine's {file} is not in {}", installed.files.display());
            }
        }
        Ok(installed)
    }

    /// Adds Limine and its configuration.
    pub fn add(&self, content: &mut Content, command_line: &str) -> Result<()> {
        content.files.push(File::new("EFI/BOOT/BOOTX64.EFI", read(&self.files.join(UEFI))?));
        content.files.push(File::new("boot/limine/limine-bios.sys", read(&self.files.join(BIOS))?));
        content.files.push(File::new("boot/limine/limine.conf", configuration(command_line)?.into_bytes()));
        Ok(())
    }

    /// Writes Limine's code for BIOS machines into the first sector and the BIOS boot partition.
    pub fn install_bios(&self, image: &Path) -> Result<()> {
        // Without the partition's number it would make the partition table smaller, and use the room.
        let result =
            Command::new(&self.command).arg("bios-install").arg(image).arg(BIOS_BOOT_NUMBER).output();
        let result = result.with_context(|| format!("cannot run {}", self.command.display()))?;
        ensure!(
            result.status.success(),
            "limine bios-install: {}",
            String::from_utf8_lossy(&result.stderr).trim()
        );
        Ok(())
    }
}

/// The `limine` command: that in the folder `LIMINE_DIR`, or else that on the path.
pub fn command() -> PathBuf {
    let inside = env::var_os("LIMINE_DIR").map(|folder| Path::new(&folder).join("limine"));
    inside.filter(|command| command.exists()).unwrap_or_else(|| "limine".into())
}

fn data_folder() -> Result<PathBuf> {
    const ABSENT: &str = "Limine is not installed: put `limine` (version 8 or later) on the path, name its folder in \
        LIMINE_DIR, or use LOADER=grub";
    let output = Command::new("limine").arg("--print-datadir").output().context(ABSENT)?;
    ensure!(
        output.status.success(),
        "limine --print-datadir: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

/// Limine's configuration (its CONFIG.md).
fn configuration(command_line: &str) -> Result<String> {
    ensure!(!command_line.contains(['\n', '\r']), "the command line has more than one line");
    Ok(format!(
        "timeout: 0\n\
         \n\
         /capOS\n\
         \x20   protocol: limine\n\
         \x20   kernel_path: boot():/boot/kernel\n\
         \x20   module_path: boot():/boot/package\n\
         \x20   cmdline: {command_line}\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_names_kernel_and_package() {
        let text = configuration("quiet").expect("one line");
        assert!(text.contains("\n/capOS\n    protocol: limine\n    kernel_path: boot():/boot/kernel\n"));
        assert!(text.ends_with("    cmdline: quiet\n"));
        assert!(configuration("a\nb: c").is_err());
    }
}
