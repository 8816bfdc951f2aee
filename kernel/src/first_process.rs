//! Starts the first process, "init", from the boot package.
//!
//! It is the only program that the kernel loads itself: a static ELF executable whose segments are copied into fresh
//! memory, one object each.

use crate::error::Error;
use crate::memory::{PAGE, PhysicalAddress};
use crate::object::Object;
use crate::object::account::Quota;
use crate::object::address_space::Placement;
use crate::object::memory_object::{MemoryObject, View};
use crate::object::process::Process;
use crate::time;
use abi::{ClockPage, FirstHandles, first_process::BOOT_PACKAGE_ADDRESS};
use alloc::sync::Arc;
use capnp::message::{Reader, ReaderOptions, ReaderSegments};
use elf::ElfBytes;
use elf::abi::{EM_X86_64, ET_EXEC, PF_W, PF_X, PT_LOAD};
use elf::endian::LittleEndian;
use schema::boot_capnp::boot_package;
use schema::memory_capnp::Protection;

const NAME: &str = "init";
const QUOTA: Quota = Quota { frames: 4096, handles: 2048, threads: 4, dma_pages: 0 };
const PRIORITY: u8 = 31;

const STACK_TOP: u64 = 0x7fff_0000_0000;
const STACK_PAGES: u32 = 32;
const MESSAGE_BUFFER: u64 = STACK_TOP + PAGE;
const CLOCK_PAGE: u64 = STACK_TOP + 3 * PAGE;

/// Most segments of its executable.
const MAXIMUM_SEGMENTS: usize = 8;

struct Package<'a>(&'a [u8]);

impl ReaderSegments for Package<'_> {
    fn get_segment(&self, index: u32) -> Option<&[u8]> {
        (index == 0).then_some(self.0)
    }

    fn len(&self) -> usize {
        1
    }
}

/// Finds "init" in the boot package (`length` bytes of RAM at `start`) and starts it.
pub fn start(start: PhysicalAddress, length: u64) -> Result<(), Error> {
    let pages =
        u32::try_from(length.div_ceil(PAGE)).map_err(|_| Error::failed("the boot package is too large"))?;
    if !start.0.is_multiple_of(PAGE) || pages == 0 {
        return Err(Error::failed("the boot package is empty or not page aligned"));
    }
    // SAFETY: the boot loader put the module there and nothing else uses that memory; whole words.
    let bytes = unsafe { core::slice::from_raw_parts(start.pointer::<u8>(), (length / 8 * 8) as usize) };
    let options = ReaderOptions { traversal_limit_in_words: None, nesting_limit: 16 };
    let message = Reader::new(Package(bytes), options);
    let package = message.get_root::<boot_package::Reader<'_>>()?;
    let mut binary = None;
    for entry in package.get_binaries()? {
        if entry.get_name()?.as_bytes() == NAME.as_bytes() {
            binary = Some(entry.get_content()?);
        }
    }
    let binary = binary.ok_or(Error::failed("the boot package holds no init"))?;

    let process = Process::new(NAME, QUOTA, PRIORITY)?;
    let (entry, image_end) = load(&process, binary)?;
    let package = MemoryObject::sealed(start, pages);
    map(&process, &package, BOOT_PACKAGE_ADDRESS, Protection::Read)?;
    let stack = MemoryObject::new(&process.account, STACK_PAGES)?;
    map(&process, &stack, STACK_TOP - u64::from(STACK_PAGES) * PAGE, Protection::ReadWrite)?;
    let clock = MemoryObject::new(&process.account, 1)?;
    if let Some(page) = clock.frame(0) {
        // SAFETY: the page is new and not mapped anywhere yet.
        unsafe { page.pointer::<ClockPage>().write(time::parameters()) };
    }
    map(&process, &clock, CLOCK_PAGE, Protection::Read)?;

    let handles = [
        (FirstHandles::OwnProcess, Object::OwnProcess(process.clone())),
        (FirstHandles::ProcessManager, Object::ProcessManager),
        (FirstHandles::BootPackage, Object::MemoryObject(package)),
        (FirstHandles::PciInventory, Object::PciInventory),
        (FirstHandles::IoPortManager, Object::IoPortManager),
        (FirstHandles::LegacyInterruptManager, Object::LegacyInterruptManager),
        (FirstHandles::KernelLog, Object::KernelLog),
        (FirstHandles::LogWriter, Object::LogWriter),
        (FirstHandles::SystemInfo, Object::SystemInfo),
        (FirstHandles::Clock, Object::Clock),
        (FirstHandles::Power, Object::Power),
    ];
    for (expected, object) in handles {
        if process.insert(object)? != expected as u32 {
            return Err(Error::failed("the first handles are out of order"));
        }
    }
    let arguments = [
        u64::from(FirstHandles::OwnProcess as u32),
        BOOT_PACKAGE_ADDRESS,
        length / 8,
        MESSAGE_BUFFER,
        CLOCK_PAGE,
        image_end,
    ];
    process.start_thread(entry, STACK_TOP, MESSAGE_BUFFER, arguments)?;
    Ok(())
}

