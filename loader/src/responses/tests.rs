//! A kernel that uses the `limine` crate reads what the loader wrote.
//!
//! The answers hold addresses in the direct map. On the host the crate would follow them, so the arena's physical
//! base is chosen such that the direct map's address of a word is the word's own address.

use limine::request::{
    BootloaderInfoRequest, ExecutableAddressRequest, ExecutableCmdlineRequest, ExecutableFileRequest,
    HhdmRequest, MemmapRequest, ModulesRequest, RsdpRequest, StackSizeRequest,
};

use super::*;
use crate::{
    boot_info::{BootInfo, text},
    image::{Image, LOWEST_ADDRESS, tests::file},
    memory_map::Range,
    plan::{self, AnswerError, Plan},
    requests,
};

/// All requests of a kernel, as they lie in its image.
#[repr(C)]
struct Kernel {
    revision: limine::BaseRevision,
    info: BootloaderInfoRequest,
    line: ExecutableCmdlineRequest,
    stack: StackSizeRequest,
    large_stack: StackSizeRequest,
    hhdm: HhdmRequest,
    map: MemmapRequest,
    file: ExecutableFileRequest,
    modules: ModulesRequest,
    rsdp: RsdpRequest,
    address: ExecutableAddressRequest,
}

const WORDS: usize = size_of::<Kernel>() / 8;

impl Kernel {
    fn image(self) -> [u64; WORDS] {
        // SAFETY: both are plain words; the array has the structure's size, and no padding is in it, since
        // each member is a sequence of words.
        unsafe { core::mem::transmute::<Self, [u64; WORDS]>(self) }
    }
}

fn kernel(revision: u64) -> Kernel {
    Kernel {
        revision: limine::BaseRevision::with_revision(revision),
        info: BootloaderInfoRequest::new(),
        line: ExecutableCmdlineRequest::new(),
        stack: StackSizeRequest::new(64 << 10),
        large_stack: StackSizeRequest::new(1 << 20),
        hhdm: HhdmRequest::new(),
        map: MemmapRequest::new(),
        file: ExecutableFileRequest::new(),
        modules: ModulesRequest::new(),
        rsdp: RsdpRequest::new(),
        address: ExecutableAddressRequest::new(),
    }
}

const LOADER: Range = Range { start: 0x10_0000, end: 0x12_0000 };

fn info() -> BootInfo {
    let mut info = BootInfo::new();
    info.command_line = text(b"quiet");
    info.add_region(0, 0x9_fc00, 1).expect("room");
    info.add_region(0x10_0000, 0x3f0_0000, 1).expect("room");
    for (start, name) in [(0x20_0000, "kernel"), (0x30_0000, "package")] {
        let range = Range { start, end: start + 0x1234 };
        info.add_module(Module { range, path: text(name.as_bytes()), command_line: text(b"") })
            .expect("room");
    }
    info
}

fn image() -> Image {
    Image::parse(&file(LOWEST_ADDRESS, &[(5, 0x200, LOWEST_ADDRESS, 0x100, 0x3000)])).expect("a kernel")
}

/// Loads nothing, but answers everything.
fn answered(revision: u64, rsdp: &Rsdp) -> Result<&'static Kernel, AnswerError> {
    answered_for(&info(), revision, rsdp)
}

fn answered_for(info: &BootInfo, revision: u64, rsdp: &Rsdp) -> Result<&'static Kernel, AnswerError> {
    let plan = Plan::new(info, &image(), LOADER).expect("a plan");
    let words: &'static mut [u64] = vec![0; 0x4000].leak();
    let base = (words.as_ptr() as u64).wrapping_sub(HHDM);
    let mut arena = Arena { words, used: 0, base };
    let image_words: &'static mut [u64] = Box::leak(Box::new(kernel(revision).image()));
    plan.answer(info, rsdp, image().span, image_words, &mut arena)?;
    // SAFETY: the words are those of a `Kernel`, and are never freed.
    Ok(unsafe { &*image_words.as_ptr().cast::<Kernel>() })
}

