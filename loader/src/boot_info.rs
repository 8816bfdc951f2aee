//! What a multiboot loader said, in the loader's own memory.
//!
//! Everything is copied out before the loader writes anything: the boot loader may have put its
//! structures into memory that the loader will use.

use core::fmt;

use arrayvec::ArrayVec;

use crate::memory_map::{Kind, MemoryMap, Range};

/// Modules that are looked at; more than the kernel and the boot package are handed on as they are.
pub const MAXIMUM_MODULES: usize = 4;

/// Bytes of one command line that are kept.
pub const MAXIMUM_TEXT: usize = 256;

/// A command line, without its terminating zero.
pub type Text = ArrayVec<u8, MAXIMUM_TEXT>;

/// Copies a text up to its first zero byte; a longer one is cut.
pub fn text(bytes: &[u8]) -> Text {
    bytes.iter().copied().take_while(|byte| *byte != 0).take(MAXIMUM_TEXT).collect()
}

/// Splits off the first word, which in multiboot 1 is the file's name [MB1 3.3].
pub fn split_name(line: &[u8]) -> (Text, Text) {
    let mut parts = line.splitn(2, |byte| *byte == b' ');
    let name = parts.next().unwrap_or_default();
    (text(name), text(parts.next().unwrap_or_default().trim_ascii_start()))
}

/// One file that was loaded beside the loader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Where it lies.
    pub range: Range,
    /// Its name; empty when the boot loader does not tell.
    pub path: Text,
    /// What stood behind the name.
    pub command_line: Text,
}

/// A root system description pointer, in its longest form.
pub type RsdpCopy = ArrayVec<u8, 36>;

/// Where the ACPI root pointer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rsdp {
    /// In memory, at this physical address.
    At(u64),
    /// Only as the copy that multiboot 2 hands over.
    Copy(RsdpCopy),
}

/// Everything that the loader uses of the boot information.
#[derive(Clone, Debug)]
pub struct BootInfo {
    /// The command line of the system.
    pub command_line: Text,
    /// Modules in the order in which they were given: kernel, boot package, others.
    pub modules: ArrayVec<Module, MAXIMUM_MODULES>,
    /// The firmware's memory map.
    pub memory: MemoryMap,
    /// The ACPI root pointer, where the boot loader gave it.
    pub rsdp: Option<Rsdp>,
}

impl BootInfo {
    /// Nothing known yet.
    pub(crate) const fn new() -> Self {
        Self {
            command_line: ArrayVec::new_const(),
            modules: ArrayVec::new_const(),
            memory: MemoryMap::new(),
            rsdp: None,
        }
    }

    /// Takes one entry of the firmware's memory map, with the type numbers that both versions share.
    pub(crate) fn add_region(&mut self, base: u64, length: u64, kind: u32) -> Result<(), Error> {
        let kind = match kind {
            1 => Kind::Usable,
            3 => Kind::AcpiReclaimable,
            4 => Kind::AcpiNvs,
            5 => Kind::BadMemory,
            _ => Kind::Reserved,
        };
        // Firmware may describe the top of the address space; what wraps is cut there.
        let end = base.saturating_add(length);
        self.memory.add(Range { start: base, end }, kind).map_err(|_| Error::TooManyRegions)
    }

    /// Takes one module.
    pub(crate) fn add_module(&mut self, module: Module) -> Result<(), Error> {
        let range = module.range;
        if range.end <= range.start {
            return Err(Error::BadModule(range.start));
        }
        self.modules.try_push(module).map_err(|_| Error::TooManyModules)
    }
}

/// Why the boot information cannot be used; the fault is the boot loader's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A structure lies where the loader cannot read, or ends early.
    Unreadable(&'static str, u64),
    /// There is no memory map.
    NoMemoryMap,
    /// The memory map has more entries than the loader can hold.
    TooManyRegions,
    /// There are more modules than the loader can hold.
    TooManyModules,
    /// The module at this address is empty or ends before it starts.
    BadModule(u64),
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(what, address) => write!(out, "cannot read the {what} at {address:#x}"),
            Self::NoMemoryMap => out.write_str("the boot loader gave no memory map"),
            Self::TooManyRegions => out.write_str("the memory map has too many entries"),
            Self::TooManyModules => out.write_str("too many modules"),
            Self::BadModule(address) => write!(out, "the module at {address:#x} is empty"),
        }
    }
}
