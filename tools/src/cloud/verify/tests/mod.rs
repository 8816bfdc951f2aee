//! Good files of every form, and one broken file for each rule.

mod archive;
mod disk;
mod vhd;
mod vmdk;

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::LazyLock,
};

use tempfile::TempDir;

use super::{
    super::{Form, package_form},
    check,
};
use crate::image::layout::Mebibytes;

/// A disk and all forms of it, made once.
struct Example {
    folder: TempDir,
    source: PathBuf,
}

static EXAMPLE: LazyLock<Example> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("source.raw");
    crate::image::write_example(Mebibytes(133), Vec::new(), &source).expect("a disk");
    for form in Form::ALL {
        package_form(form, &source, &folder.path().join(form.file_name())).expect("packaged");
    }
    Example { folder, source }
});

/// Changes of each form.
const ROUNDS: usize = 40;

fn good(form: Form) -> PathBuf {
    EXAMPLE.folder.path().join(form.file_name())
}

/// What the check says of a file.
fn verdict(form: Form, file: &std::path::Path) -> String {
    match check(form, file, &EXAMPLE.source) {
        Ok(()) => "good".into(),
        Err(error) => format!("{error:#}"),
    }
}

/// A copy of a good file, with its holes, after a change.
fn broken(form: Form, change: impl FnOnce(&File)) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(form.file_name());
    let from = File::open(good(form)).expect("there");
    let length = from.metadata().expect("there").len();
    let file = File::options().read(true).write(true).create_new(true).open(&path).expect("created");
    file.set_len(length).expect("long");
    let progress = &mut crate::progress::Progress::new("test", length);
    crate::sparse::copy(&from, &file, 0, progress).expect("copied");
    change(&file);
    (folder, path)
}

fn length(file: &File) -> u64 {
    file.metadata().expect("there").len()
}

fn read<const N: usize>(file: &File, offset: u64) -> [u8; N] {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, offset).expect("read");
    bytes
}

fn put(file: &File, offset: u64, bytes: &[u8]) {
    file.write_all_at(bytes, offset).expect("written");
}

/// A broken file: its name, what is changed, and the exact message that it must give.
type Fixture<'a> = (&'a str, fn(&File), &'a str);

/// Checks a table of broken files, and shows all rows that are wrong.
fn refuse(form: Form, table: &[Fixture<'_>]) {
    let mut wrong = Vec::new();
    for (name, change, message) in table {
        let (_folder, file) = broken(form, change);
        let verdict = verdict(form, &file);
        if verdict != *message {
            wrong.push(format!("{name}: {verdict:?}, not {message:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_was_packaged_is_good() {
    for form in Form::ALL {
        assert_eq!(verdict(form, &good(form)), "good", "{form:?}");
    }
}

#[test]
fn the_same_disk_gives_the_same_files() {
    let folder = tempfile::tempdir().expect("a folder");
    for form in Form::ALL {
        let again = folder.path().join(form.file_name());
        package_form(form, &EXAMPLE.source, &again).expect("packaged");
        assert!(fs::read(&again).expect("read") == fs::read(good(form)).expect("read"), "{form:?} differs");
    }
}

/// Changed bytes anywhere are an error or make no difference to the disk inside; nothing makes the check panic.
#[test]
fn changed_bytes_are_survived() {
    // The seed is fixed, so that a failure comes again [xorshift64, Marsaglia 2003].
    let mut state: u64 = 0x2545_f491_4f6c_dd1d;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for form in [Form::GcpArchive, Form::AwsVhd, Form::AwsVmdk, Form::AwsRaw] {
        let (_folder, path) = broken(form, |_| {});
        let file = File::options().read(true).write(true).open(&path).expect("there");
        let length = length(&file);
        let mut refused = 0;
        for round in 0..ROUNDS {
            // Headers are at the start or the end; all of a small file is worth a look.
            let near = [length, 1024.min(length)][round % 2];
            let offset = if random() % 2 == 0 { random() % near } else { length - 1 - random() % near };
            let good: [u8; 1] = read(&file, offset);
            put(&file, offset, &random().to_le_bytes()[..1]);
            refused += usize::from(check(form, &path, &EXAMPLE.source).is_err());
            put(&file, offset, &good);
        }
        assert!(refused > ROUNDS / 4, "{form:?}: only {refused} of {ROUNDS} changes were refused");
    }
}
