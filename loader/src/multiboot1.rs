//! Reads multiboot 1 boot information [MB1 3.3].

use crate::{
    PhysicalMemory,
    boot_info::{BootInfo, Error, MAXIMUM_TEXT, Module, split_name, text},
    memory_map::Range,
    u32_at, u64_at,
};

/// What `eax` holds at entry.
pub const MAGIC: u32 = 0x2bad_b002;

const INFO_LENGTH: usize = 52;
const HAS_COMMAND_LINE: u32 = 1 << 2;
const HAS_MODULES: u32 = 1 << 3;
const HAS_MEMORY_MAP: u32 = 1 << 6;
const MODULE_LENGTH: usize = 16;

/// Reads all that the loader needs of the structure at `address`.
pub fn parse(memory: &impl PhysicalMemory, address: u32) -> Result<BootInfo, Error> {
    let bytes = read(memory, "boot information", address, INFO_LENGTH)?;
    let field = |offset| u32_at(bytes, offset).ok_or(Error::Unreadable("boot information", address.into()));
    let flags = field(0)?;
    let mut info = BootInfo::new();
    if flags & HAS_COMMAND_LINE != 0 {
        info.command_line = split_name(&read_text(memory, field(16)?)).1;
    }
    if flags & HAS_MODULES != 0 {
        read_modules(memory, field(20)?, field(24)?, &mut info)?;
    }
    if flags & HAS_MEMORY_MAP != 0 {
        read_memory_map(memory, field(48)?, field(44)?, &mut info)?;
    }
    if info.memory.is_empty() { Err(Error::NoMemoryMap) } else { Ok(info) }
}

fn read_modules(
    memory: &impl PhysicalMemory,
    count: u32,
    address: u32,
    info: &mut BootInfo,
) -> Result<(), Error> {
    // A count that does not fit makes a length that cannot be read.
    let length = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(MODULE_LENGTH);
    let bytes = read(memory, "module list", address, length)?;
    for entry in bytes.chunks_exact(MODULE_LENGTH) {
        let field = |offset| u32_at(entry, offset).ok_or(Error::Unreadable("module list", address.into()));
        let range = Range { start: field(0)?.into(), end: field(4)?.into() };
        let (path, command_line) = split_name(&read_text(memory, field(8)?));
        info.add_module(Module { range, path, command_line })?;
    }
    Ok(())
}

fn read_memory_map(
    memory: &impl PhysicalMemory,
    address: u32,
    length: u32,
    info: &mut BootInfo,
) -> Result<(), Error> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let mut rest = read(memory, "memory map", address, length)?;
    // `size` counts what follows it: base, length, type [MB1 3.3].
    while let (Some(size), Some(base), Some(length), Some(kind)) =
        (u32_at(rest, 0), u64_at(rest, 4), u64_at(rest, 12), u32_at(rest, 20))
    {
        info.add_region(base, length, kind)?;
        let step = usize::try_from(size).unwrap_or(usize::MAX).max(20).saturating_add(4);
        rest = rest.get(step..).unwrap_or_default();
    }
    Ok(())
}

/// Reads a structure, or says which one could not be read.
fn read<'a>(
    memory: &'a impl PhysicalMemory,
    what: &'static str,
    address: u32,
    length: usize,
) -> Result<&'a [u8], Error> {
    memory.bytes(address.into(), length).ok_or(Error::Unreadable(what, address.into()))
}

/// Reads a zero-terminated text; one that cannot be read is empty.
fn read_text(memory: &impl PhysicalMemory, address: u32) -> crate::boot_info::Text {
    memory.bytes(address.into(), MAXIMUM_TEXT).map(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory_map::Kind;

    /// 64 KiB of memory at address 0.
    struct Memory(Vec<u8>);

    impl Memory {
        fn new() -> Self {
            Self(vec![0; 0x10000])
        }
        fn put(&mut self, address: usize, words: &[u32]) {
            for (index, word) in words.iter().enumerate() {
                self.0[address + 4 * index..][..4].copy_from_slice(&word.to_le_bytes());
            }
        }
        fn text(&mut self, address: usize, text: &str) {
            self.0[address..][..text.len()].copy_from_slice(text.as_bytes());
        }
    }

    impl PhysicalMemory for Memory {
        fn bytes(&self, address: u64, length: usize) -> Option<&[u8]> {
            self.0.get(usize::try_from(address).ok()?..)?.get(..length)
        }
    }

    fn machine() -> Memory {
        let mut memory = Memory::new();
        memory.put(0x1000, &[HAS_COMMAND_LINE | HAS_MODULES | HAS_MEMORY_MAP, 0, 0, 0, 0x2000, 2, 0x3000]);
        memory.put(0x1000 + 44, &[48, 0x4000]);
        memory.text(0x2000, "loader  quiet test=1");
        memory.put(0x3000, &[0x20_0000, 0x20_1234, 0x2100, 0, 0x30_0000, 0x30_8000, 0x2200, 0]);
        memory.text(0x2100, "kernel x");
        memory.text(0x2200, "package");
        memory.put(0x4000, &[20, 0, 0, 0x9fc00, 0, 1, 20, 0x10_0000, 0, 0x70_0000, 0, 1]);
        memory
    }

    #[test]
    fn reads_what_qemu_writes() {
        let info = parse(&machine(), 0x1000).expect("well formed");
        assert_eq!(&info.command_line[..], b"quiet test=1");
        assert_eq!(info.modules[0].range, Range { start: 0x20_0000, end: 0x20_1234 });
        assert_eq!(
            (&info.modules[0].path[..], &info.modules[0].command_line[..]),
            (&b"kernel"[..], &b"x"[..])
        );
        assert_eq!(&info.modules[1].path[..], b"package");
        let map = info.memory.finish();
        assert_eq!(map[1].range, Range { start: 0x10_0000, end: 0x80_0000 });
        assert_eq!(map[1].kind, Kind::Usable);
    }

    #[test]
    fn says_what_is_missing_or_out_of_reach() {
        let mut memory = machine();
        memory.put(0x1000, &[HAS_MODULES]);
        assert_eq!(parse(&memory, 0x1000).err(), Some(Error::NoMemoryMap));
        assert_eq!(parse(&memory, 0xfff0).err(), Some(Error::Unreadable("boot information", 0xfff0)));
        memory.put(0x1000 + 20, &[u32::MAX]);
        assert_eq!(parse(&memory, 0x1000).err(), Some(Error::Unreadable("module list", 0x3000)));
    }

    #[test]
    fn refuses_a_module_that_ends_before_it_starts() {
        let mut memory = machine();
        memory.put(0x3000, &[0x20_0000, 0x10_0000]);
        assert_eq!(parse(&memory, 0x1000).err(), Some(Error::BadModule(0x20_0000)));
    }

    #[test]
    fn a_memory_map_entry_of_size_zero_does_not_hang() {
        let mut memory = machine();
        memory.put(0x4000, &[0, 0, 0, 0x9fc00, 0, 1, 0]);
        assert!(parse(&memory, 0x1000).is_ok());
    }
}
