//! `image`: a disk that BIOS and UEFI machines boot.
//!
//! ```text
//! LBA 0      protective MBR, with the boot loader's first code
//!     1      GPT
//!     2048   BIOS boot partition: the boot loader's second stage
//!     4096   EFI system partition, FAT32:
//!              EFI/BOOT/BOOTX64.EFI   the boot loader for UEFI
//!              boot/kernel, boot/package, and what the boot loader reads
//! end        GPT, again
//! ```

mod disk;
mod grub;
mod limine;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use self::disk::{Content, File};
use crate::{executable, kernel_file, package, paths::Paths};

/// Largest sum of all files. The system partition is made larger than this, for FAT's tables.
const MAXIMUM_FILES: usize = 3 << 30;

/// Which boot loader is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Loader {
    /// GRUB, which starts the multiboot loader of this repository.
    Grub,
    /// Limine, which starts the kernel itself.
    Limine,
}

/// Where an image goes that is not told where.
pub fn default_output(paths: &Paths, manifest: &Path, loader: Loader) -> PathBuf {
    let kind = match loader {
        Loader::Grub => "grub.img",
        Loader::Limine => "limine.img",
    };
    paths.package(manifest).with_extension(kind)
}

/// Checks and packs a manifest, and writes a disk that boots it.
pub fn build(
    paths: &Paths,
    manifest: &Path,
    loader: Loader,
    command_line: &str,
    output: &Path,
) -> Result<()> {
    let package = paths.package(manifest);
    package::build(paths, manifest, &package)?;
    let mut content = Content {
        files: vec![
            File::new("boot/kernel", kernel_file::read(&paths.kernel())?),
            File::new("boot/package", read(&package)?),
        ],
        ..Content::default()
    };
    match loader {
        Loader::Grub => {
            content.files.push(File::new("boot/loader", executable::read_stripped(&paths.loader())?));
            grub::add(&mut content, command_line)?;
            disk::write(&content, output)
        }
        Loader::Limine => {
            let limine = limine::Installed::find()?;
            limine.add(&mut content, command_line)?;
            disk::write(&content, output)?;
            limine.install_bios(output)
        }
    }
}

/// Whether a boot loader is installed on this machine; if not, why it cannot be packed.
pub fn check_installed(loader: Loader) -> Result<()> {
    match loader {
        Loader::Grub => grub::check_installed(),
        Loader::Limine => limine::Installed::find().map(drop),
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| file.display().to_string())
}
