//! From a Cap'n Proto message to a [`Manifest`], within the limits of [`crate::limits`].

use crate::{
    limits::{
        MAXIMUM_ARGUMENTS, MAXIMUM_DEVICES, MAXIMUM_ENTRIES, MAXIMUM_EXPORTS, MAXIMUM_GRANTS, MAXIMUM_TEXT,
    },
    model::{
        Argument, DeviceMatch, DmaMode, Entry, Export, Fate, Grant, KernelObject, Manifest, PortRange,
        Presence, Quotas, RestartKind, RestartPolicy, Source, SupervisorPart,
    },
    problem::{Fault, Place, Problem},
};
use alloc::{borrow::ToOwned, string::String, vec::Vec};
use capnp::{
    message::{Reader, ReaderOptions},
    serialize::OwnedSegments,
    text,
};
use schema::manifest_capnp as wire;

/// Words of a message that are read at most, however its pointers overlap: room for the largest
/// manifest that the limits allow.
const TRAVERSAL_WORDS: usize = 1 << 20;

/// Depth of the deepest pointer: manifest, entry, grant, device, its numbers; and some for later.
const NESTING: i32 = 16;

/// The value of `DeviceMatch.vendor` that any vendor fits.
const ANY_VENDOR: u16 = 0xffff;

/// The value of `DeviceMatch.class` that any class fits.
const ANY_CLASS: u32 = 0xffff_ffff;

/// Opens a message with a segment table, as `capnp eval --binary` prints it.
///
/// # Errors
/// When the table is wrong or the message shorter than it says.
pub fn message(mut bytes: &[u8]) -> capnp::Result<Reader<OwnedSegments>> {
    let mut options = ReaderOptions::new();
    options.traversal_limit_in_words(Some(TRAVERSAL_WORDS)).nesting_limit(NESTING);
    capnp::serialize::read_message(&mut bytes, options)
}

/// Decodes a manifest and checks no rule but those on sizes.
///
/// # Errors
/// One problem for each part that could not be decoded.
pub fn decode(reader: wire::manifest::Reader<'_>) -> Result<Manifest, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut decoder = Decoder { place: Place::Manifest, problems: &mut problems };
    let manifest = decoder.manifest(reader);
    match manifest {
        Some(manifest) if problems.is_empty() => Ok(manifest),
        _ => Err(problems),
    }
}

/// Notes what is wrong at one place.
struct Decoder<'p> {
    place: Place,
    problems: &'p mut Vec<Problem>,
}

impl Decoder<'_> {
    fn at(&mut self, place: Place) -> Decoder<'_> {
        Decoder { place, problems: self.problems }
    }

    /// Notes the fault of a part and goes on without it.
    fn note<T>(&mut self, part: Result<T, Fault>) -> Option<T> {
        part.map_err(|fault| self.problems.push(Problem { place: self.place.clone(), fault })).ok()
    }

    fn manifest(&mut self, reader: wire::manifest::Reader<'_>) -> Option<Manifest> {
        let name = self.note(text("name", reader.get_name()));
        let entries = self.note(checked(reader.get_entries()))?;
        self.note(bounded("entries", entries.len(), MAXIMUM_ENTRIES))?;
        let decoded = entries.iter().enumerate().map(|(index, entry)| {
            // A name that cannot be read is noted where the entry is decoded.
            let name = text("name", entry.get_name()).unwrap_or_default();
            self.at(Place::entry(index, &name)).entry(entry)
        });
        let entries = decoded.collect::<Vec<_>>();
        Some(Manifest { name: name?, entries: entries.into_iter().collect::<Option<_>>()? })
    }

    fn entry(&mut self, reader: wire::entry::Reader<'_>) -> Option<Entry> {
        let name = self.note(text("name", reader.get_name()));
        let binary = self.note(text("binary", reader.get_binary()));
        let arguments = self.arguments(reader);
        let quotas = self.note(checked(reader.get_quotas())).map(quotas);
        let grants = self.grants(reader);
        let exports = self.exports(reader);
        let restart = self.note(checked(reader.get_restart()).and_then(restart));
        let name = name?;
        Some(Entry {
            binary: binary.map(|binary| if binary.is_empty() { name.clone() } else { binary })?,
            name,
            arguments: arguments?,
            priority: reader.get_priority(),
            quotas: quotas?,
            grants: grants?,
            exports: exports?,
            restart: restart?,
            heartbeat_milliseconds: reader.get_heartbeat_milliseconds(),
        })
    }

    fn arguments(&mut self, reader: wire::entry::Reader<'_>) -> Option<Vec<Argument>> {
        let list = self.note(checked(reader.get_arguments()))?;
        self.note(bounded("arguments", list.len(), MAXIMUM_ARGUMENTS))?;
        let decode = |argument: wire::argument::Reader<'_>| {
            Ok(Argument {
                name: text("name of an argument", argument.get_name())?,
                value: text("value of an argument", argument.get_value())?,
            })
        };
        list.iter().map(|argument| self.note(decode(argument))).collect()
    }

    fn exports(&mut self, reader: wire::entry::Reader<'_>) -> Option<Vec<String>> {
        let list = self.note(checked(reader.get_exports()))?;
        self.note(bounded("exports", list.len(), MAXIMUM_EXPORTS))?;
        list.iter().map(|name| self.note(text("name of an export", name))).collect()
    }

    fn grants(&mut self, reader: wire::entry::Reader<'_>) -> Option<Vec<Grant>> {
        let list = self.note(checked(reader.get_grants()))?;
        self.note(bounded("grants", list.len(), MAXIMUM_GRANTS))?;
        let decoded = list.iter().enumerate().map(|(index, grant)| {
            let name = self.note(text("name of a grant", grant.get_name()))?;
            let mut inside = self.at(self.place.item("grant", index, &name));
            let source = inside.note(source(grant))?;
            Some(Grant { name, source })
        });
        let grants = decoded.collect::<Vec<_>>();
        grants.into_iter().collect()
    }
}

