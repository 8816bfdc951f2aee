//! The locked dependencies: `Cargo.lock`.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::crates::Key;

/// A package of `Cargo.lock`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Locked {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where it comes from; nothing for the repository's own.
    pub source: Option<String>,
    /// SHA-256 of its archive at the registry.
    pub checksum: Option<String>,
}

#[derive(Deserialize)]
struct File {
    package: Vec<Locked>,
}

impl Locked {
    /// Name and version.
    pub fn key(&self) -> Key {
        (self.name.clone(), self.version.clone())
    }

    /// Its package URL [purl, type cargo].
    pub fn purl(&self) -> String {
        // A version's build metadata is behind a plus sign, which has another meaning in a URL.
        format!("pkg:cargo/{}@{}", self.name, self.version.replace('+', "%2B"))
    }
}

/// Reads the packages that others made.
pub fn read(root: &Path) -> Result<Vec<Locked>> {
    let path = root.join("Cargo.lock");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    parse(&text).with_context(|| path.display().to_string())
}

fn parse(text: &str) -> Result<Vec<Locked>> {
    let file: File = toml::from_str(text)?;
    Ok(file.package.into_iter().filter(|package| package.source.is_some()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_of_others_are_read() {
        let text = "version = 4\n\
            [[package]]\nname = \"own\"\nversion = \"0.1.0\"\ndependencies = [\"toml\"]\n\
            [[package]]\nname = \"toml\"\nversion = \"1.2.1+spec-1.1.0\"\nsource = \"registry\"\nchecksum = \"ab\"\n";
        let [toml] = &parse(text).expect("a lock file")[..] else { panic!("one package") };
        assert_eq!(toml.purl(), "pkg:cargo/toml@1.2.1%2Bspec-1.1.0");
        assert_eq!(toml.checksum.as_deref(), Some("ab"));
    }
}
