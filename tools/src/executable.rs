//! Makes a built program ready to be packed: without what only a debugger reads, and checked.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use elf::{ElfBytes, abi, endian::LittleEndian, file::Class, segment::ProgramHeader};

const PAGE_SIZE: u64 = 4096;

/// Offsets in the ELF header of the section table's place, and of its entry size, count and name index [ELF-64 3].
const SECTION_TABLE_OFFSET: std::ops::Range<usize> = 0x28..0x30;
const SECTION_TABLE_SHAPE: std::ops::Range<usize> = 0x3a..0x40;

/// Reads a program as it is to be packed.
pub fn read_program(path: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path).with_context(|| format!("{} (is it built?)", path.display()))?;
    prepare(bytes).with_context(|| path.display().to_string())
}

/// Checks that a program can be mapped page by page, and leaves only what is loaded.
pub fn prepare(bytes: Vec<u8>) -> Result<Vec<u8>> {
    let bytes = strip(bytes)?;
    check(&bytes)?;
    Ok(bytes)
}

/// Reads a program and leaves only what is loaded: the file up to the end of its last segment. The linker puts
/// symbols, debug information and the section table behind that.
pub fn read_stripped(path: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path).with_context(|| format!("{} (is it built?)", path.display()))?;
    strip(bytes).with_context(|| path.display().to_string())
}

/// The segments that are loaded.
fn loads(file: &ElfBytes<'_, LittleEndian>) -> Result<Vec<ProgramHeader>> {
    let segments = file.segments().context("no program headers")?;
    let loads: Vec<_> = segments.iter().filter(|segment| segment.p_type == abi::PT_LOAD).collect();
    ensure!(!loads.is_empty(), "nothing to load");
    Ok(loads)
}

fn strip(mut bytes: Vec<u8>) -> Result<Vec<u8>> {
    let file = ElfBytes::<LittleEndian>::minimal_parse(&bytes)?;
    let header = file.ehdr;
    ensure!(
        header.class == Class::ELF64 && header.e_machine == abi::EM_X86_64,
        "not an ELF64 file for x86-64"
    );
    ensure!(header.e_type == abi::ET_EXEC, "not a static executable");
    let mut end = 0;
    for segment in loads(&file)? {
        end = segment.p_offset.checked_add(segment.p_filesz).context("a segment wraps")?.max(end);
    }
    let end = usize::try_from(end)?;
    ensure!(end <= bytes.len(), "a segment leaves the file");
    bytes.truncate(end);
    for field in [SECTION_TABLE_OFFSET, SECTION_TABLE_SHAPE] {
        bytes.get_mut(field).context("no header")?.fill(0);
    }
    Ok(bytes)
}

fn check(bytes: &[u8]) -> Result<()> {
    for segment in loads(&ElfBytes::<LittleEndian>::minimal_parse(bytes)?)? {
        if segment.p_vaddr % PAGE_SIZE != segment.p_offset % PAGE_SIZE {
            bail!("the segment at {:#x} cannot be mapped from the file", segment.p_vaddr);
        }
        if segment.p_flags & abi::PF_W != 0 && segment.p_flags & abi::PF_X != 0 {
            bail!("the segment at {:#x} is writable and executable", segment.p_vaddr);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program of one segment of 16 bytes at 0x1000, with 100 bytes of symbols behind it.
    fn program(flags: u32, address: u64) -> Vec<u8> {
        let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(&2u16.to_le_bytes());
        bytes.extend_from_slice(&62u16.to_le_bytes());
        bytes.extend_from_slice(&1u32.to_le_bytes());
        for field in [address, 64, 0x1010] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.extend_from_slice(&0u32.to_le_bytes());
        for field in [64u16, 56, 1, 64, 1, 0] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.extend_from_slice(&1u32.to_le_bytes());
        bytes.extend_from_slice(&flags.to_le_bytes());
        for field in [0x1000, address, address, 16, 16, PAGE_SIZE] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.resize(0x1000 + 16 + 100, 7);
        bytes
    }

    #[test]
    fn leaves_what_is_loaded_and_a_file_that_still_parses() {
        let stripped = strip(program(5, 0x20_1000)).expect("a program");
        assert_eq!(stripped.len(), 0x1010);
        let file = ElfBytes::<LittleEndian>::minimal_parse(&stripped).expect("still ELF");
        assert_eq!(file.segments().expect("headers").len(), 1);
        assert!(file.section_headers().is_none());
    }

    #[test]
    fn refuses_what_cannot_run() {
        assert!(strip(b"#!/bin/sh".to_vec()).is_err());
        let error = |bytes: Vec<u8>| check(&bytes).expect_err("refused").to_string();
        assert_eq!(error(program(7, 0x20_1000)), "the segment at 0x201000 is writable and executable");
        assert_eq!(error(program(5, 0x20_1800)), "the segment at 0x201800 cannot be mapped from the file");
        let mut long = program(5, 0x20_1000);
        long[64 + 32 + 1] = 2; // the segment's size in the file becomes 0x210
        assert_eq!(strip(long).expect_err("refused").to_string(), "a segment leaves the file");
    }
}