fn checked<T>(part: capnp::Result<T>) -> Result<T, Fault> {
    part.map_err(|error| Fault::malformed(&error))
}

fn bounded(what: &'static str, count: u32, maximum: u32) -> Result<(), Fault> {
    if count > maximum { Err(Fault::TooMany { what, count, maximum }) } else { Ok(()) }
}

fn text(what: &'static str, reader: capnp::Result<text::Reader<'_>>) -> Result<String, Fault> {
    let reader = checked(reader)?;
    if reader.len() > MAXIMUM_TEXT {
        return Err(Fault::TextTooLong { what, bytes: reader.len() });
    }
    reader.to_str().map(ToOwned::to_owned).map_err(|_| Fault::NotText(what))
}

fn known<T>(what: &'static str, value: Result<T, capnp::NotInSchema>) -> Result<T, Fault> {
    value.map_err(|error| Fault::Unknown { what, value: error.0 })
}

fn quotas(reader: wire::quotas::Reader<'_>) -> Quotas {
    Quotas {
        frames: reader.get_frames(),
        handles: reader.get_handles(),
        threads: reader.get_threads(),
        dma_pages: reader.get_dma_pages(),
    }
}

fn restart(reader: wire::restart_policy::Reader<'_>) -> Result<RestartPolicy, Fault> {
    use wire::restart_policy::Kind;
    let kind = match known("restart kind", reader.get_kind())? {
        Kind::Always => RestartKind::Always,
        Kind::OnFailure => RestartKind::OnFailure,
        Kind::Never => RestartKind::Never,
    };
    Ok(RestartPolicy {
        kind,
        maximum: reader.get_maximum(),
        window_seconds: reader.get_window_seconds(),
        back_off_milliseconds: reader.get_back_off_milliseconds(),
    })
}

fn source(reader: wire::grant::Reader<'_>) -> Result<Source, Fault> {
    use wire::grant::Which;
    Ok(match known("kind of grant", reader.which())? {
        Which::Export(export) => {
            let export = checked(export)?;
            Source::Export(Export {
                process: text("name of a process", export.get_process())?,
                name: text("name of an export", export.get_name())?,
                presence: presence(export.get_optional()),
                fate: if export.get_with_provider() { Fate::WithProvider } else { Fate::LivesOn },
            })
        }
        Which::Device(device) => Source::Device(device_match(checked(device)?)?),
        Which::IoPorts(range) => {
            let range = checked(range)?;
            Source::Ports(PortRange { first: range.get_first(), count: range.get_count() })
        }
        Which::IsaInterrupt(line) => Source::IsaInterrupt(line),
        Which::Kernel(object) => Source::Kernel(match known("kernel object", object)? {
            wire::KernelObject::Log => KernelObject::LogWriter,
            wire::KernelObject::KernelLog => KernelObject::KernelLog,
            wire::KernelObject::SystemInfo => KernelObject::SystemInfo,
            wire::KernelObject::Clock => KernelObject::Clock,
            wire::KernelObject::Power => KernelObject::Power,
            wire::KernelObject::ProcessManager => KernelObject::ProcessManager,
            wire::KernelObject::PciInventory => KernelObject::PciInventory,
        }),
        Which::Supervisor(part) => Source::Supervisor(match known("supervisor part", part)? {
            wire::SupervisorPart::Status => SupervisorPart::Status,
            wire::SupervisorPart::Control => SupervisorPart::Control,
            wire::SupervisorPart::BootPackage => SupervisorPart::BootPackage,
            wire::SupervisorPart::PciList => SupervisorPart::PciList,
            wire::SupervisorPart::Shutdown => SupervisorPart::Shutdown,
            wire::SupervisorPart::Evidence => SupervisorPart::Evidence,
        }),
    })
}

fn presence(optional: bool) -> Presence {
    if optional { Presence::Optional } else { Presence::Required }
}

fn device_match(reader: wire::device_match::Reader<'_>) -> Result<DeviceMatch, Fault> {
    let list = checked(reader.get_devices())?;
    bounded("device numbers", list.len(), MAXIMUM_DEVICES)?;
    let mut devices: Vec<u16> = list.iter().collect();
    devices.sort_unstable();
    devices.dedup();
    Ok(DeviceMatch {
        vendor: Some(reader.get_vendor()).filter(|&vendor| vendor != ANY_VENDOR),
        devices,
        class: Some(reader.get_class()).filter(|&class| class != ANY_CLASS),
        index: reader.get_index(),
        presence: presence(reader.get_optional()),
        dma: match known("DMA mode", reader.get_dma())? {
            wire::DmaMode::None => DmaMode::None,
            wire::DmaMode::Isolated => DmaMode::Isolated,
            wire::DmaMode::Trusted => DmaMode::Trusted,
        },
    })
}
