//! Devices, ports and interrupt lines: what only one process can hold.

use super::{Problems, places};
use crate::{
    limits::{ISA_LINES, PORTS},
    model::{DeviceMatch, Manifest, PortRange, Source},
    problem::{Fault, Place},
};
use alloc::vec::Vec;

/// Most bits of a PCI class code with subclass and programming interface.
const CLASS_BITS: u32 = 24;

pub(super) fn check(manifest: &Manifest, problems: &mut Problems) {
    let mut owned = Owned::default();
    for (place, entry) in places(manifest) {
        for (index, grant) in entry.grants.iter().enumerate() {
            let place = place.item("grant", index, &grant.name);
            match &grant.source {
                Source::Device(device) => owned.device(device, place, problems),
                Source::Ports(range) => owned.ports(*range, place, problems),
                Source::IsaInterrupt(line) => owned.line(*line, place, problems),
                Source::Export(_) | Source::Kernel(_) | Source::Supervisor(_) => {}
            }
        }
    }
}

/// What the grants so far have taken.
#[derive(Default)]
struct Owned<'m> {
    devices: Vec<(&'m DeviceMatch, Place)>,
    ports: Vec<(PortRange, Place)>,
    lines: Vec<(u8, Place)>,
}

impl<'m> Owned<'m> {
    fn device(&mut self, device: &'m DeviceMatch, place: Place, problems: &mut Problems) {
        if device.vendor.is_none() && device.class.is_none() {
            let fault = if device.devices.is_empty() {
                Fault::MatchesEverything
            } else {
                Fault::DevicesWithoutVendor
            };
            problems.add(&place, fault);
        } else if device.vendor.is_none() && !device.devices.is_empty() {
            problems.add(&place, Fault::DevicesWithoutVendor);
        }
        if let Some(class) = device.class.filter(|class| class >> CLASS_BITS != 0) {
            problems.add(&place, Fault::Class(class));
        }
        if let Some((_, other)) = self.devices.iter().find(|(other, _)| other.same_function(device)) {
            problems.add(&place, Fault::DeviceTwice { device: device.clone(), other: other.clone() });
        }
        self.devices.push((device, place));
    }

    fn ports(&mut self, range: PortRange, place: Place, problems: &mut Problems) {
        if range.count == 0 {
            problems.add(&place, Fault::PortsEmpty(range.first));
            return;
        }
        if range.end() > PORTS {
            problems.add(&place, Fault::PortsPastEnd(range));
        }
        if let Some((other, owner)) = self.ports.iter().find(|(other, _)| other.overlaps(range)) {
            problems.add(&place, Fault::PortsTwice { range, other: *other, place: owner.clone() });
        }
        self.ports.push((range, place));
    }

    fn line(&mut self, line: u8, place: Place, problems: &mut Problems) {
        if line >= ISA_LINES {
            problems.add(&place, Fault::IsaLine(line));
        } else if let Some((_, other)) = self.lines.iter().find(|(other, _)| *other == line) {
            problems.add(&place, Fault::IsaLineTwice { line, other: other.clone() });
        }
        self.lines.push((line, place));
    }
}
