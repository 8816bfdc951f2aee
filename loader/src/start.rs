//! From the boot loader's information to the kernel's first instruction.

use core::{fmt, panic::PanicInfo};

use loader::{
    PAGE_SIZE, REACHABLE_END,
    boot_info::{self, BootInfo, Rsdp},
    image::{self, Image, Protection},
    memory_map::Range,
    multiboot1, multiboot2,
    page_table::{self, Builder, Table},
    plan::{self, AnswerError, Plan},
    responses::Arena,
    rsdp,
};

use crate::{
    machine::{self, Direct},
    serial,
};

/// Why the kernel cannot be started.
enum Error {
    NotMultiboot(u32),
    BootInfo(boot_info::Error),
    Plan(plan::Error),
    Image(image::Error),
    NoRsdp,
    Tables(page_table::OutOfTables),
    Answer(AnswerError),
    /// Memory that was found to be there cannot be reached: an error in the loader.
    Unreachable(Range),
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMultiboot(magic) => write!(out, "not started by a multiboot loader (eax is {magic:#x})"),
            Self::BootInfo(error) => error.fmt(out),
            Self::Plan(error) => error.fmt(out),
            Self::Image(error) => error.fmt(out),
            Self::NoRsdp => out.write_str("no ACPI root pointer (RSDP) was found"),
            Self::Tables(error) => error.fmt(out),
            Self::Answer(error) => error.fmt(out),
            Self::Unreachable(range) => write!(out, "memory at {:#x} cannot be reached", range.start),
        }
    }
}

macro_rules! from {
    ($($variant:ident($error:ty)),*) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        }
    )*};
}

from!(
    BootInfo(boot_info::Error),
    Plan(plan::Error),
    Image(image::Error),
    Tables(page_table::OutOfTables),
    Answer(AnswerError)
);

/// Where the kernel is entered.
struct Entry {
    page_tables: u64,
    address: u64,
}

/// Entered from the 32-bit start code with what `eax` and `ebx` held.
#[unsafe(no_mangle)]
extern "sysv64" fn start64(magic: u32, information: u32) -> ! {
    match load(magic, information) {
        Ok(entry) => machine::hand_off(entry.page_tables, entry.address),
        Err(error) => stop(format_args!("{error}")),
    }
}

/// Loads the kernel and builds all that it expects.
fn load(magic: u32, information: u32) -> Result<Entry, Error> {
    let memory = Direct::new();
    let info = match magic {
        multiboot1::MAGIC => multiboot1::parse(&memory, information)?,
        multiboot2::MAGIC => multiboot2::parse(&memory, information)?,
        _ => return Err(Error::NotMultiboot(magic)),
    };
    let rsdp = match info.rsdp.clone() {
        Some(rsdp) => rsdp,
        None => rsdp::search(&memory).map(Rsdp::At).ok_or(Error::NoRsdp)?,
    };
    let loader = machine::loader_range();
    let module = plan::kernel_module(&info, loader)?.range;
    let length = usize::try_from(module.length()).map_err(|_| Error::Unreachable(module))?;
    let file =
        loader::PhysicalMemory::bytes(&memory, module.start, length).ok_or(Error::Unreachable(module))?;
    let image = Image::parse(file)?;
    let plan = Plan::new(&info, &image, loader)?;
    place(&plan, &info, &rsdp, &image, file)
}

/// Fills the memory that was planned.
fn place(plan: &Plan, info: &BootInfo, rsdp: &Rsdp, image: &Image, file: &[u8]) -> Result<Entry, Error> {
    // SAFETY: the plan put the three ranges into free memory below 4 GiB, apart from each other, from the loader and from
    // the modules; the boot information was copied into `info`. So nothing else refers to them. Any bytes
    // are valid words and tables.
    let (bytes, tables, words) = unsafe {
        (
            machine::claim::<u64>(plan.kernel).ok_or(Error::Unreachable(plan.kernel))?,
            machine::claim::<Table>(plan.tables).ok_or(Error::Unreachable(plan.tables))?,
            machine::claim::<u64>(plan.answers).ok_or(Error::Unreachable(plan.answers))?,
        )
    };
    image.copy_into(file, machine::as_bytes(bytes)).ok_or(Error::Unreachable(plan.kernel))?;
    let mut arena = Arena::new(words, plan.answers.start);
    plan.answer(info, rsdp, image.span, bytes, &mut arena)?;

    let mut builder = Builder::new(tables, plan.tables.start)?;
    for segment in &image.segments {
        let offset = segment.pages.start - image.span.start;
        let start = plan.kernel.start + offset;
        let physical = Range { start, end: start + segment.pages.length() };
        builder.map(segment.pages.start, physical, segment.protection)?;
    }
    builder.map_direct(plan.direct_end)?;
    // The one instruction that follows the switch of page tables is fetched from here.
    let bridge = machine::hand_off_page();
    let physical = Range { start: bridge, end: (bridge + PAGE_SIZE).min(REACHABLE_END) };
    builder.map(bridge, physical, Protection::ReadExecute)?;
    Ok(Entry { page_tables: builder.root(), address: image.entry })
}

/// Says what is wrong and stops the machine.
fn stop(reason: fmt::Arguments<'_>) -> ! {
    serial::line(format_args!("capos loader: {reason}"));
    machine::halt()
}

#[panic_handler]
fn panicked(info: &PanicInfo<'_>) -> ! {
    stop(format_args!("{info}"))
}
