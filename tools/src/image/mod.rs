//! `image`: a disk that BIOS and UEFI machines boot.
//!
//! `layout` draws it. The same inputs give the same bytes.

mod disk;
mod grub;
mod identity;
pub mod layout;
mod limine;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

pub use self::layout::Mebibytes;

use self::disk::{Content, File};
use crate::{executable, kernel_file, package, paths::Paths};

/// Which boot loader is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Loader {
    /// GRUB, which starts the multiboot loader of this repository.
    Grub,
    /// Limine, which starts the kernel itself.
    Limine,
}

impl Loader {
    /// Short name, as on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grub => "grub",
            Self::Limine => "limine",
        }
    }
}

/// The program of a boot loader that writes it onto disks. It need not be there.
pub fn loader_tool(loader: Loader) -> PathBuf {
    match loader {
        Loader::Grub => grub::TOOL.into(),
        Loader::Limine => limine::command(),
    }
}

/// What an image is made of.
#[derive(Clone, Copy, Debug)]
pub struct Recipe<'a> {
    /// The manifest that it boots.
    pub manifest: &'a Path,
    /// The boot loader that is packed.
    pub loader: Loader,
    /// The system's command line.
    pub command_line: &'a str,
    /// The disk's size.
    pub size: Mebibytes,
}

impl<'a> Recipe<'a> {
    /// An image of the usual size, without a command line.
    pub fn new(manifest: &'a Path, loader: Loader) -> Self {
        Self { manifest, loader, command_line: "", size: Mebibytes::DEFAULT }
    }
}

/// Checks and packs a manifest, and writes a disk that boots it.
pub fn build(paths: &Paths, recipe: Recipe<'_>, output: &Path) -> Result<()> {
    let package = paths.package(recipe.manifest);
    package::build(paths, recipe.manifest, &package)?;
    let mut content = Content {
        files: vec![
            File::new("boot/kernel", kernel_file::read(&paths.kernel())?),
            File::new("boot/package", read(&package)?),
        ],
        ..Content::default()
    };
    match recipe.loader {
        Loader::Grub => {
            content.files.push(File::new("boot/loader", executable::read_stripped(&paths.loader())?));
            grub::add(&mut content, recipe.command_line)?;
            disk::write(&content, recipe.size, output, |_| Ok(()))
        }
        Loader::Limine => {
            let limine = limine::Installed::find()?;
            limine.add(&mut content, recipe.command_line)?;
            disk::write(&content, recipe.size, output, |image| limine.install_bios(image))
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

/// Writes a disk of the usual form for tests, always the same but for files that are added, that boots nothing.
#[cfg(test)]
pub fn write_example(size: Mebibytes, added: Vec<(&str, Vec<u8>)>, output: &Path) -> Result<()> {
    let kernel = (0..100_000u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
    let mut files =
        vec![File::new("EFI/BOOT/BOOTX64.EFI", b"loader".to_vec()), File::new("boot/kernel", kernel)];
    files.extend(added.into_iter().map(|(path, bytes)| File::new(path, bytes)));
    let bios = Some(disk::BiosCode { boot: [0x90; 440], core: vec![0xcc; 10_000] });
    disk::write(&Content { files, bios }, size, output, |_| Ok(()))
}