fn map(
    process: &Process,
    memory: &Arc<MemoryObject>,
    address: u64,
    protection: Protection,
) -> Result<(), Error> {
    let placement = Placement { offset: 0, pages: memory.pages(), address };
    process.space.map_memory(memory, View::Full, &placement, protection)
}

/// Copies the segments into memory of the process; returns the entry and the first free address behind them.
fn load(process: &Process, binary: &[u8]) -> Result<(u64, u64), Error> {
    let bad = |_| Error::failed("init is not a readable ELF file");
    let file = ElfBytes::<LittleEndian>::minimal_parse(binary).map_err(bad)?;
    let segments = file.segments().ok_or(Error::failed("init has no segments"))?;
    if file.ehdr.e_type != ET_EXEC || file.ehdr.e_machine != EM_X86_64 || segments.len() > MAXIMUM_SEGMENTS {
        return Err(Error::failed("init is not a static x86-64 executable"));
    }
    let mut image_end = 0;
    for segment in segments.iter().filter(|segment| segment.p_type == PT_LOAD && segment.p_memsz > 0) {
        let data = file.segment_data(&segment).map_err(bad)?;
        let first = segment.p_vaddr / PAGE * PAGE;
        let end =
            segment.p_vaddr.checked_add(segment.p_memsz).ok_or(Error::failed("a segment of init wraps"))?;
        let pages =
            u32::try_from((end - first).div_ceil(PAGE)).map_err(|_| Error::failed("init is too large"))?;
        if data.len() as u64 > segment.p_memsz {
            return Err(Error::failed("a segment of init is larger in the file than in memory"));
        }
        let memory = MemoryObject::new(&process.account, pages)?;
        let mut position = segment.p_vaddr - first;
        let mut rest = data;
        while !rest.is_empty() {
            let frame = memory.frame((position / PAGE) as u32).ok_or(Error::failed("init is too large"))?;
            let room = (PAGE - position % PAGE) as usize;
            let (part, after) = rest.split_at(room.min(rest.len()));
            // SAFETY: the frame is new, and the part fits into what is left of it.
            unsafe {
                let to = frame.pointer::<u8>().add((position % PAGE) as usize);
                core::ptr::copy_nonoverlapping(part.as_ptr(), to, part.len());
            }
            position += part.len() as u64;
            rest = after;
        }
        let protection = match (segment.p_flags & PF_W != 0, segment.p_flags & PF_X != 0) {
            (true, true) => return Err(Error::failed("a segment of init is writable and executable")),
            (true, false) => Protection::ReadWrite,
            (false, true) => {
                memory.seal()?;
                Protection::ReadExecute
            }
            (false, false) => Protection::Read,
        };
        map(process, &memory, first, protection)?;
        image_end = image_end.max(first + u64::from(pages) * PAGE);
    }
    Ok((file.ehdr.e_entry, image_end))
}
