//! Records and images that somebody has changed.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    Image, cloudboot_archive, differences, list_file, problems, read, read_record, record_file,
    statement::Statement, write_json,
};
use crate::{
    cloud::{Form, digest, package_form},
    image::{Mebibytes, write_example},
};

/// An image with a record beside it.
struct Example {
    folder: TempDir,
    image: PathBuf,
    /// What is in the image.
    contents: Image,
}

impl Example {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let image = folder.path().join("capos-image.raw");
        let package = crate::package::example(&["init", "netstack"]).expect("a package");
        let added = vec![("boot/package", package), ("boot/grub/grub.cfg", b"boot".to_vec())];
        write_example(Mebibytes(133), added, &image).expect("an image");
        let contents = read(&image).expect("a disk");
        let (name, sha, mut subjects) = contents.clone();
        let example = Self { folder, image, contents };
        write_json(&example.list(), &json!({ "components": [] })).expect("a list");
        subjects.insert(name, sha);
        for form in Form::ALL {
            let file = example.folder.path().join(form.file_name());
            package_form(form, &example.image, &file).expect("packaged");
            subjects.insert(form.file_name().into(), digest(&file).expect("a hash"));
        }
        let byproducts = [("capos-image.cdx.json".into(), digest(&example.list()).expect("a hash"))].into();
        let statement = Statement { subjects, parameters: json!({}), materials: Vec::new(), byproducts };
        write_json(&example.record(), &statement.to_json()).expect("a record");
        example
    }

    fn record(&self) -> PathBuf {
        record_file(&self.image)
    }

    fn list(&self) -> PathBuf {
        list_file(&self.record())
    }

    /// What is said of an image.
    fn verdict(&self, image: &Path) -> Vec<String> {
        problems(image, &self.record()).unwrap_or_else(|error| vec![format!("{error:#}")])
    }

    /// What is said after a change of the record.
    fn with_record(&self, change: impl FnOnce(&mut Value)) -> Vec<String> {
        let good = std::fs::read_to_string(self.record()).expect("a record");
        let mut record = serde_json::from_str(&good).expect("JSON");
        change(&mut record);
        write_json(&self.record(), &record).expect("written");
        let verdict = read_record(&self.record())
            .and_then(|claims| differences(&claims, &self.contents, &self.list()))
            .unwrap_or_else(|error| vec![format!("{error:#}")]);
        std::fs::write(self.record(), good).expect("written");
        verdict
    }
}

/// The entry of a subject in a record.
fn subject<'a>(record: &'a mut Value, name: &str) -> &'a mut Value {
    let subjects = record["subject"].as_array_mut().expect("a list");
    subjects.iter_mut().find(|subject| subject["name"] == name).expect("there")
}

const WRONG: &str = "0000000000000000000000000000000000000000000000000000000000000000";

#[test]
fn an_image_and_all_its_forms_are_as_recorded() {
    let example = Example::new();
    assert_eq!(example.verdict(&example.image), [""; 0]);
    for form in Form::ALL {
        assert_eq!(example.verdict(&example.folder.path().join(form.file_name())), [""; 0], "{form:?}");
    }
    let renamed = example.folder.path().join("renamed.raw");
    std::fs::rename(&example.image, &renamed).expect("renamed");
    assert_eq!(example.verdict(&renamed), [""; 0]);
}

/// A change of a record, and the exact message that it must give.
type Fixture<'a> = (fn(&mut Value), &'a str);

/// Records that are refused as a whole.
#[test]
fn what_is_no_record_is_refused() {
    let example = Example::new();
    let table: [Fixture<'_>; 8] = [
        (
            |record| record["_type"] = json!("x"),
            "the record's _type is x, not https://in-toto.io/Statement/v1",
        ),
        (
            |record| record["predicateType"] = json!("x"),
            "the record's predicateType is x, not https://slsa.dev/provenance/v1",
        ),
        (
            |record| record["predicate"]["buildDefinition"]["buildType"] = json!("x"),
            "the record's buildType is x",
        ),
        (|record| record["subject"] = json!(1), "the record has no list \"subject\""),
        (|record| record["subject"][0]["name"] = json!(1), "an entry of \"subject\" has no name"),
        (|record| record["subject"][0]["digest"] = json!({}), "bios-boot has no sha256 in the record"),
        (
            |record| record["subject"][0]["digest"]["sha256"] = json!("ab"),
            "the sha256 of bios-boot in the record is \"ab\"",
        ),
        (|record| record["subject"][1]["name"] = json!("bios-boot"), "bios-boot is in the record twice"),
    ];
    for (change, message) in table {
        assert_eq!(example.with_record(change), [message]);
    }
    std::fs::write(example.record(), "{").expect("written");
    let verdict = example.verdict(&example.image);
    assert!(verdict.iter().all(|line| line.starts_with("the record is not JSON")), "{verdict:?}");
}