#[test]
fn every_request_is_answered_with_what_is_true() {
    let kernel = answered(4, &Rsdp::At(0xf_5ad0)).expect("answered");
    assert!(kernel.revision.is_supported());
    assert_eq!(kernel.revision.actual_revision(), Some(4));
    assert_eq!(kernel.info.response().expect("answered").name(), "capos-loader");
    assert_eq!(kernel.line.response().expect("answered").cmdline(), "quiet");
    assert!(kernel.stack.response().is_some());
    assert!(kernel.large_stack.response().is_none());
    assert_eq!(kernel.hhdm.response().expect("answered").offset, HHDM);
    assert_eq!(kernel.rsdp.response().expect("answered").address as u64, HHDM + 0xf_5ad0);
    let address = kernel.address.response().expect("answered");
    assert_eq!(address.virtual_base, LOWEST_ADDRESS);
    let file = kernel.file.response().expect("answered").executable_file();
    assert_eq!(file.path(), "kernel");
    let modules = kernel.modules.response().expect("answered").modules();
    assert_eq!(modules.iter().map(|file| file.path()).collect::<Vec<_>>(), ["package"]);
    assert_eq!(modules[0].data().as_ptr() as u64, HHDM + 0x30_0000);
    assert_eq!(modules[0].data().len(), 0x1234);
}

#[test]
fn the_memory_map_is_sorted_and_tells_what_is_taken() {
    let kernel = answered(4, &Rsdp::At(0xf_5ad0)).expect("answered");
    let entries = kernel.map.response().expect("answered").entries();
    assert!(entries.windows(2).all(|pair| pair[0].base + pair[0].length <= pair[1].base));
    assert!(entries.iter().all(|entry| entry.base % 4096 == 0 && entry.length % 4096 == 0));
    let at = |address: u64| entries.iter().find(|one| one.base <= address && address < one.base + one.length);
    let kind = |address| at(address).map(|entry| entry.type_);
    let placed = kernel.address.response().expect("answered").physical_base;
    assert_eq!(kind(0), Some(limine::memmap::MEMMAP_RESERVED));
    assert_eq!(kind(0x1000), Some(limine::memmap::MEMMAP_USABLE));
    assert_eq!(kind(LOADER.start), Some(limine::memmap::MEMMAP_BOOTLOADER_RECLAIMABLE));
    assert_eq!(kind(0x20_1000), Some(limine::memmap::MEMMAP_EXECUTABLE_AND_MODULES));
    assert_eq!(kind(0x30_0000), Some(limine::memmap::MEMMAP_EXECUTABLE_AND_MODULES));
    assert_eq!(kind(placed + 0x2fff), Some(limine::memmap::MEMMAP_EXECUTABLE_AND_MODULES));
    assert_eq!(kind(placed + 0x3000), Some(limine::memmap::MEMMAP_BOOTLOADER_RECLAIMABLE));
    assert_eq!(kind(0x3f0_0000), Some(limine::memmap::MEMMAP_USABLE));
    assert_eq!(kind(0x400_0000), None);
}

#[test]
fn a_kernel_that_does_not_ask_for_its_file_gets_the_memory_back() {
    let mut info = info();
    info.modules[0].range = Range { start: 0, end: 0x8_0000 };
    let plan = Plan::new(&info, &image(), LOADER).expect("a plan");
    // Only the base revision tag and the memory map's request are left.
    let mut image_words = kernel(4).image();
    let map = core::mem::offset_of!(Kernel, map) / 8;
    let file = core::mem::offset_of!(Kernel, file) / 8;
    image_words[3..map].fill(0);
    image_words[file..].fill(0);
    let mut words = vec![0; 0x4000];
    plan.answer(&info, &Rsdp::At(0), image().span, &mut image_words, &mut Arena::new(&mut words, 0))
        .expect("answered");
    let reserved = [0, 0x1000, limine::memmap::MEMMAP_RESERVED];
    let free = [0x1000, 0x9_e000, limine::memmap::MEMMAP_USABLE];
    assert!(words.windows(6).any(|six| six == [reserved, free].concat()));
}

