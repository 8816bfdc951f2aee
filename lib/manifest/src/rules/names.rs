//! Names, binaries and arguments.

use super::{Problems, Surroundings, places};
use crate::{
    limits::{MAXIMUM_VALUE, RESERVED_GRANTS, RESERVED_PROCESSES, is_name},
    model::{Entry, Manifest},
    problem::{Fault, Place},
};

/// The binary of the first process: its start differs from that of every other program.
const FIRST_BINARY: &str = "init";

pub(super) fn check(manifest: &Manifest, surroundings: &Surroundings<'_>, problems: &mut Problems) {
    name(&manifest.name, &[], &Place::Manifest, problems);
    if manifest.entries.is_empty() {
        problems.add(&Place::Manifest, Fault::NoEntries);
    }
    for (index, (place, entry)) in places(manifest).enumerate() {
        name(&entry.name, &RESERVED_PROCESSES, &place, problems);
        twice(&entry.name, manifest.entries.iter().take(index).map(|other| &other.name), &place, problems);
        binary(&entry.binary, surroundings, &place, problems);
        parts(entry, &place, problems);
    }
}

fn parts(entry: &Entry, place: &Place, problems: &mut Problems) {
    for (index, grant) in entry.grants.iter().enumerate() {
        let place = place.item("grant", index, &grant.name);
        name(&grant.name, &RESERVED_GRANTS, &place, problems);
        twice(&grant.name, entry.grants.iter().take(index).map(|other| &other.name), &place, problems);
    }
    for (index, export) in entry.exports.iter().enumerate() {
        let place = place.item("export", index, export);
        name(export, &[], &place, problems);
        twice(export, entry.exports.iter().take(index), &place, problems);
    }
    for (index, argument) in entry.arguments.iter().enumerate() {
        let place = place.item("argument", index, &argument.name);
        name(&argument.name, &[], &place, problems);
        twice(&argument.name, entry.arguments.iter().take(index).map(|other| &other.name), &place, problems);
        value(&argument.value, &place, problems);
    }
}

fn name(name: &str, reserved: &[&str], place: &Place, problems: &mut Problems) {
    if name.is_empty() {
        problems.add(place, Fault::NameEmpty);
    } else if !is_name(name) {
        problems.add(place, Fault::NameInvalid(name.into()));
    } else if reserved.contains(&name) {
        problems.add(place, Fault::NameReserved(name.into()));
    }
}

fn twice<'m, S>(name: &str, mut before: impl Iterator<Item = &'m S>, place: &Place, problems: &mut Problems)
where
    S: AsRef<str> + 'm,
{
    if !name.is_empty() && before.any(|other| other.as_ref() == name) {
        problems.add(place, Fault::NameTwice(name.into()));
    }
}

fn binary(name: &str, surroundings: &Surroundings<'_>, place: &Place, problems: &mut Problems) {
    if name.is_empty() {
        // An empty binary takes the entry's name, which is then empty too and noted as such.
    } else if !is_name(name) {
        problems.add(place, Fault::BinaryNameInvalid(name.into()));
    } else if name == FIRST_BINARY {
        problems.add(place, Fault::BinaryReserved(name.into()));
    } else if surroundings.binaries.is_some_and(|known| !known.contains(&name)) {
        problems.add(place, Fault::BinaryUnknown(name.into()));
    }
}

fn value(value: &str, place: &Place, problems: &mut Problems) {
    if value.len() > MAXIMUM_VALUE {
        problems.add(place, Fault::ValueTooLong(value.len()));
    }
    if let Some(character) = value.chars().find(|character| character.is_control()) {
        problems.add(place, Fault::ValueControlCharacter(character));
    }
}