/// Records that say something else than the image is.
#[test]
fn each_difference_has_its_sentence() {
    let example = Example::new();
    let sha = |name: &str| crate::cloud::hex(&example.contents.2[name]);
    let table = [
        ("esp/boot/kernel", "the kernel"),
        ("esp/boot/package", "the boot package"),
        ("esp/EFI/BOOT/BOOTX64.EFI", "the UEFI boot loader"),
        ("boot-code", "the first sector's boot code"),
        ("bios-boot", "the BIOS boot partition"),
        ("manifest", "the manifest"),
        ("program/init", "the program init"),
        ("program/netstack", "the program netstack"),
        ("esp/boot/grub/grub.cfg", "the file /boot/grub/grub.cfg"),
    ];
    for (name, readable) in table {
        let verdict = example.with_record(|record| subject(record, name)["digest"]["sha256"] = json!(WRONG));
        assert_eq!(verdict, [format!("{readable} has sha256 {}; the record says {WRONG}", sha(name))]);
        let verdict = example.with_record(|record| subject(record, name)["name"] = json!("other"));
        assert_eq!(verdict, [format!("the image has {readable}, which the record does not name")]);
    }
    let verdict = example.with_record(|record| {
        let more = json!({ "name": "program/more", "digest": { "sha256": WRONG } });
        record["subject"].as_array_mut().expect("a list").push(more);
    });
    assert_eq!(verdict, ["the record names the program more, which the image does not have"]);
    let image = crate::cloud::hex(&digest(&example.image).expect("a hash"));
    let verdict =
        example.with_record(|record| subject(record, "capos-image.raw")["digest"]["sha256"] = json!(WRONG));
    assert_eq!(verdict, [format!("capos-image.raw has sha256 {image}; the record says {WRONG}")]);
    let verdict = example.with_record(|record| subject(record, "capos-image.raw")["name"] = json!("other"));
    assert_eq!(verdict, [""; 0], "the same file under another name");
}

/// Images that are not what was recorded.
#[test]
fn a_changed_image_is_found() {
    let example = Example::new();
    let file = File::options().read(true).write(true).open(&example.image).expect("there");
    let change = |offset: u64| {
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).expect("read");
        file.write_all_at(&[byte[0] ^ 1], offset).expect("written");
    };
    // Of the data partition only the whole file's hash tells.
    change((131 << 20) + 9);
    let verdict = example.verdict(&example.image);
    assert_eq!(verdict.len(), 1, "{verdict:?}");
    assert!(verdict[0].starts_with("capos-image.raw has sha256 "), "{verdict:?}");
    change((131 << 20) + 9);
    // The boot code tells by itself too.
    change(100);
    let verdict = example.verdict(&example.image);
    assert_eq!(verdict.len(), 2, "{verdict:?}");
    assert!(verdict[0].starts_with("the first sector's boot code has sha256 "), "{verdict:?}");
    change(100);
    // A program: its hash in the package is wrong then, whatever the record says.
    let bytes = std::fs::read(&example.image).expect("read");
    let program = b"program netstack";
    let position = bytes.windows(program.len()).position(|part| part == program).expect("there");
    change(position as u64);
    let verdict = example.verdict(&example.image);
    assert_eq!(verdict.len(), 1, "{verdict:?}");
    assert!(
        verdict[0].ends_with("the boot package: the package states another hash of netstack than it has"),
        "{verdict:?}"
    );
    change(position as u64);
    assert_eq!(example.verdict(&example.image), [""; 0], "all is as it was");
    // The list of components beside the record.
    std::fs::write(example.list(), "{}").expect("written");
    let verdict = example.verdict(&example.image);
    assert_eq!(verdict.len(), 1, "{verdict:?}");
    assert!(verdict[0].starts_with("capos-image.cdx.json has sha256 44136fa355"), "{verdict:?}");
}

#[test]
fn an_archive_beside_the_image_is_recorded_when_it_is_of_the_same_build() {
    let example = Example::new();
    let parts = &example.contents.2;
    assert_eq!(cloudboot_archive(&example.image, parts), None);

    let archive = example.folder.path().join("capos-disk.tar.gz");
    package_form(Form::GcpArchive, &example.image, &archive).expect("packaged");
    let expected = ("capos-disk.tar.gz".into(), digest(&archive).expect("a hash"));
    assert_eq!(cloudboot_archive(&example.image, parts), Some(expected));

    let mut others = parts.clone();
    others.remove("boot-code");
    assert_eq!(cloudboot_archive(&example.image, &others), None);
    std::fs::write(&archive, b"no archive").expect("written");
    assert_eq!(cloudboot_archive(&example.image, parts), None);
}
