//! Compares what there is with what a record says.

use super::{
    contents::{Parts, Sha},
    statement::Claims,
};
use crate::cloud::hex;

/// Every difference of a disk's file and its parts from the record, each as a sentence; none if all is as recorded.
pub fn compare(claims: &Claims, file: &str, sha: &Sha, parts: &Parts) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, sha) in parts {
        let readable = readable(name);
        match claims.subjects.get(name) {
            None => problems.push(format!("the image has {readable}, which the record does not name")),
            Some(stated) if *stated != hex(sha) => {
                problems.push(format!("{readable} has sha256 {}; the record says {stated}", hex(sha)));
            }
            Some(_) => {}
        }
    }
    for name in claims.subjects.keys().filter(|name| is_part(name) && !parts.contains_key(*name)) {
        problems.push(format!("the record names {}, which the image does not have", readable(name)));
    }
    match claims.subjects.get(file) {
        Some(stated) if *stated == hex(sha) => {}
        Some(stated) => problems.push(format!("{file} has sha256 {}; the record says {stated}", hex(sha))),
        // A file may have another name than the one that it was built with.
        None if claims.subjects.iter().any(|(name, stated)| !is_part(name) && *stated == hex(sha)) => {}
        None => problems.push(format!("{file} has sha256 {}, which no file of the record has", hex(sha))),
    }
    problems
}

/// Compares the list of components with the record's.
pub fn compare_byproduct(claims: &Claims, name: &str, sha: &Sha) -> Option<String> {
    match claims.byproducts.get(name) {
        Some(stated) if *stated == hex(sha) => None,
        Some(stated) => Some(format!("{name} has sha256 {}; the record says {stated}", hex(sha))),
        None => Some(format!("the record does not name {name}")),
    }
}

/// Whether a subject is a part of the image and not a file of its own.
fn is_part(name: &str) -> bool {
    matches!(name, "boot-code" | "bios-boot" | "manifest")
        || name.starts_with("esp/")
        || name.starts_with("program/")
}

/// A part's name for people.
fn readable(name: &str) -> String {
    match name {
        "boot-code" => "the first sector's boot code".into(),
        "bios-boot" => "the BIOS boot partition".into(),
        "manifest" => "the manifest".into(),
        "esp/boot/kernel" => "the kernel".into(),
        "esp/boot/package" => "the boot package".into(),
        "esp/EFI/BOOT/BOOTX64.EFI" => "the UEFI boot loader".into(),
        other => match other.split_once('/') {
            Some(("program", name)) => format!("the program {name}"),
            Some((_, path)) => format!("the file /{path}"),
            None => other.into(),
        },
    }
}
