//! What can be wrong with a manifest, and where.

use crate::{
    limits::{
        HEARTBEATS, ISA_LINES, MAXIMUM_BACK_OFF, MAXIMUM_HANDLES, MAXIMUM_NAME, MAXIMUM_RESTARTS,
        MAXIMUM_THREADS, MAXIMUM_VALUE, MINIMUM_FRAMES, PRIORITIES, RUNTIME_HANDLES,
    },
    model::{DeviceMatch, DmaMode, Export, PortRange},
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

/// One rule that a manifest breaks. Its `Display` names the place, the rule and the offending value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What.
    pub fault: Fault,
}

impl Problem {
    /// A problem of the manifest as a whole.
    pub fn of_manifest(fault: Fault) -> Self {
        Self { place: Place::Manifest, fault }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.fault)
    }
}

/// A part of a manifest, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The manifest as a whole.
    Manifest,
    /// One entry.
    Entry(String),
    /// One item of an entry.
    Item {
        /// The entry.
        entry: String,
        /// The item.
        item: String,
    },
}

impl Place {
    /// The entry with this index and name.
    pub fn entry(index: usize, name: &str) -> Self {
        Self::Entry(label("process", index, name))
    }

    /// An item of this entry: `kind` says what it is ("grant").
    pub fn item(&self, kind: &str, index: usize, name: &str) -> Self {
        let item = label(kind, index, name);
        match self {
            Self::Manifest => Self::Entry(item),
            Self::Entry(entry) | Self::Item { entry, .. } => Self::Item { entry: entry.clone(), item },
        }
    }
}

fn label(kind: &str, index: usize, name: &str) -> String {
    if name.is_empty() { format!("{kind} {} (unnamed)", index + 1) } else { format!("{kind} {name:?}") }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest => formatter.write_str("manifest"),
            Self::Entry(entry) => formatter.write_str(entry),
            Self::Item { entry, item } => write!(formatter, "{entry}, {item}"),
        }
    }
}

