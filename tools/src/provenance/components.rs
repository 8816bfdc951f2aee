//! The list of components: CycloneDX 1.5 [CycloneDX 1.5 JSON Reference]. What is in the image has the scope `required`;
//! what only builds it or runs on the host, `excluded`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    contents::{Parts, Sha},
    lock::Locked,
};
use crate::cloud::hex;

/// The target of the kernel; the user programs' differs from it in nothing that a dependency asks for.
const TARGET: &str = "x86_64-unknown-none";

/// Packages in every image, by what they build.
const ALWAYS: [&str; 2] = ["kernel", "loader"];

/// What cargo knows of the packages.
struct Metadata(Value);

impl Metadata {
    /// Asks cargo; for one target, if there is one.
    fn read(root: &Path, target: Option<&str>) -> Result<Self> {
        let mut command = Command::new("cargo");
        command.args(["metadata", "--locked", "--format-version", "1"]).current_dir(root);
        if let Some(target) = target {
            command.args(["--filter-platform", target]);
        }
        let output = command.output().context("cannot run cargo")?;
        ensure!(
            output.status.success(),
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(Self(serde_json::from_slice(&output.stdout)?))
    }

    fn packages(&self) -> impl Iterator<Item = &Value> {
        list(&self.0, "/packages")
    }

    /// All packages by their ids.
    fn by_id(&self) -> BTreeMap<&str, &Value> {
        self.packages().filter_map(|package| Some((text(package, "id")?, package))).collect()
    }

    /// What each package depends on: ids, by id. Of `kinds`, `null` is an ordinary dependency.
    fn edges(&self, only_ordinary: Ordinary) -> BTreeMap<&str, Vec<&str>> {
        let mut edges = BTreeMap::new();
        for node in list(&self.0, "/resolve/nodes") {
            let deps = list(node, "/deps").filter(|dep| {
                only_ordinary == Ordinary::OrNot || list(dep, "/dep_kinds").any(|kind| kind["kind"].is_null())
            });
            let ids = deps.filter_map(|dep| text(dep, "pkg")).collect();
            edges.extend(text(node, "id").map(|id| (id, ids)));
        }
        edges
    }
}

/// Whether only ordinary dependencies count, or those of tests and build scripts too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ordinary {
    Only,
    OrNot,
}

fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

/// Name and version, as in `Cargo.lock`.
type Key = (String, String);

fn key(package: &Value) -> Option<Key> {
    Some((text(package, "name")?.into(), text(package, "version")?.into()))
}

/// Whether a package runs in the compiler.
fn is_macro(package: &Value) -> bool {
    list(package, "/targets").any(|target| list(target, "/kind").any(|kind| kind == "proc-macro"))
}

/// The packages whose code is in the image.
fn in_image(metadata: &Metadata, parts: &Parts) -> BTreeSet<Key> {
    let programs: BTreeSet<&str> = parts.keys().filter_map(|part| part.strip_prefix("program/")).collect();
    let builds = |package: &Value| {
        list(package, "/targets")
            .filter(|target| list(target, "/kind").any(|kind| kind == "bin"))
            .filter_map(|target| text(target, "name"))
            .any(|name| programs.contains(name) || ALWAYS.contains(&name))
    };
    let by_id = metadata.by_id();
    let edges = metadata.edges(Ordinary::Only);
    let own = metadata.packages().filter(|package| package["source"].is_null() && builds(package));
    let mut open: Vec<&str> = own.filter_map(|package| text(package, "id")).collect();
    let mut found = BTreeSet::new();
    while let Some(id) = open.pop() {
        let Some(package) = by_id.get(id) else { continue };
        if !is_macro(package) && key(package).is_some_and(|key| found.insert(key)) {
            open.extend(edges.get(id).into_iter().flatten());
        }
    }
    found
}

/// What a disk is made of, as JSON.
pub fn list_components(
    root: &Path,
    locked: &[Locked],
    parts: &Parts,
    image: (&str, &Sha),
    others: Vec<Value>,
) -> Result<Value> {
    let metadata = Metadata::read(root, None)?;
    let inside = in_image(&Metadata::read(root, Some(TARGET))?, parts);
    let described: BTreeMap<Key, &Value> =
        metadata.packages().filter_map(|package| Some((key(package)?, package))).collect();
    let mut components = others;
    for locked in locked {
        let key = (locked.name.clone(), locked.version.clone());
        let package =
            described.get(&key).with_context(|| format!("cargo does not know {}", locked.purl()))?;
        components.push(component(locked, package, inside.contains(&key)));
    }
    let known: BTreeSet<String> = locked.iter().map(Locked::purl).collect();
    let (name, sha) = image;
    let by_id = metadata.by_id();
    let purl = |id: &&str| {
        let package = by_id.get(id)?;
        let key = key(package)?;
        let purl = locked
            .iter()
            .find(|locked| (locked.name.as_str(), locked.version.as_str()) == (&key.0, &key.1))?
            .purl();
        known.contains(&purl).then_some(purl)
    };
    let mut dependencies: Vec<Value> = Vec::new();
    for (id, deps) in metadata.edges(Ordinary::OrNot) {
        if let Some(from) = purl(&id) {
            let on: BTreeSet<String> = deps.iter().filter_map(purl).collect();
            dependencies.push(json!({ "ref": from, "dependsOn": on }));
        }
    }
    let first: Vec<&Value> =
        components.iter().filter(|part| part["scope"] == "required").map(|part| &part["bom-ref"]).collect();
    dependencies.push(json!({ "ref": name, "dependsOn": first }));
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

    fn package(name: &str, kind: &str, source: Option<&str>) -> Value {
        json!({
            "id": name, "name": name, "version": "1.0.0", "source": source,
            "targets": [{ "name": name, "kind": [kind] }],
        })
    }

    #[test]
    fn only_what_runs_inside_is_in_the_image() {
        let dep = |name: &str, kind: Option<&str>| json!({ "pkg": name, "dep_kinds": [{ "kind": kind }] });
        let metadata = Metadata(json!({
            "packages": [
                package("kernel", "bin", None), package("loader", "bin", None), package("netstack", "bin", None),
                package("other-service", "bin", None), package("smoltcp", "lib", Some("r")),
                package("derive", "proc-macro", Some("r")), package("syn", "lib", Some("r")),
                package("capnpc", "lib", Some("r")), package("unused", "lib", Some("r")),
            ],
            "resolve": { "nodes": [
                { "id": "netstack", "deps": [dep("smoltcp", None), dep("derive", None), dep("capnpc", Some("build"))] },
                { "id": "derive", "deps": [dep("syn", None)] },
                { "id": "other-service", "deps": [dep("unused", None)] },
            ] },
        }));
        let parts = Parts::from([("program/netstack".into(), [0; 32]), ("manifest".into(), [0; 32])]);
        let names: Vec<String> = in_image(&metadata, &parts).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["kernel", "loader", "netstack", "smoltcp"]);
    }
}
