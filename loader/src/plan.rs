//! Decides where everything goes, before anything is written.

use core::fmt;

use crate::{
    HHDM, PAGE_SIZE, REACHABLE_END,
    boot_info::{BootInfo, Module, Rsdp},
    image::Image,
    memory_map::{Full, Kind, MAXIMUM_ENTRIES, MemoryMap, Range},
    page_table::{direct_end, tables_needed},
    requests::{Feature, Requests},
    responses::{self, Arena},
};

/// Name and version that the kernel is told.
const NAME: &[u8] = b"capos-loader";
const VERSION: &[u8] = env!("CARGO_PKG_VERSION").as_bytes();

/// Bytes of the stack that the loader uses and then gives to the kernel, which may rely on 64 KiB [LIMINE, machine
/// state at entry]. The loader's own memory maps, by value, take more than half of that.
pub const STACK_SIZE: u64 = 128 << 10;

/// Memory of the first MiB is left to the firmware and to the kernel's start of other processors.
const LOWEST: u64 = 1 << 20;

/// Where things go; all in physical addresses and whole pages.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The kernel's image.
    pub kernel: Range,
    /// Page tables.
    pub tables: Range,
    /// Answers to the kernel's requests.
    pub answers: Range,
    /// End of the direct map.
    pub direct_end: u64,
    /// The memory map, with all this in it; the kernel's file is not: its image is a copy.
    memory: MemoryMap,
    /// The kernel's file.
    file: Range,
}

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The kernel or the boot package was not given.
    MissingModule(&'static str),
    /// The module at this address does not start on a page border.
    Unaligned(u64),
    /// The module at this address is not in free memory, or lies over the loader or another module.
    NotInMemory(u64),
    /// There is no free range of so many bytes.
    NoRoom(u64),
    /// The memory map has too many entries.
    Map(Full),
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingModule(name) => {
                write!(out, "the {name} was not loaded (modules: kernel, boot package)")
            }
            Self::Unaligned(address) => write!(out, "the module at {address:#x} is not page aligned"),
            Self::NotInMemory(address) => write!(out, "the module at {address:#x} is not in free memory"),
            Self::NoRoom(length) => write!(out, "no {} KiB of free memory for the kernel", length >> 10),
            Self::Map(full) => full.fmt(out),
        }
    }
}

impl From<Full> for Error {
    fn from(full: Full) -> Self {
        Self::Map(full)
    }
}

/// The kernel's file among the modules, once both modules are known to be there and inside free memory.
pub fn kernel_module(info: &BootInfo, loader: Range) -> Result<&Module, Error> {
    let kernel = info.modules.first().ok_or(Error::MissingModule("kernel"))?;
    info.modules.get(1).ok_or(Error::MissingModule("boot package"))?;
    let free = info.memory.finish();
    for (number, module) in info.modules.iter().enumerate() {
        let range = module.range;
        if !range.start.is_multiple_of(PAGE_SIZE) {
            return Err(Error::Unaligned(range.start));
        }
        let others = info.modules.iter().take(number).map(|other| other.range).chain([loader]);
        let inside =
            free.iter().any(|entry| entry.kind == Kind::Usable && entry.range.contains(range.outward()));
        if !inside
            || range.end > REACHABLE_END
            || others.into_iter().any(|other| other.outward().overlaps(range))
        {
            return Err(Error::NotInMemory(range.start));
        }
    }
    Ok(kernel)
}

