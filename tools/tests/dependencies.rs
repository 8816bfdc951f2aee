//! `docs/dependencies.md` names every dependency, and nothing that is not one.

use std::{collections::BTreeSet, fs, path::Path};

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names in code type in the first cell of each row whose header's first cell is `header`.
fn listed(header: &str) -> BTreeSet<String> {
    let text = read("docs/dependencies.md");
    let mut names = BTreeSet::new();
    let mut inside = false;
    for line in text.lines() {
        let Some(row) = line.strip_prefix("| ") else {
            inside = inside && line.starts_with('|');
            continue;
        };
        let cell = row.split(" | ").next().unwrap_or_default();
        if cell == header {
            inside = true;
        } else if inside {
            names.extend(cell.split('`').skip(1).step_by(2).map(String::from));
        }
    }
    names
}

#[test]
fn every_crate_is_listed() {
    let manifest = read("Cargo.toml");
    let section = manifest.split("[workspace.dependencies]").nth(1).and_then(|rest| rest.split("\n[").next());
    let lines = section.expect("the section").lines();
    // Dependencies with a path are the repository's own.
    let mut used: BTreeSet<String> = lines
        .filter(|line| !line.contains("path = "))
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name.to_owned()))
        .collect();
    // The fuzz targets are workspaces of their own.
    used.insert("libfuzzer-sys".into());
    assert_eq!(listed("crate"), used);
}

#[test]
fn every_package_that_is_installed_is_listed() {
    let script = read("tools/setup/setup.sh");
    let list = script.split("<<'END'\n").nth(1).and_then(|rest| rest.split("\nEND").next());
    let mut installed: BTreeSet<String> = list
        .expect("the list")
        .lines()
        .filter_map(|line| line.split_whitespace().last().map(String::from))
        .collect();
    let compiler = read("tools/setup/compiler.sh");
    for package in ["rustc-web", "rust-web-src", "rust-web-clippy"] {
        assert!(compiler.contains(package), "{package} is no longer installed");
        installed.insert(package.into());
    }
    assert_eq!(listed("Debian package"), installed);
}
