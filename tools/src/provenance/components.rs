//! The list of components: CycloneDX 1.5 [CycloneDX 1.5 JSON Reference]. What is in the image has the scope `required`;
//! what only builds it or runs on the host, `excluded`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    contents::{Parts, Sha, built_here},
    crates::{Key, Kinds, Metadata, Reach, text},
    lock::Locked,
};
use crate::cloud::hex;

/// The target of the kernel; the user programs' differs from it in nothing that a dependency asks for.
const TARGET: &str = "x86_64-unknown-none";

/// What others refer to a program of this repository by.
pub fn reference(program: &str) -> String {
    format!("capos/{program}")
}

/// What a disk is made of, as JSON. `others` are components that are not crates.
pub fn list_components(
    root: &Path,
    locked: &[Locked],
    parts: &Parts,
    image: (&str, &Sha),
    others: Vec<Value>,
) -> Result<Value> {
    let metadata = Metadata::read(root, None)?;
    let for_target = Metadata::read(root, Some(TARGET))?;
    let programs: BTreeSet<&str> = parts.keys().filter_map(|part| built_here(part)).collect();
    let inside: BTreeSet<Key> =
        programs.iter().flat_map(|program| for_target.in_program(program, Reach::All)).collect();
    let packages = metadata.packages();
    let (name, sha) = image;
    let contains: Vec<Value> = others.iter().map(|component| component["bom-ref"].clone()).collect();
    let mut dependencies = vec![json!({ "ref": name, "dependsOn": contains })];
    let mut components = others;
    let purls: BTreeMap<Key, String> = locked.iter().map(|locked| (locked.key(), locked.purl())).collect();
    for locked in locked {
        let package = packages.get(&locked.key());
        let package = package.with_context(|| format!("cargo does not know {}", locked.purl()))?;
        components.push(component(locked, package, inside.contains(&locked.key())));
    }
    let known = |keys: &BTreeSet<Key>| keys.iter().filter_map(|key| purls.get(key)).collect::<Vec<_>>();
    for program in programs {
        let first = for_target.in_program(program, Reach::First);
        dependencies.push(json!({ "ref": reference(program), "dependsOn": known(&first) }));
    }
    for (from, on) in metadata.edges(Kinds::All) {
        if let Some(from) = purls.get(&from) {
            dependencies.push(json!({ "ref": from, "dependsOn": known(&on) }));
        }
    }
    // The same disk has the same list, and so the same number.
    let serial = Uuid::new_v8(sha.first_chunk().copied().unwrap_or_default());
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": format!("urn:uuid:{serial}"),
        "version": 1,
        "metadata": {
            "component": {
                "type": "operating-system",
                "bom-ref": name,
                "name": name,
                "version": env!("CARGO_PKG_VERSION"),
                "hashes": [{ "alg": "SHA-256", "content": hex(sha) }],
                "licenses": [{ "license": { "id": "Apache-2.0" } }],
            },
            "tools": { "components": [
                { "type": "application", "name": "capos-tools", "version": env!("CARGO_PKG_VERSION") },
            ] },
        },
        "components": components,
        "dependencies": dependencies,
    }))
}

fn component(locked: &Locked, package: &Value, inside: bool) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": locked.purl(),
        "name": locked.name,
        "version": locked.version,
        "purl": locked.purl(),
        "scope": if inside { "required" } else { "excluded" },
    });
    if let Some(checksum) = &locked.checksum {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    if let Some(licence) = text(package, "license") {
        component["licenses"] = json!([{ "expression": expression(licence) }]);
    }
    if let Some(repository) = text(package, "repository") {
        component["externalReferences"] = json!([{ "type": "vcs", "url": repository }]);
    }
    component
}

/// A licence as SPDX writes it: older packages put a slash between alternatives.
fn expression(licence: &str) -> String {
    licence.split('/').map(str::trim).collect::<Vec<_>>().join(" OR ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licences_are_expressions() {
        assert_eq!(expression("MIT/Apache-2.0"), "MIT OR Apache-2.0");
        assert_eq!(expression("(MIT OR Apache-2.0) AND Unicode-3.0"), "(MIT OR Apache-2.0) AND Unicode-3.0");
    }
}