impl Plan {
    /// Finds places for a kernel.
    pub fn new(info: &BootInfo, image: &Image, loader: Range) -> Result<Self, Error> {
        let mut modules = info.modules.iter().map(|module| module.range);
        let file = modules.next().ok_or(Error::MissingModule("kernel"))?;
        let mut memory = info.memory.clone();
        // Address 0 is not handed out: software treats it as no address.
        let first = Range { start: 0, end: PAGE_SIZE };
        if !modules.clone().any(|module| module.overlaps(first)) {
            memory.add(first, Kind::Reserved)?;
        }
        memory.add(loader, Kind::BootloaderReclaimable)?;
        for module in modules {
            memory.add(module, Kind::ExecutableAndModules)?;
        }
        let direct_end = direct_end(info.memory.memory_end());
        let tables = tables_needed(image.span, direct_end) * PAGE_SIZE;
        let answers = responses::bytes_needed(MAXIMUM_ENTRIES, info.modules.len()) as u64;
        let length = image.span.length() + tables + answers.next_multiple_of(PAGE_SIZE);
        let window = Range { start: LOWEST, end: REACHABLE_END };
        let mut taken = memory.clone();
        taken.add(file, Kind::ExecutableAndModules)?;
        let all = taken.find_free(length, window).ok_or(Error::NoRoom(length))?;
        let kernel = Range { start: all.start, end: all.start + image.span.length() };
        let tables = Range { start: kernel.end, end: kernel.end + tables };
        memory.add(kernel, Kind::ExecutableAndModules)?;
        memory.add(Range { start: kernel.end, end: all.end }, Kind::BootloaderReclaimable)?;
        Ok(Self {
            kernel,
            tables,
            answers: Range { start: tables.end, end: all.end },
            direct_end,
            memory,
            file,
        })
    }

    /// Answers a kernel's requests: writes the answers into `arena`, and their addresses into its loaded `image`.
    pub fn answer(
        &self,
        info: &BootInfo,
        rsdp: &Rsdp,
        span: Range,
        image: &mut [u64],
        arena: &mut Arena<'_>,
    ) -> Result<(), AnswerError> {
        let requests = Requests::find(image)?;
        let mut memory = self.memory.clone();
        // Where nobody asks for the file, its memory is free: on UEFI machines GRUB puts it into the first MiB,
        // which the kernel needs to start other processors.
        if requests.list.iter().any(|request| request.feature == Feature::ExecutableFile) {
            memory.add(self.file, Kind::ExecutableAndModules)?;
        }
        for request in &requests.list {
            let address = match request.feature {
                Feature::BootloaderInfo => {
                    let (name, version) = (arena.text(NAME)?, arena.text(VERSION)?);
                    arena.words(&[0, name, version])?
                }
                Feature::CommandLine => {
                    let line = arena.text(&info.command_line)?;
                    arena.words(&[0, line])?
                }
                // A larger stack than this is refused by leaving the request unanswered.
                Feature::StackSize if request.argument(image).is_none_or(|size| size > STACK_SIZE) => {
                    continue;
                }
                Feature::StackSize => arena.words(&[0])?,
                Feature::Hhdm => arena.words(&[0, HHDM])?,
                Feature::MemoryMap => arena.memory_map(&memory.finish())?,
                Feature::ExecutableFile => {
                    let kernel = info.modules.first().ok_or(responses::Full)?;
                    let file = arena.file(kernel)?;
                    arena.words(&[0, file])?
                }
                Feature::Modules => arena.modules(info.modules.get(1..).unwrap_or_default())?,
                Feature::Rsdp => arena.rsdp(rsdp, requests.revision)?,
                Feature::ExecutableAddress => arena.words(&[0, self.kernel.start, span.start])?,
            };
            request.answer(image, address).ok_or(responses::Full)?;
        }
        Ok(())
    }
}

/// Why a kernel's requests cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerError {
    /// The kernel asks for what the loader cannot give.
    Requests(crate::requests::Error),
    /// The answers do not fit.
    Full(responses::Full),
    /// The memory map has too many entries.
    Map(Full),
}

impl From<Full> for AnswerError {
    fn from(full: Full) -> Self {
        Self::Map(full)
    }
}

impl From<crate::requests::Error> for AnswerError {
    fn from(error: crate::requests::Error) -> Self {
        Self::Requests(error)
    }
}

impl From<responses::Full> for AnswerError {
    fn from(full: responses::Full) -> Self {
        Self::Full(full)
    }
}

impl fmt::Display for AnswerError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requests(error) => error.fmt(out),
            Self::Full(full) => full.fmt(out),
            Self::Map(full) => full.fmt(out),
        }
    }
}