/// A broken rule, with the offending value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The message cannot be read.
    Malformed(String),
    /// A text is not UTF-8.
    NotText(&'static str),
    /// A value that this version of the schema does not have.
    Unknown {
        /// What it stands for.
        what: &'static str,
        /// The value.
        value: u16,
    },
    /// A text is longer than any rule allows.
    TextTooLong {
        /// What it is.
        what: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// A list has too many members.
    TooMany {
        /// What they are.
        what: &'static str,
        /// How many there are.
        count: u32,
        /// How many there may be.
        maximum: u32,
    },
    /// The manifest starts nothing.
    NoEntries,
    /// A name is missing.
    NameEmpty,
    /// A name is not made of the allowed characters, or is too long.
    NameInvalid(String),
    /// A name is kept for the system.
    NameReserved(String),
    /// A name is used twice; the other place has it first.
    NameTwice(String),
    /// A binary's name cannot be one.
    BinaryNameInvalid(String),
    /// A binary is kept for the system.
    BinaryReserved(String),
    /// No such binary.
    BinaryUnknown(String),
    /// A value is too long.
    ValueTooLong(usize),
    /// A value holds a control character.
    ValueControlCharacter(char),
    /// A priority is out of range.
    Priority(u8),
    /// Too few frames to build a process.
    Frames(u32),
    /// Too few or too many handles.
    Handles {
        /// The quota.
        handles: u16,
        /// The least that it must be.
        minimum: u32,
    },
    /// No threads, or too many.
    Threads(u16),
    /// The quotas together exceed the machine.
    Memory {
        /// What they allow.
        frames: u64,
        /// What the machine has.
        available: u64,
    },
    /// A driver that may use DMA has no memory for it.
    DmaModeWithoutPages(DmaMode),
    /// DMA memory without a device that may use it.
    DmaPagesWithoutMode(u32),
    /// A grant of a process that does not exist.
    ProcessUnknown(Export),
    /// A grant of something that the process does not export.
    ExportUnknown {
        /// The export.
        export: Export,
        /// What the process does export.
        offered: Vec<String>,
    },
    /// A process is granted its own export.
    OwnExport(String),
    /// Processes wait for each other for ever: the first is repeated at the end.
    Cycle(Vec<String>),
    /// Device numbers without the vendor that gave them.
    DevicesWithoutVendor,
    /// A match that every function fits.
    MatchesEverything,
    /// A class of more than 24 bits.
    Class(u32),
    /// Two grants take the same function.
    DeviceTwice {
        /// The match.
        device: DeviceMatch,
        /// The grant that has it first.
        other: Place,
    },
    /// A range without ports.
    PortsEmpty(u16),
    /// A range past the last port.
    PortsPastEnd(PortRange),
    /// Two grants have a port in common.
    PortsTwice {
        /// The range.
        range: PortRange,
        /// The range that has it first.
        other: PortRange,
        /// The grant of that range.
        place: Place,
    },
    /// No such line.
    IsaLine(u8),
    /// Two grants take the same line.
    IsaLineTwice {
        /// The line.
        line: u8,
        /// The grant that has it first.
        other: Place,
    },
    /// A policy that restarts, but allows no restart or too many.
    RestartMaximum(u16),
    /// A policy that restarts within a window of no length.
    RestartWindow,
    /// A back-off that is none or too long.
    RestartBackOff(u16),
    /// An export that is not waited for, but is to be restarted with.
    ProviderOptional(String),
    /// A process that is never restarted, but is to be restarted with another.
    ProviderNever(String),
    /// A heartbeat that is too fast or too slow.
    Heartbeat(u32),
}

impl Fault {
    /// A message that cannot be read.
    pub fn malformed(error: &capnp::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(reason) => write!(formatter, "malformed message: {reason}"),
            Self::NotText(what) => write!(formatter, "{what} is not UTF-8 text"),
            Self::Unknown { what, value } => write!(formatter, "{what} {value} is not known to this version"),
            Self::TextTooLong { what, bytes } => write!(formatter, "{what} of {bytes} bytes is too long"),
            Self::TooMany { what, count, maximum } => {
                write!(formatter, "{count} {what} are more than the {maximum} allowed")
            }
            Self::NoEntries => formatter.write_str("it has no entries"),
            Self::NameEmpty => formatter.write_str("its name is empty"),
            Self::NameInvalid(name) => {
                write!(formatter, "name {name:?} is not 1 to {MAXIMUM_NAME} bytes of a-z, 0-9 and '-'")
            }
            Self::NameReserved(name) => write!(formatter, "name {name:?} is reserved"),
            Self::NameTwice(name) => write!(formatter, "name {name:?} is used twice"),
            Self::BinaryNameInvalid(name) => {
                write!(formatter, "binary {name:?} is not 1 to {MAXIMUM_NAME} bytes of a-z, 0-9 and '-'")
            }
            Self::BinaryReserved(name) => write!(formatter, "binary {name:?} is the first process's alone"),
            Self::BinaryUnknown(name) => write!(formatter, "there is no binary {name:?}"),
            Self::ValueTooLong(bytes) => {
                write!(formatter, "value of {bytes} bytes is longer than {MAXIMUM_VALUE}")
            }
            Self::ValueControlCharacter(character) => {
                write!(formatter, "value holds the control character {character:?}")
            }
            Self::Priority(priority) => {
                write!(formatter, "priority {priority} is not {} to {}", PRIORITIES.start(), PRIORITIES.end())
            }
            Self::Frames(frames) => {
                write!(
                    formatter,
                    "quota of {frames} frames is less than the {MINIMUM_FRAMES} that any process needs"
                )
            }
            Self::Handles { handles, minimum } => write!(
                formatter,
                "quota of {handles} handles is not {minimum} to {MAXIMUM_HANDLES} ({RUNTIME_HANDLES} and one for each grant)"
            ),
            Self::Threads(threads) => {
                write!(formatter, "quota of {threads} threads is not 1 to {MAXIMUM_THREADS}")
            }
            Self::Memory { frames, available } => write!(
                formatter,
                "the quotas allow {frames} frames and DMA pages together, the machine has {available}"
            ),
            Self::DmaModeWithoutPages(mode) => {
                write!(formatter, "dma is {mode}, but the quota of DMA pages is 0")
            }
            Self::DmaPagesWithoutMode(pages) => {
                write!(
                    formatter,
                    "quota of {pages} DMA pages, but no device is granted with dma trusted or isolated"
                )
            }
            Self::ProcessUnknown(export) => write!(formatter, "there is no process {:?}", export.process),
            Self::ExportUnknown { export, offered } => {
                write!(
                    formatter,
                    "process {:?} does not export {:?}, it exports ",
                    export.process, export.name
                )?;
                write_list(formatter, offered)
            }
            Self::OwnExport(name) => write!(formatter, "{name:?} is its own export"),
            Self::Cycle(names) => {
                write!(formatter, "start-up needs form a cycle: {}", names.join(" -> "))
            }
            Self::DevicesWithoutVendor => formatter.write_str("devices are given without their vendor"),
            Self::MatchesEverything => {
                formatter.write_str("it sets neither vendor nor class, so every device fits")
            }
            Self::Class(class) => write!(formatter, "class {class:#x} has more than 24 bits"),
            Self::DeviceTwice { device, other } => {
                write!(formatter, "{device} is the same function as that of {other}")
            }
            Self::PortsEmpty(first) => write!(formatter, "range at port {first:#x} is empty"),
            Self::PortsPastEnd(range) => write!(formatter, "{range} end past port 0xffff"),
            Self::PortsTwice { range, other, place } => {
                write!(formatter, "{range} overlap {other} of {place}")
            }
            Self::IsaLine(line) => write!(formatter, "ISA line {line} is not 0 to {}", ISA_LINES - 1),
            Self::IsaLineTwice { line, other } => {
                write!(formatter, "ISA line {line} is also that of {other}")
            }
            Self::RestartMaximum(maximum) => {
                write!(
                    formatter,
                    "maximum of {maximum} restarts is not 1 to {MAXIMUM_RESTARTS}; kind never says none"
                )
            }
            Self::RestartWindow => formatter.write_str("window of 0 seconds counts no restarts"),
            Self::RestartBackOff(milliseconds) => {
                write!(formatter, "back-off of {milliseconds} ms is not 1 to {MAXIMUM_BACK_OFF}")
            }
            Self::ProviderOptional(process) => {
                write!(formatter, "it is restarted with {process:?}, but does not wait for it")
            }
            Self::ProviderNever(process) => {
                write!(formatter, "it is restarted with {process:?}, but its policy is never")
            }
            Self::Heartbeat(milliseconds) => write!(
                formatter,
                "heartbeat of {milliseconds} ms is not {} to {}; 0 says none",
                HEARTBEATS.start(),
                HEARTBEATS.end()
            ),
        }
    }
}

fn write_list(formatter: &mut fmt::Formatter<'_>, names: &[String]) -> fmt::Result {
    if names.is_empty() {
        return formatter.write_str("nothing");
    }
    for (index, name) in names.iter().enumerate() {
        let lead = if index == 0 { "" } else { ", " };
        write!(formatter, "{lead}{name:?}")?;
    }
    Ok(())
}
