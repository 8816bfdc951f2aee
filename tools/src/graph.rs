//! `graph`: draws who holds what in a boot manifest.

use crate::manifest_check::{DEFAULT_MEMORY, binaries, check};
use std::{fs, path::Path};

const USAGE: &str = "usage: graph MANIFEST PICTURE.svg";

/// Draws the manifest that is named first into the file that is named second; `root` is the folder of
/// the repository.
///
/// # Errors
/// What is wrong with the manifest, or that the picture cannot be written.
pub fn run(root: &Path, arguments: &[String]) -> Result<(), String> {
    let [source, picture] = arguments else { return Err(USAGE.into()) };
    let manifest = check(root, Path::new(source), DEFAULT_MEMORY, &binaries(root)?)?;
    let picture = Path::new(picture);
    if let Some(folder) = picture.parent() {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    fs::write(picture, manifest::graph::svg(&manifest))
        .map_err(|error| format!("{}: {error}", picture.display()))?;
    println!("{}: {}", source, picture.display());
    Ok(())
}
