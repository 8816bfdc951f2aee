//! What a build is made of and with: source, compiler, linker, boot loader, firmware and crates, each as a resource descriptor
//! [in-toto Attestation Framework, ResourceDescriptor]. What is not there is said to be absent.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::lock::Locked;
use crate::{
    cloud::{digest, hex},
    image::{Loader, loader_tool},
    paths::Paths,
    qemu,
};

/// The BIOS that Debian's QEMU brings.
const SEABIOS: &str = "/usr/share/seabios/bios-256k.bin";

/// Everything, in the order in which a person would ask for it.
pub fn all(paths: &Paths, compiler: &Path, loader: Loader, locked: &[Locked]) -> Result<Vec<Value>> {
    let mut materials = vec![source(&paths.root)?];
    materials.push(program("rustc", compiler, &["-vV"], None));
    // The one that runs this: what is on the path may only choose one.
    let cargo = env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    materials.push(program("cargo", &cargo, &["-vV"], None));
    materials.push(program("ld.lld", Path::new("ld.lld"), &["--version"], Some("lld")));
    materials.push(program("capnp", Path::new("capnp"), &["--version"], Some("capnproto")));
    let package = (loader == Loader::Grub).then_some("grub-common");
    materials.push(program(loader.name(), &loader_tool(loader), &["--version"], package));
    materials.push(program(
        "qemu-system-x86_64",
        Path::new("qemu-system-x86_64"),
        &["--version"],
        Some("qemu-system-x86"),
    ));
    match qemu::uefi_firmware() {
        Some((code, variables)) => {
            materials.push(file("OVMF code", code, "ovmf"));
            materials.push(file("OVMF variables", variables, "ovmf"));
        }
        None => materials.push(absent("OVMF", "no UEFI firmware for QEMU is installed")),
    }
    materials.push(file("SeaBIOS", Path::new(SEABIOS), "seabios"));
    materials.extend(locked.iter().map(krate));
    Ok(materials)
}

/// The source: its commit, and whether it was changed since.
fn source(root: &Path) -> Result<Value> {
    let git = |arguments: &[&str]| -> Result<Vec<u8>> {
        let output =
            Command::new("git").arg("-C").arg(root).args(arguments).output().context("cannot run git")?;
        anyhow::ensure!(
            output.status.success(),
            "git {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(output.stdout)
    };
    let commit = String::from_utf8(git(&["rev-parse", "HEAD"])?)?;
    let status = git(&["status", "--porcelain=v1"])?;
    let mut annotations = json!({ "dirty": !status.is_empty() });
    if !status.is_empty() {
        let changes = [status, git(&["diff", "HEAD", "--binary"])?].concat();
        annotations = json!({ "dirty": true, "changesSha256": hex(&Sha256::digest(&changes)) });
    }
    Ok(json!({ "name": "source", "digest": { "gitCommit": commit.trim() }, "annotations": annotations }))
}

/// A program: what it says of itself, its file's hash, and the package that it came with.
fn program(name: &str, command: &Path, arguments: &[&str], package: Option<&str>) -> Value {
    let output = Command::new(command).args(arguments).output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        return absent(name, "it is not installed");
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // Most say who may copy them from the second line on; rustc and cargo list their parts.
    let lines = if arguments == ["-vV"] { usize::MAX } else { 1 };
    let version = text.trim().lines().take(lines).collect::<Vec<_>>().join("\n");
    let mut entry = json!({ "name": name, "annotations": { "version": version } });
    if let Some(sha) = find(command).and_then(|file| digest(&file).ok()) {
        entry["digest"] = json!({ "sha256": hex(&sha) });
    }
    add_package(&mut entry, package);
    entry
}

/// The first line of what a program says of its version.
pub fn version(command: &Path) -> Option<String> {
    let output =
        Command::new(command).arg("--version").output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned())
}

/// A file that a machine is started with.
fn file(name: &str, path: &Path, package: &str) -> Value {
    let Ok(sha) = digest(path) else { return absent(name, "the file is not there") };
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let mut entry =
        json!({ "name": name, "digest": { "sha256": hex(&sha) }, "annotations": { "file": file } });
    add_package(&mut entry, Some(package));
    entry
}

fn absent(name: &str, why: &str) -> Value {
    json!({ "name": name, "annotations": { "absent": why } })
}

/// The version of a Debian package, where there are such.
fn add_package(entry: &mut Value, package: Option<&str>) {
    let Some(package) = package else { return };
    let output = Command::new("dpkg-query").args(["-W", "-f=${Version}", package]).output();
    if let Some(output) = output.ok().filter(|output| output.status.success()) {
        let version = String::from_utf8_lossy(&output.stdout).into_owned();
        entry["annotations"]["debianPackage"] = json!(format!("{package} {version}"));
    }
}

/// The file of a command: as it is, or on the path.
fn find(command: &Path) -> Option<PathBuf> {
    if command.components().count() > 1 {
        return Some(command.to_owned());
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(command)).find(|file| file.exists())
}

fn krate(locked: &Locked) -> Value {
    let mut entry = json!({ "name": locked.name, "uri": locked.purl() });
    if let Some(checksum) = &locked.checksum {
        entry["digest"] = json!({ "sha256": checksum });
    }
    entry
}
