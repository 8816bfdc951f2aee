//! Where things lie in the repository and its build folder.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// Name of the folder, beside a disk image, of its forms for clouds.
pub const FORMS: &str = "cloud-image";

/// Name, beside a disk image, of the archive with the larger disk for Compute Engine.
pub const CLOUDBOOT_ARCHIVE: &str = "capos-disk.tar.gz";

/// The repository and what was built from it.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The repository's folder.
    pub root: PathBuf,
    /// The build folder.
    pub target: PathBuf,
}

impl Paths {
    /// The repository that holds the current folder, and the build folder that cargo uses for it.
    pub fn find() -> Result<Self> {
        let here = env::current_dir().context("cannot tell the current folder")?;
        let root = here
            .ancestors()
            .find(|folder| folder.join("schema/manifest.capnp").exists())
            .with_context(|| format!("{} is not in a capOS repository", here.display()))?;
        let target =
            env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| root.join(folder));
        Ok(Self { root: root.to_owned(), target })
    }

    /// The kernel as the compiler left it, with symbols.
    pub fn kernel(&self) -> PathBuf {
        self.bare("kernel")
    }

    /// The multiboot loader.
    pub fn loader(&self) -> PathBuf {
        self.bare("loader")
    }

    /// A user program as the compiler left it, with symbols.
    pub fn program(&self, name: &str) -> PathBuf {
        self.target.join("x86_64-capos/release").join(name)
    }

    /// Where the package of a manifest is put.
    pub fn package(&self, manifest: &Path) -> PathBuf {
        self.image_folder().join(stem(manifest)).with_extension("package")
    }

    /// Folder of everything that a machine boots from.
    pub fn image_folder(&self) -> PathBuf {
        self.target.join("image")
    }

    /// The disk image.
    pub fn disk_image(&self) -> PathBuf {
        self.target.join("capos-image.raw")
    }

    /// Folder of the disk image's forms for clouds.
    pub fn cloud_folder(&self) -> PathBuf {
        self.target.join(FORMS)
    }

    /// The disk image that `capos-cloudboot-image` makes.
    pub fn cloudboot_disk(&self) -> PathBuf {
        self.target.join("disk.raw")
    }

    /// The archive of [`Self::cloudboot_disk`].
    pub fn cloudboot_archive(&self) -> PathBuf {
        self.target.join(CLOUDBOOT_ARCHIVE)
    }

    fn bare(&self, name: &str) -> PathBuf {
        self.target.join("x86_64-unknown-none/release").join(name)
    }
}

/// A manifest's name: its file's, without folder and extension.
pub fn stem(file: &Path) -> &str {
    file.file_stem().and_then(|stem| stem.to_str()).unwrap_or("unnamed")
}
