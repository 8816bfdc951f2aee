//! `build-provenance` writes what an image was made of and with; `verify-provenance` checks an image against that.
//!
//! Beside the image `capos-image.raw` lie the record `capos-image.provenance.json` and the list of components
//! `capos-image.cdx.json`.

mod compare;
mod components;
mod contents;
mod crates;
mod lock;
mod materials;
mod statement;

#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use self::{
    contents::{Parts, Sha},
    statement::{Claims, Statement},
};
use crate::{
    cloud::{self, Form, digest, hex},
    image::{Loader, loader_tool},
    package,
    paths::{CLOUDBOOT_ARCHIVE, FORMS, Paths},
    progress::Progress,
};

/// What was built, as the caller of `make` chose it.
pub struct Build<'a> {
    /// The manifest.
    pub manifest: &'a Path,
    /// The boot loader.
    pub loader: Loader,
    /// The compiler of the kernel and the user programs.
    pub compiler: &'a Path,
}

/// Writes the record and the list of components of a disk image, of its packaged forms that are in the folder [`FORMS`]
/// beside it, and of [`CLOUDBOOT_ARCHIVE`].
pub fn write(paths: &Paths, image: &Path, build: &Build<'_>) -> Result<()> {
    let (name, sha, parts) = read(image)?;
    let locked = lock::read(&paths.root)?;
    let others = own_components(&parts, build)?;
    let components = components::list_components(&paths.root, &locked, &parts, (&name, &sha), others)?;
    let list = list_file(&record_file(image));
    write_json(&list, &components)?;

    let archive = cloudboot_archive(image, &parts);
    let mut subjects = parts;
    subjects.insert(name, sha);
    subjects.extend(archive);
    for form in Form::ALL {
        let file = image.with_file_name(FORMS).join(form.file_name());
        if !file.exists() {
            continue;
        }
        match cloud::check(form, &file, image) {
            Ok(()) => drop(subjects.insert(form.file_name().into(), digest(&file)?)),
            Err(error) => println!("{} is not of this image, and left out: {error:#}", file.display()),
        }
    }
    let size = image.metadata()?.len();
    let statement = Statement {
        parameters: json!({
            "manifest": build.manifest,
            "manifestSha256": hex(&digest(&paths.root.join(build.manifest))?),
            "loader": build.loader.name(),
            "sizeBytes": size,
        }),
        materials: materials::all(paths, build.compiler, build.loader, &locked)?,
        byproducts: [(file_name(&list), digest(&list)?)].into(),
        subjects,
    };
    let record = record_file(image);
    write_json(&record, &statement.to_json())?;
    println!("{}: {} subjects", record.display(), statement.subjects.len());
    println!("{}: {} components", list.display(), components["components"].as_array().map_or(0, Vec::len));
    Ok(())
}

/// The archive beside an image of the larger disk for Compute Engine, when it is there and has the same parts.
fn cloudboot_archive(image: &Path, parts: &Parts) -> Option<(String, Sha)> {
    let archive = image.with_file_name(CLOUDBOOT_ARCHIVE);
    if !archive.exists() {
        return None;
    }
    match read(&archive) {
        Ok((name, sha, found)) if found == *parts => return Some((name, sha)),
        Ok(_) => println!("{} is not of this build, and left out", archive.display()),
        Err(error) => println!("{} is left out: {error:#}", archive.display()),
    }
    None
}

/// Checks an image, raw or packaged, against a record, and prints every difference.
pub fn verify(image: &Path, record: &Path) -> Result<ExitCode> {
    let problems = problems(image, record)?;
    for problem in &problems {
        println!("{problem}");
    }
    if problems.is_empty() {
        println!("{} is what {} says", image.display(), record.display());
        return Ok(ExitCode::SUCCESS);
    }
    let count = problems.len();
    let differences = if count == 1 { "difference" } else { "differences" };
    println!("{}: {count} {differences} from {}", image.display(), record.display());
    Ok(ExitCode::FAILURE)
}

