//! `check`: compiles boot manifests and checks every rule, as init does again at boot.

use manifest::{Manifest, Surroundings, limits::FRAME_BYTES};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Memory of the smallest machine that the system supports, in MiB.
pub const DEFAULT_MEMORY: u64 = 64;

const USAGE: &str = "usage: check [--memory MIB] MANIFEST...";

/// Checks every manifest that is named; `root` is the folder of the repository.
///
/// # Errors
/// All that is wrong with them, one problem a line, each with its file.
pub fn run(root: &Path, arguments: &[String]) -> Result<(), String> {
    let mut memory = DEFAULT_MEMORY;
    let mut files = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--memory" => {
                memory = arguments.next().and_then(|value| value.parse().ok()).ok_or(USAGE)?;
            }
            option if option.starts_with('-') => return Err(USAGE.into()),
            file => files.push(PathBuf::from(file)),
        }
    }
    if files.is_empty() {
        return Err(USAGE.into());
    }
    let binaries = binaries(root)?;
    let checked = files.iter().map(|file| (file, check(root, file, memory, &binaries)));
    let mut problems = Vec::new();
    for (file, result) in checked {
        match result {
            Ok(manifest) => println!("{}: good, {} processes", file.display(), manifest.entries.len()),
            Err(error) => problems.push(error),
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

/// Compiles one manifest and checks it against a machine of `memory` MiB and the binaries that there are.
///
/// # Errors
/// All that is wrong with it, one problem a line, each with the file.
pub fn check(root: &Path, file: &Path, memory: u64, binaries: &[String]) -> Result<Manifest, String> {
    let message = compile(root, file)?;
    let binaries: Vec<&str> = binaries.iter().map(String::as_str).collect();
    let frames = memory.saturating_mul(1 << 20) / FRAME_BYTES;
    let surroundings = Surroundings { frames, binaries: Some(&binaries) };
    manifest::read_message(&message, &surroundings).map_err(|problems| {
        let lines = problems.iter().map(|problem| format!("{}: {problem}", file.display()));
        lines.collect::<Vec<_>>().join("\n")
    })
}

/// The constant `manifest` of a file as a Cap'n Proto message with a segment table.
///
/// # Errors
/// What `capnp eval` says, or that it could not be run.
pub fn compile(root: &Path, file: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error| format!("{}: {error}", file.display());
    let output = Command::new("capnp")
        .args(["eval", "--binary"])
        .arg(file.canonicalize().map_err(unreadable)?)
        .arg("manifest")
        // `capnp` follows no import out of the folder that it was started in.
        .current_dir(root)
        .output()
        .map_err(|error| format!("cannot run `capnp` (Debian: apt-get install capnproto): {error}"))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(format!("{}: {}", file.display(), String::from_utf8_lossy(&output.stderr).trim()))
    }
}

/// Names of all programs of the repository: drivers, services and the tests' own.
///
/// # Errors
/// When a folder cannot be read.
pub fn binaries(root: &Path) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for folder in ["drivers", "services"] {
        names.extend(stems(&root.join(folder), |path| path.join("Cargo.toml").exists())?);
    }
    for programs in ["tests/programs/src/bin", "tests/bench/src/bin"].map(|folder| root.join(folder)) {
        if programs.exists() {
            names.extend(stems(&programs, |path| {
                path.extension().is_some_and(|extension| extension == "rs") || path.join("main.rs").exists()
            })?);
        }
    }
    names.sort();
    Ok(names)
}

fn stems(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<String>, String> {
    let unreadable = |error| format!("{}: {error}", folder.display());
    let mut names = Vec::new();
    for file in fs::read_dir(folder).map_err(unreadable)? {
        let path = file.map_err(unreadable)?.path();
        if wanted(&path) {
            names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(String::from));
        }
    }
    Ok(names)
}
