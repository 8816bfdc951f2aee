//! Reads multiboot 2 boot information [MB2 3.6].

use crate::{
    PhysicalMemory,
    boot_info::{BootInfo, Error, Module, Rsdp, RsdpCopy, text},
    memory_map::Range,
    rsdp, u32_at, u64_at,
};

/// What `eax` holds at entry.
pub const MAGIC: u32 = 0x36d7_6289;

/// Tags before which an endless list is given up.
const MAXIMUM_TAGS: usize = 256;

const TAG_END: u32 = 0;
const TAG_COMMAND_LINE: u32 = 1;
const TAG_MODULE: u32 = 3;
const TAG_MEMORY_MAP: u32 = 6;
const TAG_ACPI_OLD: u32 = 14;
const TAG_ACPI_NEW: u32 = 15;

/// Reads all that the loader needs of the structure at `address`.
pub fn parse(memory: &impl PhysicalMemory, address: u32) -> Result<BootInfo, Error> {
    let unreadable = Error::Unreadable("boot information", address.into());
    let total = memory.bytes(address.into(), 8).and_then(|bytes| u32_at(bytes, 0)).ok_or(unreadable)?;
    let total = usize::try_from(total).map_err(|_| unreadable)?;
    let bytes = memory.bytes(address.into(), total).ok_or(unreadable)?;
    let mut rest = bytes.get(8..).ok_or(unreadable)?;
    let mut info = BootInfo::new();
    for _ in 0..MAXIMUM_TAGS {
        let (Some(kind), Some(size)) = (u32_at(rest, 0), u32_at(rest, 4)) else { break };
        let size = usize::try_from(size).map_err(|_| unreadable)?;
        let tag = rest.get(..size).ok_or(unreadable)?;
        let body = tag.get(8..).ok_or(unreadable)?;
        match kind {
            TAG_END => break,
            TAG_COMMAND_LINE => info.command_line = text(body),
            TAG_MODULE => read_module(body, &mut info).ok_or(unreadable)??,
            TAG_MEMORY_MAP => read_memory_map(body, &mut info).ok_or(unreadable)??,
            // The new form has a 64-bit table address: it is preferred whatever the order.
            TAG_ACPI_NEW => info.rsdp = copy_rsdp(body).or(info.rsdp),
            TAG_ACPI_OLD => info.rsdp = info.rsdp.or(copy_rsdp(body)),
            _ => {}
        }
        rest = size.checked_next_multiple_of(8).and_then(|step| rest.get(step..)).unwrap_or_default();
    }
    if info.memory.is_empty() { Err(Error::NoMemoryMap) } else { Ok(info) }
}

fn read_module(body: &[u8], info: &mut BootInfo) -> Option<Result<(), Error>> {
    let range = Range { start: u32_at(body, 0)?.into(), end: u32_at(body, 4)?.into() };
    // The text is the arguments alone, or whatever the boot loader's user wrote.
    Some(info.add_module(Module { range, path: text(b""), command_line: text(body.get(8..)?) }))
}

fn read_memory_map(body: &[u8], info: &mut BootInfo) -> Option<Result<(), Error>> {
    let entry_size = usize::try_from(u32_at(body, 0)?).ok()?;
    if entry_size < 20 {
        return None;
    }
    for entry in body.get(8..)?.chunks_exact(entry_size) {
        if let Err(error) = info.add_region(u64_at(entry, 0)?, u64_at(entry, 8)?, u32_at(entry, 16)?) {
            return Some(Err(error));
        }
    }
    Some(Ok(()))
}

/// The pointer in a tag, if it is a valid one.
fn copy_rsdp(body: &[u8]) -> Option<Rsdp> {
    let length = rsdp::checked_length(body)?;
    RsdpCopy::try_from(body.get(..length)?).ok().map(Rsdp::Copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Memory(Vec<u8>);

    impl PhysicalMemory for Memory {
        fn bytes(&self, address: u64, length: usize) -> Option<&[u8]> {
            self.0.get(usize::try_from(address).ok()?..)?.get(..length)
        }
    }

    fn tag(kind: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend_from_slice(&u32::try_from(8 + body.len()).expect("small").to_le_bytes());
        bytes.extend_from_slice(body);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    fn memory(tags: &[Vec<u8>]) -> Memory {
        let body = tags.concat();
        let mut bytes = u32::try_from(8 + body.len()).expect("small").to_le_bytes().to_vec();
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&body);
        Memory(bytes)
    }

    fn memory_map() -> Vec<u8> {
        let mut body = Vec::new();
        body.extend_from_slice(&24u32.to_le_bytes());
        body.extend_from_slice(&0u32.to_le_bytes());
        body.extend_from_slice(&0x10_0000u64.to_le_bytes());
        body.extend_from_slice(&0x100_0000u64.to_le_bytes());
        body.extend_from_slice(&1u64.to_le_bytes());
        tag(TAG_MEMORY_MAP, &body)
    }

    fn module(start: u32, end: u32, line: &str) -> Vec<u8> {
        tag(TAG_MODULE, &[&start.to_le_bytes()[..], &end.to_le_bytes(), line.as_bytes(), b"\0"].concat())
    }

    #[test]
    fn reads_what_grub_writes() {
        let old = tag(TAG_ACPI_OLD, &rsdp::tests::valid(0));
        let new = tag(TAG_ACPI_NEW, &rsdp::tests::valid(2));
        let memory = memory(&[
            tag(TAG_COMMAND_LINE, b"quiet\0"),
            new,
            old,
            module(0x20_0000, 0x20_1000, "a b"),
            memory_map(),
            tag(TAG_END, b""),
            module(1, 2, "behind the end"),
        ]);
        let info = parse(&memory, 0).expect("well formed");
        assert_eq!(&info.command_line[..], b"quiet");
        assert_eq!(info.modules.len(), 1);
        assert_eq!(&info.modules[0].command_line[..], b"a b");
        assert_eq!(info.memory.finish().len(), 1);
        let Some(Rsdp::Copy(copy)) = info.rsdp else { panic!("no pointer") };
        assert_eq!(copy.len(), 36, "the new form is preferred");
    }

    #[test]
    fn refuses_tags_that_leave_the_structure() {
        let mut bad = tag(TAG_COMMAND_LINE, b"x");
        bad[4] = 0xff;
        assert!(matches!(parse(&memory(&[bad]), 0), Err(Error::Unreadable(..))));
        let mut short = tag(TAG_COMMAND_LINE, b"x");
        short[4] = 3;
        assert!(matches!(parse(&memory(&[short]), 0), Err(Error::Unreadable(..))));
        let mut map = memory_map();
        map[8] = 0;
        assert!(matches!(parse(&memory(&[map]), 0), Err(Error::Unreadable(..))));
        assert_eq!(parse(&memory(&[]), 0).err(), Some(Error::NoMemoryMap));
        assert!(matches!(parse(&memory(&[]), 0x1000), Err(Error::Unreadable(..))));
    }

    #[test]
    fn ignores_a_root_pointer_with_a_wrong_checksum() {
        let mut body = rsdp::tests::valid(0);
        body[19] ^= 1;
        let info = parse(&memory(&[tag(TAG_ACPI_OLD, &body), memory_map()]), 0).expect("well formed");
        assert_eq!(info.rsdp, None);
    }
}