#[test]
fn a_boot_package_at_address_0_stays_a_module() {
    let mut info = info();
    info.modules[1].range = Range { start: 0, end: 0x1_0000 };
    let kernel = answered_for(&info, 4, &Rsdp::At(0xf_5ad0)).expect("answered");
    let entries = kernel.map.response().expect("answered").entries();
    assert_eq!((entries[0].base, entries[0].length), (0, 0x1_0000));
    assert_eq!(entries[0].type_, limine::memmap::MEMMAP_EXECUTABLE_AND_MODULES);
}

#[test]
fn base_revision_2_gets_the_root_pointer_by_its_address_in_the_direct_map() {
    let kernel = answered(2, &Rsdp::At(0xf_5ad0)).expect("answered");
    assert!(kernel.revision.is_supported());
    assert_eq!(kernel.rsdp.response().expect("answered").address as u64, HHDM + 0xf_5ad0);
}

#[test]
fn base_revision_3_gets_the_root_pointer_by_physical_address() {
    let kernel = answered(3, &Rsdp::At(0xf_5ad0)).expect("answered");
    assert_eq!(kernel.rsdp.response().expect("answered").address as u64, 0xf_5ad0);
}

#[test]
fn a_copied_root_pointer_lies_in_the_answers() {
    let copy = crate::boot_info::RsdpCopy::try_from(&crate::rsdp::tests::valid(2)[..]).expect("36 bytes");
    let kernel = answered(4, &Rsdp::Copy(copy)).expect("answered");
    let address = kernel.rsdp.response().expect("answered").address.cast::<[u8; 8]>();
    // SAFETY: the address is in the leaked arena.
    assert_eq!(unsafe { &*address }, b"RSD PTR ");
}

#[test]
fn an_unknown_base_revision_is_refused() {
    let error = answered(6, &Rsdp::At(0)).err();
    assert_eq!(error, Some(AnswerError::Requests(requests::Error::BaseRevision(6))));
}

#[test]
fn a_full_arena_is_an_error() {
    let mut words = [0; 4];
    let mut arena = Arena::new(&mut words, 0);
    assert!(arena.text(b"12345678").is_ok());
    assert_eq!(arena.words(&[1, 2, 3]), Err(Full));
    assert_eq!(arena.modules(&info().modules), Err(Full));
}

#[test]
fn modules_are_checked() {
    assert!(plan::kernel_module(&info(), LOADER).is_ok());
    let with = |start: u64, end: u64| {
        let mut info = info();
        info.modules[1].range = Range { start, end };
        plan::kernel_module(&info, LOADER).err()
    };
    assert_eq!(with(0x30_0001, 0x30_1000), Some(plan::Error::Unaligned(0x30_0001)));
    assert_eq!(
        with(0x20_1000, 0x20_2000),
        Some(plan::Error::NotInMemory(0x20_1000)),
        "over the kernel's last page"
    );
    assert_eq!(with(0x11_f000, 0x12_1000), Some(plan::Error::NotInMemory(0x11_f000)), "over the loader");
    assert_eq!(
        with(0x3ff_f000, 0x400_0001),
        Some(plan::Error::NotInMemory(0x3ff_f000)),
        "past the end of memory"
    );
    let mut one = info();
    one.modules.pop();
    assert_eq!(plan::kernel_module(&one, LOADER).err(), Some(plan::Error::MissingModule("boot package")));
    one.modules.pop();
    assert_eq!(plan::kernel_module(&one, LOADER).err(), Some(plan::Error::MissingModule("kernel")));
}

#[test]
fn a_machine_that_is_too_small_has_no_plan() {
    let mut info = info();
    info.memory = crate::memory_map::MemoryMap::new();
    info.add_region(0x10_0000, 0x2_0000, 1).expect("room");
    assert!(matches!(Plan::new(&info, &image(), LOADER), Err(plan::Error::NoRoom(_))));
}
