//! Exports that others are granted, and the start-up needs that follow from them.

use super::{Problems, places};
use crate::{
    model::{Entry, Export, Fate, Manifest, Presence, RestartKind, Source},
    problem::{Fault, Place},
};
use alloc::{string::String, vec, vec::Vec};

pub(super) fn check(manifest: &Manifest, problems: &mut Problems) {
    for (place, entry) in places(manifest) {
        for (index, grant) in entry.grants.iter().enumerate() {
            if let Source::Export(export) = &grant.source {
                let place = place.item("grant", index, &grant.name);
                export_exists(manifest, entry, export, &place, problems);
                fate(entry, export, &place, problems);
            }
        }
    }
    cycles(manifest, problems);
}

fn export_exists(
    manifest: &Manifest,
    holder: &Entry,
    export: &Export,
    place: &Place,
    problems: &mut Problems,
) {
    if export.process == holder.name {
        problems.add(place, Fault::OwnExport(export.name.clone()));
        return;
    }
    let Some(exporter) = manifest.entries.iter().find(|entry| entry.name == export.process) else {
        problems.add(place, Fault::ProcessUnknown(export.clone()));
        return;
    };
    if !exporter.exports.contains(&export.name) {
        let offered = exporter.exports.clone();
        problems.add(place, Fault::ExportUnknown { export: export.clone(), offered });
    }
}

/// Who is restarted with a provider must wait for it, and must be restarted at all.
fn fate(holder: &Entry, export: &Export, place: &Place, problems: &mut Problems) {
    if export.fate == Fate::LivesOn {
        return;
    }
    if export.presence == Presence::Optional {
        problems.add(place, Fault::ProviderOptional(export.process.clone()));
    }
    if holder.restart.kind == RestartKind::Never {
        problems.add(place, Fault::ProviderNever(export.process.clone()));
    }
}

/// How far the search for cycles has come with an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    OnPath,
    Done,
}

/// Finds a cycle for each group of entries that need each other, by depth-first search with a path of its own: at most 64 deep.
fn cycles(manifest: &Manifest, problems: &mut Problems) {
    let needs: Vec<Vec<usize>> =
        manifest.entries.iter().map(|entry| needed_entries(manifest, entry)).collect();
    let mut marks = vec![Mark::New; needs.len()];
    for start in 0..needs.len() {
        let mut path: Vec<(usize, usize)> = Vec::new();
        if enter(&mut marks, start) {
            path.push((start, 0));
        }
        while let Some((entry, next)) = path.last_mut() {
            let Some(&needed) = needs.get(*entry).and_then(|needs| needs.get(*next)) else {
                set(&mut marks, *entry, Mark::Done);
                path.pop();
                continue;
            };
            *next += 1;
            if enter(&mut marks, needed) {
                path.push((needed, 0));
            } else if marks.get(needed) == Some(&Mark::OnPath) {
                let on_cycle = path.iter().map(|&(entry, _)| entry).skip_while(|&entry| entry != needed);
                let names = on_cycle.chain([needed]).filter_map(|entry| name(manifest, entry)).collect();
                problems.add(&Place::Manifest, Fault::Cycle(names));
            }
        }
    }
}

/// Puts an entry that was not looked at before on the path.
fn enter(marks: &mut [Mark], entry: usize) -> bool {
    let new = marks.get(entry) == Some(&Mark::New);
    if new {
        set(marks, entry, Mark::OnPath);
    }
    new
}

fn set(marks: &mut [Mark], entry: usize, mark: Mark) {
    if let Some(place) = marks.get_mut(entry) {
        *place = mark;
    }
}

fn name(manifest: &Manifest, entry: usize) -> Option<String> {
    manifest.entries.get(entry).map(|entry| entry.name.clone())
}

/// Indexes of the entries whose exports this one needs, without itself: that is a problem of its own.
fn needed_entries(manifest: &Manifest, entry: &Entry) -> Vec<usize> {
    let mut needed: Vec<usize> = entry
        .needs()
        .filter(|export| export.process != entry.name)
        .filter_map(|export| manifest.position(&export.process))
        .collect();
    needed.sort_unstable();
    needed.dedup();
    needed
}
