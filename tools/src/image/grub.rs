//! GRUB from the distribution, for BIOS and UEFI.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    disk::{self, BiosCode, Content, File},
    read,
};

/// Where distributions put GRUB's modules.
const FOLDERS: [&str; 2] = ["/usr/lib/grub", "/usr/share/grub2"];

/// What puts an image of GRUB together.
pub const TOOL: &str = "grub-mkimage";

/// Modules that both need: find the partition, read it, run the configuration, load the system.
const MODULES: [&str; 6] = ["part_gpt", "fat", "normal", "echo", "minicmd", "multiboot2"];

/// Where the first sector keeps the LBA of the second stage, and the second stage that of its rest [GRUB
/// grub-core/boot/i386/pc/boot.S, diskboot.S].
const KERNEL_SECTOR: std::ops::Range<usize> = 0x5c..0x64;
const BLOCK_LIST: usize = 0x1f4;

/// Whether both platforms of GRUB are there; if not, which is missing.
pub fn check_installed() -> Result<()> {
    bios_folder()?;
    folder("x86_64-efi", "kernel.img", "grub-efi-amd64-bin")?;
    Ok(())
}

/// Adds GRUB and its configuration.
pub fn add(content: &mut Content, command_line: &str) -> Result<()> {
    check_installed()?;
    let boot = read(&bios_folder()?.join("boot.img"))?;
    let core = make("i386-pc", "(,gpt2)/boot/grub", &["biosdisk"])?;
    content.bios = Some(connect(&boot, core, disk::core_sector())?);
    content.files.push(File::new("EFI/BOOT/BOOTX64.EFI", make("x86_64-efi", "/boot/grub", &[])?));
    content.files.push(File::new("boot/grub/grub.cfg", configuration(command_line)?.into_bytes()));
    Ok(())
}

/// GRUB's configuration: load, start, and if that fails stay with the error in sight.
fn configuration(command_line: &str) -> Result<String> {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_=.,:/+ ".contains(character);
    ensure!(
        command_line.chars().all(plain),
        "{command_line:?} has characters that GRUB would read as its own"
    );
    Ok(format!(
        "multiboot2 /boot/loader {command_line}\n\
         module2 /boot/kernel\n\
         module2 /boot/package\n\
         boot\n"
    ))
}

fn bios_folder() -> Result<PathBuf> {
    folder("i386-pc", "boot.img", "grub-pc-bin")
}

/// The folder of a platform's modules, which must hold `file`.
fn folder(platform: &str, file: &str, package: &str) -> Result<PathBuf> {
    let found = FOLDERS
        .iter()
        .map(|folder| Path::new(folder).join(platform))
        .find(|folder| folder.join(file).exists());
    found.with_context(|| format!("GRUB for {platform} is not installed (Debian: apt-get install {package})"))
}

/// An image of GRUB with its modules built in.
fn make(platform: &str, prefix: &str, modules: &[&str]) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let output = folder.path().join("image");
    let mut command = Command::new(TOOL);
    command.args(["--format", platform, "--prefix", prefix, "--output"]).arg(&output);
    let result = command
        .args(MODULES)
        .args(modules)
        .output()
        .context("cannot run grub-mkimage (Debian: apt-get install grub-common)")?;
    ensure!(result.status.success(), "grub-mkimage: {}", String::from_utf8_lossy(&result.stderr).trim());
    read(&output)
}

/// Tells the first sector where the second stage lies, and the second stage where its rest does.
fn connect(boot: &[u8], mut core: Vec<u8>, sector: u64) -> Result<BiosCode> {
    let mut boot: [u8; 440] = *boot.first_chunk().context("GRUB's boot.img is too short")?;
    boot.get_mut(KERNEL_SECTOR).context("inside the sector")?.copy_from_slice(&sector.to_le_bytes());
    let rest = core.get_mut(BLOCK_LIST..BLOCK_LIST + 8).context("GRUB's core image is too short")?;
    rest.copy_from_slice(&(sector + 1).to_le_bytes());
    Ok(BiosCode { boot, core })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_find_each_other() {
        let code = connect(&[0xff; 512], vec![0xff; 2000], 0x1234).expect("long enough");
        assert_eq!(code.boot[0x5c..0x64], 0x1234u64.to_le_bytes());
        assert_eq!(code.boot[0x64], 0xff);
        assert_eq!(code.core[0x1f4..0x1fc], 0x1235u64.to_le_bytes());
        assert_eq!(code.core[0x1fc], 0xff, "the length stays as grub-mkimage wrote it");
        assert!(connect(&[0; 100], vec![0; 2000], 0).is_err());
        assert!(connect(&[0; 512], vec![0; 100], 0).is_err());
    }

    #[test]
    fn a_command_line_cannot_become_configuration() {
        assert!(
            configuration("quiet level=3")
                .expect("plain")
                .starts_with("multiboot2 /boot/loader quiet level=3\n")
        );
        assert!(configuration("a\nreboot").is_err());
        assert!(configuration("a;b").is_err());
    }
}
