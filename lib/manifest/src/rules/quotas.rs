//! Priorities, quotas, restart policies and heartbeats.

use super::{Problems, Surroundings, places};
use crate::{
    limits::{
        HEARTBEATS, MAXIMUM_BACK_OFF, MAXIMUM_HANDLES, MAXIMUM_RESTARTS, MAXIMUM_THREADS, MINIMUM_FRAMES,
        PRIORITIES, RUNTIME_HANDLES,
    },
    model::{DmaMode, Entry, KernelObject, Manifest, RestartKind, RestartPolicy, Source},
    problem::{Fault, Place},
};

pub(super) fn check(manifest: &Manifest, surroundings: &Surroundings<'_>, problems: &mut Problems) {
    for (place, entry) in places(manifest) {
        if !PRIORITIES.contains(&entry.priority) {
            problems.add(&place, Fault::Priority(entry.priority));
        }
        quotas(entry, &place, problems);
        dma(entry, &place, problems);
        restart(&entry.restart, &place, problems);
        let heartbeat = entry.heartbeat_milliseconds;
        if heartbeat != 0 && !HEARTBEATS.contains(&heartbeat) {
            problems.add(&place, Fault::Heartbeat(heartbeat));
        }
    }
    sum(manifest, surroundings, problems);
}

fn quotas(entry: &Entry, place: &Place, problems: &mut Problems) {
    let quotas = entry.quotas;
    if quotas.frames < MINIMUM_FRAMES {
        problems.add(place, Fault::Frames(quotas.frames));
    }
    // The count of grants is bounded by the decoder far below the range of u32.
    let minimum = u32::from(RUNTIME_HANDLES).saturating_add(entry.grants.len() as u32);
    if u32::from(quotas.handles) < minimum || quotas.handles > MAXIMUM_HANDLES {
        problems.add(place, Fault::Handles { handles: quotas.handles, minimum });
    }
    if quotas.threads == 0 || quotas.threads > MAXIMUM_THREADS {
        problems.add(place, Fault::Threads(quotas.threads));
    }
}

/// A device that may use DMA and memory for it come together or not at all. Who has the inventory claims devices itself.
fn dma(entry: &Entry, place: &Place, problems: &mut Problems) {
    let mut modes = entry.grants.iter().enumerate().filter_map(|(index, grant)| match &grant.source {
        Source::Device(device) if device.dma != DmaMode::None => {
            Some((place.item("grant", index, &grant.name), device.dma))
        }
        _ => None,
    });
    let claims = entry.grants.iter().any(|grant| grant.source == Source::Kernel(KernelObject::PciInventory));
    match (modes.next(), entry.quotas.dma_pages) {
        (Some((grant, mode)), 0) => problems.add(&grant, Fault::DmaModeWithoutPages(mode)),
        (None, pages @ 1..) if !claims => problems.add(place, Fault::DmaPagesWithoutMode(pages)),
        _ => {}
    }
}

fn restart(policy: &RestartPolicy, place: &Place, problems: &mut Problems) {
    if policy.kind == RestartKind::Never {
        return;
    }
    if !(1..=MAXIMUM_RESTARTS).contains(&policy.maximum) {
        problems.add(place, Fault::RestartMaximum(policy.maximum));
    }
    if policy.window_seconds == 0 {
        problems.add(place, Fault::RestartWindow);
    }
    if !(1..=MAXIMUM_BACK_OFF).contains(&policy.back_off_milliseconds) {
        problems.add(place, Fault::RestartBackOff(policy.back_off_milliseconds));
    }
}

fn sum(manifest: &Manifest, surroundings: &Surroundings<'_>, problems: &mut Problems) {
    // 64 entries of two 32-bit numbers cannot overflow 64 bits.
    let of_entry = |entry: &Entry| u64::from(entry.quotas.frames) + u64::from(entry.quotas.dma_pages);
    let frames = manifest.entries.iter().map(of_entry).sum();
    if frames > surroundings.frames {
        problems.add(&Place::Manifest, Fault::Memory { frames, available: surroundings.frames });
    }
}
