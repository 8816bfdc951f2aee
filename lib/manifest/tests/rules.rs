//! Every rule has a tiny invalid manifest that is named for it and holds the exact message that it must give.

use capos_manifest::{Fault, Manifest, Problem, Surroundings, read_message};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The machine that the tests check against: 64 MiB, and these binaries.
const SURROUNDINGS: Surroundings<'_> =
    Surroundings { frames: 16_384, binaries: Some(&["a", "b", "c", "d", "driver", "stack", "virtio-net"]) };

/// Rules that Cap'n Proto's own text cannot break; see `messages.rs`.
const BINARY_ONLY: [&str; 4] = ["malformed", "not-text", "unknown-value", "text-too-long"];

#[test]
fn each_invalid_manifest_gives_its_exact_message() {
    let mut covered = BTreeSet::from(BINARY_ONLY);
    for file in files("invalid") {
        let stem = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let source = fs::read_to_string(&file).unwrap();
        let expected: Vec<&str> = source.lines().filter_map(|line| line.strip_prefix("# error: ")).collect();
        let problems = read(&file).expect_err(&stem);
        assert_eq!(messages(&problems), expected, "{stem}");
        for problem in &problems {
            let rule = rule(&problem.fault);
            assert!(stem.contains(rule), "{stem} is not named for the rule {rule}");
            covered.insert(rule);
        }
    }
    let missing: Vec<&&str> = RULES.iter().filter(|rule| !covered.contains(**rule)).collect();
    assert!(missing.is_empty(), "rules without an invalid manifest: {missing:?}");
}

#[test]
fn valid_manifests_pass() {
    for file in files("valid") {
        if let Err(problems) = read(&file) {
            panic!("{}: {:?}", file.display(), messages(&problems));
        }
    }
}

#[test]
fn an_entry_without_a_binary_name_takes_its_own() {
    let manifest = read(&folder("valid").join("diamond.capnp")).unwrap();
    assert_eq!(manifest.entries[3].binary, "d");
}

#[test]
fn unknown_binaries_are_left_to_who_passes_no_list() {
    let file = folder("invalid").join("binary-unknown.capnp");
    let surroundings = Surroundings { binaries: None, ..SURROUNDINGS };
    assert!(read_message(&compile(&file), &surroundings).is_ok());
}

fn messages(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(kind)
}

fn files(kind: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder(kind)).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn read(file: &Path) -> Result<Manifest, Vec<Problem>> {
    read_message(&compile(file), &SURROUNDINGS)
}

fn compile(file: &Path) -> Vec<u8> {
    // From the root: `capnp` follows no import out of the folder it was started in.
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new("capnp")
        .args(["eval", "--binary"])
        .arg(file.canonicalize().unwrap())
        .arg("manifest")
        .current_dir(root.canonicalize().unwrap())
        .output()
        .expect("the `capnp` command is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// All names that [`rule`] gives.
const RULES: [&str; 42] = [
    "malformed",
    "not-text",
    "unknown-value",
    "text-too-long",
    "too-many",
    "no-entries",
    "name-empty",
    "name-invalid",
    "name-reserved",
    "name-twice",
    "binary-name-invalid",
    "binary-reserved",
    "binary-unknown",
    "value-too-long",
    "value-control-character",
    "priority",
    "frames",
    "handles",
    "threads",
    "memory",
    "dma-mode-without-pages",
    "dma-pages-without-mode",
    "process-unknown",
    "export-unknown",
    "own-export",
    "cycle",
    "devices-without-vendor",
    "matches-everything",
    "class",
    "device-twice",
    "ports-empty",
    "ports-past-end",
    "ports-twice",
    "isa-line",
    "isa-line-twice",
    "restart-maximum",
    "restart-window",
    "restart-back-off",
    "heartbeat",
    "provider-optional",
    "provider-never",
    "too-many-entries",
];

/// The name of the rule that a fault breaks. Exhaustive, so that a new rule cannot go without a manifest.
fn rule(fault: &Fault) -> &'static str {
    match fault {
        Fault::Malformed(_) => "malformed",
        Fault::NotText(_) => "not-text",
        Fault::Unknown { .. } => "unknown-value",
        Fault::TextTooLong { .. } => "text-too-long",
        Fault::TooMany { what: "entries", .. } => "too-many-entries",
        Fault::TooMany { .. } => "too-many",
        Fault::NoEntries => "no-entries",
        Fault::NameEmpty => "name-empty",
        Fault::NameInvalid(_) => "name-invalid",
        Fault::NameReserved(_) => "name-reserved",
        Fault::NameTwice(_) => "name-twice",
        Fault::BinaryNameInvalid(_) => "binary-name-invalid",
        Fault::BinaryReserved(_) => "binary-reserved",
        Fault::BinaryUnknown(_) => "binary-unknown",
        Fault::ValueTooLong(_) => "value-too-long",
        Fault::ValueControlCharacter(_) => "value-control-character",
        Fault::Priority(_) => "priority",
        Fault::Frames(_) => "frames",
        Fault::Handles { .. } => "handles",
        Fault::Threads(_) => "threads",
        Fault::Memory { .. } => "memory",
        Fault::DmaModeWithoutPages(_) => "dma-mode-without-pages",
        Fault::DmaPagesWithoutMode(_) => "dma-pages-without-mode",
        Fault::ProcessUnknown(_) => "process-unknown",
        Fault::ExportUnknown { .. } => "export-unknown",
        Fault::OwnExport(_) => "own-export",
        Fault::Cycle(_) => "cycle",
        Fault::DevicesWithoutVendor => "devices-without-vendor",
        Fault::MatchesEverything => "matches-everything",
        Fault::Class(_) => "class",
        Fault::DeviceTwice { .. } => "device-twice",
        Fault::PortsEmpty(_) => "ports-empty",
        Fault::PortsPastEnd(_) => "ports-past-end",
        Fault::PortsTwice { .. } => "ports-twice",
        Fault::IsaLine(_) => "isa-line",
        Fault::IsaLineTwice { .. } => "isa-line-twice",
        Fault::RestartMaximum(_) => "restart-maximum",
        Fault::RestartWindow => "restart-window",
        Fault::RestartBackOff(_) => "restart-back-off",
        Fault::Heartbeat(_) => "heartbeat",
        Fault::ProviderOptional(_) => "provider-optional",
        Fault::ProviderNever(_) => "provider-never",
    }
}