/// Every difference of an image, and of the list of components beside the record, from the record.
pub fn problems(image: &Path, record: &Path) -> Result<Vec<String>> {
    let claims = read_record(record)?;
    differences(&claims, &read(image)?, &list_file(record))
}

fn read_record(record: &Path) -> Result<Claims> {
    let text = std::fs::read_to_string(record).with_context(|| record.display().to_string())?;
    Claims::read(&text)
}

fn differences(claims: &Claims, (name, sha, parts): &Image, list: &Path) -> Result<Vec<String>> {
    let mut problems = compare::compare(claims, name, sha, parts);
    if list.exists() {
        problems.extend(compare::compare_byproduct(claims, &file_name(list), &digest(list)?));
    }
    Ok(problems)
}

/// An image's name, its hash, and the parts of the disk in it.
type Image = (String, Sha, Parts);

fn read(image: &Path) -> Result<Image> {
    let name = file_name(image);
    let progress =
        &mut Progress::new(format!("reading {name}"), image.metadata().map_or(0, |data| data.len()));
    let disk = cloud::open(form(&name), image, progress).with_context(|| image.display().to_string())?;
    let parts = contents::read(&*disk).with_context(|| image.display().to_string())?;
    Ok((name, digest(image)?, parts))
}

/// The form of a file, by its name; what has none of the names is a raw disk.
fn form(name: &str) -> Form {
    match name.rsplit_once('.') {
        Some((_, "gz")) => Form::GcpArchive,
        Some((_, "vhd")) => Form::AwsVhd,
        Some((_, "vmdk")) => Form::AwsVmdk,
        _ => Form::AwsRaw,
    }
}

/// Components that are in no list of crates: what was built here, the boot loader, and Rust's own library.
fn own_components(parts: &Parts, build: &Build<'_>) -> Result<Vec<Value>> {
    let mut list = Vec::new();
    for (name, sha) in parts {
        let Some(short) = contents::built_here(name) else { continue };
        list.push(json!({
            "type": "application",
            "bom-ref": components::reference(short),
            "name": short,
            "version": env!("CARGO_PKG_VERSION"),
            "scope": "required",
            "hashes": [{ "alg": "SHA-256", "content": hex(sha) }],
            "licenses": [{ "license": { "id": "Apache-2.0" } }],
        }));
    }
    let (name, licence) = match build.loader {
        Loader::Grub => ("GRUB", "GPL-3.0-or-later"),
        Loader::Limine => ("Limine", "BSD-2-Clause"),
    };
    let version = materials::version(&loader_tool(build.loader));
    let loader = parts.get("esp/EFI/BOOT/BOOTX64.EFI").context("the image has no UEFI boot loader")?;
    list.push(json!({
        "type": "firmware",
        "bom-ref": format!("boot-loader/{name}"),
        "name": name,
        "version": version.unwrap_or_else(|| "unknown".into()),
        "scope": "required",
        "hashes": [{ "alg": "SHA-256", "content": hex(loader) }],
        "licenses": [{ "expression": licence }],
    }));
    list.push(json!({
        "type": "library",
        "bom-ref": "rust/core",
        "name": "Rust core and alloc libraries",
        "version": materials::version(build.compiler).unwrap_or_else(|| "unknown".into()),
        "scope": "required",
        "licenses": [{ "expression": "MIT OR Apache-2.0" }],
    }));
    Ok(list)
}

/// Where the record of an image is: beside it.
pub fn record_file(image: &Path) -> PathBuf {
    image.with_extension("provenance.json")
}

/// Where the list of components is that belongs to a record.
fn list_file(record: &Path) -> PathBuf {
    // The name's last two parts are the record's.
    record.with_extension("").with_extension("cdx.json")
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn write_json(file: &Path, value: &Value) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    package::write(file, text.as_bytes())
}
