//! The functions that the linker scripts name are functions of the built programs: a list that has gone stale would
//! cost time without a word.

use std::{collections::BTreeSet, fs, path::PathBuf};

use elf::{ElfBytes, abi, endian::LittleEndian};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where the programs of a target are. Make names the folder of builds from the root.
fn built(target: &str) -> PathBuf {
    let folder = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    root().join(folder).join(target).join("release")
}

/// The patterns of one script's sections of functions, without the one that takes all the rest.
fn patterns(script: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(script)).expect("the script can be read");
    let words = text.split(|character: char| character.is_whitespace() || "()".contains(character));
    words
        .filter_map(|word| word.strip_prefix(".text."))
        .filter(|pattern| !matches!(*pattern, "*" | "hot"))
        .map(str::to_owned)
        .collect()
}

/// Names of the functions of all programs in a folder.
fn functions(folder: &PathBuf) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let entries = fs::read_dir(folder).expect("the programs are built: make build");
    for entry in entries {
        let path = entry.expect("a folder can be read").path();
        if path.is_file()
            && let Ok(bytes) = fs::read(&path)
            && let Ok(file) = ElfBytes::<LittleEndian>::minimal_parse(&bytes)
            && let Ok(Some((symbols, names))) = file.symbol_table()
        {
            let functions = symbols.iter().filter(|symbol| symbol.st_symtype() == abi::STT_FUNC);
            found.extend(
                functions.filter_map(|symbol| names.get(symbol.st_name as usize).ok()).map(str::to_owned),
            );
        }
    }
    assert!(!found.is_empty(), "no program in {}: make build", folder.display());
    found
}

/// Whether a name has the parts of a pattern, between its stars, in order.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    rest.ends_with(last)
}

#[test]
fn patterns_match_as_the_linker_has_it() {
    assert!(matches("memcpy", "memcpy") && !matches("memcpy", "memcpy2") && !matches("memcpy", "a_memcpy"));
    assert!(matches("*2rt*4poll*", "_RNvMNtCsb_2rt6signalNtB2_9SignalSet4poll"));
    assert!(!matches("*4poll*2rt*", "_RNvMNtCsb_2rt6signalNtB2_9SignalSet4poll"));
    assert!(matches("*2rt*4poll", "_2rt_4poll") && !matches("*2rt*4poll", "_2rt_4poll_1"));
}

/// One compiler inlines what another one does not, so some of the lines may be without a function.
fn assert_current(script: &str, target: &str) {
    let (patterns, functions) = (patterns(script), functions(&built(target)));
    let stale: Vec<_> =
        patterns.iter().filter(|pattern| !functions.iter().any(|name| matches(pattern, name))).collect();
    assert!(patterns.len() >= 10, "{script} names functions");
    assert!(stale.len() * 10 <= patterns.len(), "{script}: no program has {stale:#?}");
}

#[test]
fn the_programs_order_is_current() {
    assert_current("targets/hot.ld", "x86_64-capos");
}

#[test]
fn the_kernels_order_is_current() {
    assert_current("kernel/linker.ld", "x86_64-unknown-none");
}
