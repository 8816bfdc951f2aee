//! The rules that a manifest must keep. Each module holds those on one subject; none looks at what a machine does at run time.

mod devices;
mod names;
mod needs;
mod quotas;

use crate::{
    model::{Entry, Manifest},
    problem::{Fault, Place, Problem},
};
use alloc::vec::Vec;

/// What a manifest is checked against.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Frames of 4 KiB that the machine has.
    pub frames: u64,
    /// The binaries that there are; `None` leaves them unchecked, as init does: it lets an
    /// entry without its binary fail alone.
    pub binaries: Option<&'a [&'a str]>,
}

/// Checks every rule; the problems come in the order of the subjects, inside one in the manifest's order.
pub fn check(manifest: &Manifest, surroundings: &Surroundings<'_>) -> Vec<Problem> {
    let mut problems = Problems::default();
    names::check(manifest, surroundings, &mut problems);
    quotas::check(manifest, surroundings, &mut problems);
    devices::check(manifest, &mut problems);
    needs::check(manifest, &mut problems);
    problems.0
}

/// The problems found so far.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, place: &Place, fault: Fault) {
        self.0.push(Problem { place: place.clone(), fault });
    }
}

/// The entries with their places.
fn places(manifest: &Manifest) -> impl Iterator<Item = (Place, &Entry)> {
    manifest.entries.iter().enumerate().map(|(index, entry)| (Place::entry(index, &entry.name), entry))
}
