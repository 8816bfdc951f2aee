//! What cargo knows of the packages and of what they depend on.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Name and version, as in `Cargo.lock`.
pub type Key = (String, String);

/// What cargo says, all together.
pub struct Metadata(Value);

/// Which dependencies count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kinds {
    /// Those whose code becomes a part of the package.
    Ordinary,
    /// Those of tests and build scripts too.
    All,
}

impl Metadata {
    /// Asks cargo; for one target, if there is one.
    pub fn read(root: &Path, target: Option<&str>) -> Result<Self> {
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

    /// All packages, with what describes each.
    pub fn packages(&self) -> BTreeMap<Key, &Value> {
        list(&self.0, "/packages").filter_map(|package| Some((key(package)?, package))).collect()
    }

    /// What each package depends on.
    pub fn edges(&self, kinds: Kinds) -> BTreeMap<Key, BTreeSet<Key>> {
        let by_id: BTreeMap<&str, Key> = list(&self.0, "/packages")
            .filter_map(|package| Some((text(package, "id")?, key(package)?)))
            .collect();
        let counts =
            |dep: &&Value| kinds == Kinds::All || list(dep, "/dep_kinds").any(|kind| kind["kind"].is_null());
        let mut edges = BTreeMap::new();
        for node in list(&self.0, "/resolve/nodes") {
            let Some(from) = text(node, "id").and_then(|id| by_id.get(id)) else { continue };
            let deps = list(node, "/deps").filter(counts);
            let deps = deps.filter_map(|dep| by_id.get(text(dep, "pkg")?).cloned()).collect();
            edges.insert(from.clone(), deps);
        }
        edges
    }

    /// The crates of others whose code is in a program of this repository: those that it and this repository's
    /// crates in it name, and with `Reach::All` what these need in turn.
    pub fn in_program(&self, program: &str, reach: Reach) -> BTreeSet<Key> {
        let packages = self.packages();
        let edges = self.edges(Kinds::Ordinary);
        let builds = |package: &Value| {
            list(package, "/targets")
                .filter(|target| list(target, "/kind").any(|kind| kind == "bin"))
                .any(|target| text(target, "name") == Some(program))
        };
        let own = packages.iter().filter(|(_, package)| is_own(package) && builds(package));
        let mut open: Vec<&Key> = own.map(|(key, _)| key).collect();
        let mut seen = BTreeSet::new();
        let mut found = BTreeSet::new();
        while let Some(key) = open.pop() {
            let Some(package) = packages.get(key) else { continue };
            // What runs in the compiler is in no program.
            if is_macro(package) || !seen.insert(key) {
                continue;
            }
            if !is_own(package) {
                found.insert(key.clone());
            }
            if is_own(package) || reach == Reach::All {
                open.extend(edges.get(key).into_iter().flatten());
            }
        }
        found
    }
}

/// How far to look.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// To the first crate of others.
    First,
    /// To the end.
    All,
}

/// A field that is text.
pub fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn key(package: &Value) -> Option<Key> {
    Some((text(package, "name")?.into(), text(package, "version")?.into()))
}

fn is_own(package: &Value) -> bool {
    package["source"].is_null()
}

fn is_macro(package: &Value) -> bool {
    list(package, "/targets").any(|target| list(target, "/kind").any(|kind| kind == "proc-macro"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(name: &str, kind: &str, source: Option<&str>) -> Value {
        json!({
            "id": format!("id of {name}"), "name": name, "version": "1.0.0", "source": source,
            "targets": [{ "name": name, "kind": [kind] }],
        })
    }

    fn node(name: &str, deps: &[(&str, Option<&str>)]) -> Value {
        let dep = |(name, kind): &(&str, Option<&str>)| json!({ "pkg": format!("id of {name}"), "dep_kinds": [{ "kind": kind }] });
        json!({ "id": format!("id of {name}"), "deps": deps.iter().map(dep).collect::<Vec<_>>() })
    }

    fn names(keys: BTreeSet<Key>) -> Vec<String> {
        keys.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn only_what_runs_inside_is_in_a_program() {
        let theirs = Some("registry");
        let metadata = Metadata(json!({
            "packages": [
                package("netstack", "bin", None), package("other", "bin", None), package("rt", "lib", None),
                package("smoltcp", "lib", theirs), package("managed", "lib", theirs), package("talc", "lib", theirs),
                package("derive", "proc-macro", theirs), package("syn", "lib", theirs),
                package("capnpc", "lib", theirs), package("unused", "lib", theirs),
            ],
            "resolve": { "nodes": [
                node("netstack", &[("smoltcp", None), ("rt", None), ("derive", None), ("capnpc", Some("build"))]),
                node("rt", &[("talc", None)]),
                node("smoltcp", &[("managed", None)]),
                node("derive", &[("syn", None)]),
                node("other", &[("unused", None)]),
            ] },
        }));
        assert_eq!(names(metadata.in_program("netstack", Reach::All)), ["managed", "smoltcp", "talc"]);
        assert_eq!(names(metadata.in_program("netstack", Reach::First)), ["smoltcp", "talc"]);
        assert_eq!(names(metadata.in_program("nothing", Reach::All)), [""; 0]);
    }
}
