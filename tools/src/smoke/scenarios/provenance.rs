//! Records of builds.

use std::{fs::File, os::unix::fs::FileExt as _, path::Path};

use anyhow::{Context as _, Result, ensure};

use crate::{
    image::{self, Loader, Recipe},
    provenance::{self, Build},
    smoke::{Context, Scenario},
};

const LIMIT: u64 = 90;
const MANIFEST: &str = "manifests/default.capnp";

/// The only one.
pub fn scenarios() -> Vec<Scenario> {
    vec![Scenario::new("provenance", "a changed kernel is told from the recorded one", LIMIT, changed_kernel)]
}

fn changed_kernel(context: &mut Context) -> Result<()> {
    let folder = context.temporary()?;
    let disk = folder.path().join("capos-image.raw");
    let manifest = context.paths().root.join(MANIFEST);
    image::build(context.paths(), Recipe::new(&manifest, Loader::Grub), &disk)?;
    let build = Build { manifest: Path::new(MANIFEST), loader: Loader::Grub, compiler: Path::new("rustc") };
    provenance::write(context.paths(), &disk, &build)?;
    let record = provenance::record_file(&disk);
    let problems = provenance::problems(&disk, &record)?;
    ensure!(problems.is_empty(), "the image is not what was recorded: {problems:?}");

    // The kernel's first line, which is in no other file of the disk.
    let line = b"capos kernel starting";
    let bytes = std::fs::read(&disk)?;
    let offset =
        bytes.windows(line.len()).position(|part| part == line).context("the kernel has no first line")?;
    File::options().write(true).open(&disk)?.write_all_at(b"C", offset as u64)?;
    let problems = provenance::problems(&disk, &record)?;
    ensure!(problems.len() == 2, "{problems:?}");
    ensure!(problems[0].starts_with("the kernel has sha256 "), "{problems:?}");
    ensure!(problems[1].starts_with("capos-image.raw has sha256 "), "{problems:?}");
    Ok(())
}
