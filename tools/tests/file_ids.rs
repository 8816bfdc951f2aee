//! Every Cap'n Proto file of the repository has an id of its own. The compiler does not look at files that are not imported
//! together, and a copied id makes two files' types one as soon as they are.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// All `.capnp` files below a folder, but for what was built or is hidden.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder can be read") {
        let entry = entry.expect("a folder can be read");
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type().expect("an entry has a type").is_dir() {
            if name != "target" && !name.to_string_lossy().starts_with('.') {
                files(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "capnp") {
            found.push(path);
        }
    }
}

/// The id in the one line that states it.
fn id(text: &str) -> Option<u64> {
    let mut ids = text.lines().filter_map(|line| line.strip_prefix("@0x")?.trim_end().strip_suffix(';'));
    let first = ids.next()?;
    u64::from_str_radix(first, 16).ok().filter(|_| ids.next().is_none())
}

#[test]
fn every_file_has_an_id_of_its_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    files(&root, &mut found);
    found.sort();
    let mut by_id: BTreeMap<Option<u64>, Vec<String>> = BTreeMap::new();
    for path in &found {
        let text = fs::read_to_string(path).expect("a file can be read");
        let name = path.strip_prefix(&root).expect("below the root").display().to_string();
        by_id.entry(id(&text)).or_default().push(name);
    }
    assert!(by_id.values().flatten().any(|name| name == "schema/manifest.capnp"), "{found:?}");
    assert_eq!(by_id.remove(&None), None, "files without one line that is an id");
    let shared: Vec<String> = by_id
        .into_iter()
        .filter(|(_, names)| names.len() > 1)
        .map(|(id, names)| format!("@{:#x}: {}", id.unwrap_or_default(), names.join(", ")))
        .collect();
    assert!(shared.is_empty(), "files with the same id:\n{}", shared.join("\n"));
}
