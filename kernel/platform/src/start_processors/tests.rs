use super::*;
use crate::processor;

extern "C" fn entry(_: u64) -> ! {
    panic!("not called in tests")
}

fn request() -> StartRequest {
    StartRequest {
        target: ApicId(3),
        page_table_root: PhysicalAddress(0x1_2345_6000),
        stack_top: 0xffff_8000_0001_0000,
        entry,
        argument: 42,
    }
}

fn pages() -> Box<[u64; TRAMPOLINE_PAGES * 512]> {
    Box::new([!0; TRAMPOLINE_PAGES * 512])
}

fn memory(pages: &mut [u64; TRAMPOLINE_PAGES * 512], physical: u64) -> Option<TrampolineMemory> {
    let pointer = NonNull::from(pages).cast();
    // SAFETY: the test owns the memory and reads it only after its last use by the value.
    unsafe { TrampolineMemory::new(PhysicalAddress(physical), pointer) }
}

/// Walks the tables as the processor does.
fn walk(pages: &[u64], base: u64, root: u64, address: u64) -> Option<u64> {
    let mut table = root;
    for level in (0..4).rev() {
        let index = (address >> (12 + 9 * level)) & 511;
        let entry = pages[((table - base) / 8 + index) as usize];
        if entry & 1 == 0 {
            return None;
        }
        table = entry & 0x000f_ffff_ffff_f000;
    }
    Some(table | address & 0xfff)
}

#[test]
fn only_low_pages_are_taken() {
    let mut pages = pages();
    for (physical, usable) in [(0, false), (0x1000, true), (0x1001, false), (0x98000, true), (0x99000, false)]
    {
        assert_eq!(memory(&mut pages, physical).is_some(), usable, "{physical:#x}");
    }
    assert!(memory(&mut pages, u64::MAX - 0xfff).is_none());
}

#[test]
fn the_trampoline_maps_itself_and_the_entry_stub_and_nothing_else() {
    let mut pages = pages();
    let mut memory = memory(&mut pages, 0x8000).unwrap();
    // The usual place of a kernel, whose lower indexes are 0 like those of the low pages.
    let stub = 0xffff_ffff_8000_8040;
    let root = tables::write(&mut memory, stub, PhysicalAddress(0x1_0000_0040));
    assert_eq!(root, 0x9000);
    let walk = |address| walk(pages.as_slice(), 0x8000, u64::from(root), address);
    assert_eq!(walk(0x8123), Some(0x8123));
    assert_eq!(walk(stub), Some(0x1_0000_0040));
    assert_eq!(walk(0x9000), None);
    assert_eq!(walk(0xffff_ffff_8000_9000), None);
    assert_eq!(walk(0xffff_8000_0000_8000), None);
}

#[test]
fn the_parameters_are_behind_the_code() {
    assert!(trampoline::length() <= PAGE as usize);
    let mut pages = pages();
    let mut memory = memory(&mut pages, 0x8000).unwrap();
    let stub = trampoline::entry_stub();
    let translate = |address| (address == stub).then_some(PhysicalAddress(0x20_0000 + (stub & 0xfff)));
    prepare(&mut memory, &processor::identify(), &request(), translate).unwrap();
    let code: Vec<u8> = pages[..512].iter().flat_map(|word| word.to_le_bytes()).collect();
    assert_eq!(code[..2], [0xfa, 0xfc]); // cli, cld
    let parameters = trampoline::length() - 64;
    let word = |at: usize| u64::from_le_bytes(code[at..at + 8].try_into().unwrap());
    assert_eq!(word(parameters), 0x0000_0900_0000_9000); // root; EFER with LME and NXE
    assert_eq!(word(parameters + 8), 3); // target, not taken
    assert_eq!(word(parameters + 16), 0x1_2345_6000);
    assert_eq!(word(parameters + 24), 0xffff_8000_0001_0000);
    assert_eq!(word(parameters + 32), 42);
    assert_eq!(word(parameters + 56), stub);
}

#[test]
fn the_entry_stub_does_not_cross_a_page() {
    assert!(trampoline::entry_stub() % PAGE <= PAGE - 64);
}

#[test]
fn a_kernel_that_cannot_name_the_stub_is_told() {
    let mut pages = pages();
    let mut memory = memory(&mut pages, 0x8000).unwrap();
    let result = prepare(&mut memory, &processor::identify(), &request(), |_| None);
    assert_eq!(result, Err(StartError::StubNotMapped));
}
