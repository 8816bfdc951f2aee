//! Builds the boot package: the one message that holds a manifest and every program that it names.
//!
//! The file is the message's only segment, as it lies in memory, without a segment table in front of it, and padded
//! with zeros to whole pages: word 0 is the root pointer. So the kernel maps the module as it was
//! loaded, and init reads it in place; each program starts on a page border and is mapped from there.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use capnp::message::{Builder, HeapAllocator, ReaderOptions};
use schema::boot_capnp::boot_package;
use sha2::{Digest as _, Sha256};

use crate::{
    executable,
    manifest_check::{self, DEFAULT_MEMORY},
    paths::Paths,
};

const PAGE_SIZE: usize = 4096;
const WORD: usize = 8;

/// The first process, in every package.
const INIT: &str = "init";

/// Largest package: a segment cannot have more words, and multiboot modules lie below 4 GiB.
const MAXIMUM_WORDS: usize = 1 << 27;

/// One program to pack.
struct Program {
    name: String,
    content: Vec<u8>,
}

/// Checks a manifest, packs it with its programs and writes the package. Returns the programs' names.
pub fn build(paths: &Paths, manifest: &Path, output: &Path) -> Result<Vec<String>> {
    let known = manifest_check::binaries(&paths.root).map_err(|error| anyhow!(error))?;
    let checked = manifest_check::check(&paths.root, manifest, DEFAULT_MEMORY, &known)
        .map_err(|error| anyhow!(error))?;
    let message = manifest_check::compile(&paths.root, manifest).map_err(|error| anyhow!(error))?;
    let names: BTreeSet<&str> =
        checked.entries.iter().map(|entry| entry.binary.as_str()).chain([INIT]).collect();
    let programs = names
        .into_iter()
        .map(|name| {
            Ok(Program { name: name.into(), content: executable::read_program(&paths.program(name))? })
        })
        .collect::<Result<Vec<_>>>()?;
    let bytes = encode(&message, &programs)?;
    write(output, &bytes)?;
    Ok(programs.into_iter().map(|program| program.name).collect())
}

/// Writes a file whose folder may not be there yet.
pub fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    let folder = file.parent().map_or_else(PathBuf::new, Path::to_owned);
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    fs::write(file, bytes).with_context(|| file.display().to_string())
}

/// The package's bytes. `manifest` is a message with a segment table; `programs` are sorted by name.
fn encode(manifest: &[u8], programs: &[Program]) -> Result<Vec<u8>> {
    let manifest = capnp::serialize::read_message_from_flat_slice(&mut &manifest[..], ReaderOptions::new())?;
    // Room for everything in the first segment: content with its padding, names and hashes, and the manifest.
    let words = programs
        .iter()
        .map(|program| program.content.len().div_ceil(WORD) + 2 * PAGE_SIZE / WORD)
        .sum::<usize>()
        + 2 * manifest.size_in_words()
        + PAGE_SIZE;
    ensure!(words <= MAXIMUM_WORDS, "the programs are too large for one package: {} MiB", words >> 17);
    let mut message = Builder::new(HeapAllocator::new().first_segment_words(u32::try_from(words)?));
    let mut package = message.init_root::<boot_package::Builder<'_>>();
    package.set_manifest(manifest.get_root()?)?;
    package.init_binaries(u32::try_from(programs.len())?);
    for (index, program) in (0u32..).zip(programs) {
        add_program(&mut message, index, program).with_context(|| program.name.clone())?;
    }
    let segments = message.get_segments_for_output();
    let [segment] = segments[..] else { return Err(anyhow!("the package needs more than one segment")) };
    let mut bytes = segment.to_vec();
    bytes.resize(bytes.len().next_multiple_of(PAGE_SIZE), 0);
    check_alignment(&bytes)?;
    Ok(bytes)
}

fn add_program(message: &mut Builder<HeapAllocator>, index: u32, program: &Program) -> Result<()> {
    let mut entry = message.get_root::<boot_package::Builder<'_>>()?.get_binaries()?.get(index);
    entry.set_name(&program.name);
    entry.set_sha256(&Sha256::digest(&program.content));
    // Objects lie in the segment in the order in which they are made: what is used now is where the padding starts.
    let used = message.size_in_words() * WORD;
    let padding = used.next_multiple_of(PAGE_SIZE) - used;
    let mut entry = message.get_root::<boot_package::Builder<'_>>()?.get_binaries()?.get(index);
    entry.reborrow().init_padding(u32::try_from(padding)?);
    entry.set_content(&program.content);
    Ok(())
}

/// Reads the package back, as init will, and checks where each program lies.
fn check_alignment(bytes: &[u8]) -> Result<()> {
    let segments = [bytes];
    let segments = capnp::message::SegmentArray::new(&segments);
    let mut options = ReaderOptions::new();
    options.traversal_limit_in_words(None);
    let message = capnp::message::Reader::new(segments, options);
    for binary in message.get_root::<boot_package::Reader<'_>>()?.get_binaries()? {
        let offset = binary.get_content()?.as_ptr().addr() - bytes.as_ptr().addr();
        ensure!(offset.is_multiple_of(PAGE_SIZE), "a program lies at {offset:#x}, off its page border");
    }
    Ok(())
}

/// A package for tests, always the same, with programs of these names that cannot run.
#[cfg(test)]
pub fn example(names: &[&str]) -> Result<Vec<u8>> {
    let mut manifest = Builder::new_default();
    manifest.init_root::<schema::manifest_capnp::manifest::Builder<'_>>().set_name("example");
    let program =
        |name: &&str| Program { name: (*name).into(), content: format!("program {name}").into_bytes() };
    encode(
        &capnp::serialize::write_message_to_words(&manifest),
        &names.iter().map(program).collect::<Vec<_>>(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use schema::manifest_capnp::manifest;

    fn manifest_message() -> Vec<u8> {
        let mut message = Builder::new_default();
        message.init_root::<manifest::Builder<'_>>().set_name("example");
        capnp::serialize::write_message_to_words(&message)
    }

    fn program(name: &str, length: usize) -> Program {
        Program { name: name.into(), content: (0..length).map(|index| (index % 255) as u8).collect() }
    }

    #[test]
    fn packs_programs_on_page_borders_with_their_hashes() {
        let programs = [program("a", 1), program("init", 4096), program("netstack", 5001)];
        let bytes = encode(&manifest_message(), &programs).expect("packed");
        assert!(bytes.len().is_multiple_of(PAGE_SIZE));
        let segments = [&bytes[..]];
        let segments = capnp::message::SegmentArray::new(&segments);
        let message = capnp::message::Reader::new(segments, ReaderOptions::new());
        let package = message.get_root::<boot_package::Reader<'_>>().expect("a package");
        assert_eq!(package.get_manifest().expect("one").get_name().expect("one"), "example");
        let binaries = package.get_binaries().expect("a list");
        assert_eq!(binaries.len(), 3);
        for (binary, program) in binaries.iter().zip(&programs) {
            assert_eq!(binary.get_name().expect("one"), program.name.as_str());
            let content = binary.get_content().expect("one");
            assert_eq!(content, program.content);
            assert_eq!(binary.get_sha256().expect("one"), &Sha256::digest(content)[..]);
            assert!((content.as_ptr().addr() - bytes.as_ptr().addr()).is_multiple_of(PAGE_SIZE));
        }
    }

    #[test]
    fn refuses_a_manifest_that_is_not_a_message() {
        assert!(encode(b"nonsense", &[]).is_err());
    }
}
