//! The kernel's file: a static ELF64 executable [ELF-64], checked before anything of it is used.

use core::{fmt, ops};

use arrayvec::ArrayVec;
use elf::{ElfBytes, abi, endian::LittleEndian, file::Class, segment::ProgramHeader};

use crate::{PAGE_SIZE, memory_map::Range};

/// Lowest address that a kernel may be linked at [LIMINE, memory layout at entry].
pub const LOWEST_ADDRESS: u64 = 0xffff_ffff_8000_0000;

/// Largest kernel in memory, in bytes.
pub const MAXIMUM_SPAN: u64 = 64 << 20;

/// Segments that a kernel may have.
const MAXIMUM_SEGMENTS: usize = 8;

/// What may be done with the memory of a segment; never writing and execution both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Only reading.
    Read,
    /// Reading and writing.
    ReadWrite,
    /// Reading and execution.
    ReadExecute,
}

/// One part of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its addresses, in whole pages.
    pub pages: Range,
    /// What may be done with them.
    pub protection: Protection,
    /// Where its bytes start in memory.
    address: u64,
    /// Which bytes of the file it starts with; the rest is zero.
    file: ops::Range<usize>,
}

/// A kernel that can be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Where execution starts.
    pub entry: u64,
    /// The addresses from its first to its last segment, in whole pages.
    pub span: Range,
    /// Its segments; no two share a page.
    pub segments: ArrayVec<Segment, MAXIMUM_SEGMENTS>,
}

/// Why a file is not a kernel that the loader can start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Not an ELF file, or one that is cut off.
    NotElf,
    /// Not a static 64-bit executable for x86-64.
    NotStaticX86_64,
    /// Nothing to load, or too many segments.
    SegmentCount(usize),
    /// The segment at this address leaves the file, or the addresses that a kernel may have.
    OutOfRange(u64),
    /// The segment at this address is both writable and executable.
    WritableAndExecutable(u64),
    /// The segment at this address shares a page with another.
    SharedPage(u64),
    /// The entry point is not inside an executable segment.
    Entry(u64),
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElf => out.write_str("the kernel is not an ELF file"),
            Self::NotStaticX86_64 => out.write_str("the kernel is not a static ELF64 executable for x86-64"),
            Self::SegmentCount(count) => write!(out, "the kernel has {count} segments to load"),
            Self::OutOfRange(address) => write!(out, "the kernel's segment at {address:#x} is out of range"),
            Self::WritableAndExecutable(address) => {
                write!(out, "the kernel's segment at {address:#x} is writable and executable")
            }
            Self::SharedPage(address) => {
                write!(out, "the kernel's segment at {address:#x} shares a page with another")
            }
            Self::Entry(address) => write!(out, "the kernel's entry {address:#x} is not executable"),
        }
    }
}

impl Image {
    /// Checks a kernel file.
    pub fn parse(file: &[u8]) -> Result<Self, Error> {
        let elf = ElfBytes::<LittleEndian>::minimal_parse(file).map_err(|_| Error::NotElf)?;
        let header = elf.ehdr;
        if header.class != Class::ELF64 || header.e_type != abi::ET_EXEC || header.e_machine != abi::EM_X86_64
        {
            return Err(Error::NotStaticX86_64);
        }
        let headers = || {
            elf.segments().into_iter().flatten().filter(|one| one.p_type == abi::PT_LOAD && one.p_memsz > 0)
        };
        let mut segments = ArrayVec::new_const();
        for header in headers() {
            let segment = Segment::parse(&header, file.len())?;
            if segments.iter().any(|other: &Segment| other.pages.overlaps(segment.pages)) {
                return Err(Error::SharedPage(segment.address));
            }
            segments.try_push(segment).map_err(|_| Error::SegmentCount(headers().count()))?;
        }
        let start = segments.iter().map(|segment| segment.pages.start).min().ok_or(Error::SegmentCount(0))?;
        let end = segments.iter().map(|segment| segment.pages.end).max().ok_or(Error::SegmentCount(0))?;
        let span = Range { start, end };
        if span.length() > MAXIMUM_SPAN {
            return Err(Error::OutOfRange(span.end));
        }
        let entry = header.e_entry;
        let executable = |segment: &Segment| {
            segment.protection == Protection::ReadExecute
                && segment.pages.start <= entry
                && entry < segment.pages.end
        };
        if !segments.iter().any(executable) {
            return Err(Error::Entry(entry));
        }
        Ok(Self { entry, span, segments })
    }

    /// Writes the image into `memory`, whose first byte will be seen at the start of `span`.
    /// `file` is the file that was checked. `None` if it is not, or `memory` is too short.
    pub fn copy_into(&self, file: &[u8], memory: &mut [u8]) -> Option<()> {
        memory.fill(0);
        for segment in &self.segments {
            let bytes = file.get(segment.file.clone())?;
            let offset = usize::try_from(segment.address.checked_sub(self.span.start)?).ok()?;
            memory.get_mut(offset..)?.get_mut(..bytes.len())?.copy_from_slice(bytes);
        }
        Some(())
    }
}

impl Segment {
    fn parse(header: &ProgramHeader, file_length: usize) -> Result<Self, Error> {
        let address = header.p_vaddr;
        let out_of_range = Error::OutOfRange(address);
        // The last page stays free, so that no end wraps to zero.
        let end = address
            .checked_add(header.p_memsz)
            .filter(|end| *end <= u64::MAX - PAGE_SIZE)
            .ok_or(out_of_range)?;
        let file_end = header.p_offset.checked_add(header.p_filesz).ok_or(out_of_range)?;
        let file = usize::try_from(header.p_offset).map_err(|_| out_of_range)?
            ..usize::try_from(file_end).map_err(|_| out_of_range)?;
        if address < LOWEST_ADDRESS || header.p_filesz > header.p_memsz || file.end > file_length {
            return Err(out_of_range);
        }
        let protection = match (header.p_flags & abi::PF_W != 0, header.p_flags & abi::PF_X != 0) {
            (false, false) => Protection::Read,
            (true, false) => Protection::ReadWrite,
            (false, true) => Protection::ReadExecute,
            (true, true) => return Err(Error::WritableAndExecutable(address)),
        };
        Ok(Self { pages: Range { start: address, end }.outward(), protection, address, file })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const TEXT: u64 = LOWEST_ADDRESS;
    const DATA: u64 = LOWEST_ADDRESS + 0x1000;

    /// Offset and fields of a program header: flags, file offset, address, file size, memory size.
    pub(crate) type Load = (u32, u64, u64, u64, u64);

    /// An ELF file with these segments and 0x200 bytes behind the headers.
    pub(crate) fn file(entry: u64, loads: &[Load]) -> Vec<u8> {
        let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(&2u16.to_le_bytes());
        bytes.extend_from_slice(&62u16.to_le_bytes());
        bytes.extend_from_slice(&1u32.to_le_bytes());
        bytes.extend_from_slice(&entry.to_le_bytes());
        bytes.extend_from_slice(&64u64.to_le_bytes());
        bytes.extend_from_slice(&0u64.to_le_bytes());
        bytes.extend_from_slice(&0u32.to_le_bytes());
        for field in [64u16, 56, u16::try_from(loads.len()).expect("few"), 64, 0, 0] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        for (flags, offset, address, file_size, memory_size) in loads {
            bytes.extend_from_slice(&1u32.to_le_bytes());
            bytes.extend_from_slice(&flags.to_le_bytes());
            for field in [*offset, *address, *address, *file_size, *memory_size, 0x1000] {
                bytes.extend_from_slice(&field.to_le_bytes());
            }
        }
        bytes.resize(0x200, 0);
        bytes.extend((0..0x200).map(|index| (index % 251) as u8 + 1));
        bytes
    }

    const CODE: Load = (abi::PF_R | abi::PF_X, 0x200, TEXT, 0x100, 0x100);
    const VARIABLES: Load = (abi::PF_R | abi::PF_W, 0x300, DATA + 0x10, 0x80, 0x2000);

    #[test]
    fn loads_segments_and_zeroes_the_rest() {
        let bytes = file(TEXT + 4, &[CODE, VARIABLES]);
        let image = Image::parse(&bytes).expect("well formed");
        assert_eq!(image.span, Range { start: TEXT, end: TEXT + 0x4000 });
        assert_eq!(image.segments[1].protection, Protection::ReadWrite);
        let mut memory = vec![0xaa; 0x4000];
        image.copy_into(&bytes, &mut memory).expect("room");
        assert_eq!(memory[..0x100], bytes[0x200..0x300]);
        assert_eq!(memory[0x100..0x1010], [0; 0xf10]);
        assert_eq!(memory[0x1010..0x1090], bytes[0x300..0x380]);
        assert!(memory[0x1090..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn refuses_what_is_not_a_kernel() {
        assert_eq!(Image::parse(b"#!/bin/sh"), Err(Error::NotElf));
        let mut dynamic = file(TEXT, &[CODE]);
        dynamic[16] = 3;
        assert_eq!(Image::parse(&dynamic), Err(Error::NotStaticX86_64));
        assert_eq!(Image::parse(&file(TEXT, &[])), Err(Error::SegmentCount(0)));
        assert_eq!(Image::parse(&file(DATA, &[CODE, VARIABLES])), Err(Error::Entry(DATA)));
        assert_eq!(Image::parse(&file(TEXT, &[CODE; 1])[..100]), Err(Error::NotElf));
    }

    #[test]
    fn refuses_segments_out_of_range() {
        let low = (abi::PF_X, 0x200, 0x10_0000, 0x10, 0x10);
        assert_eq!(Image::parse(&file(0x10_0000, &[low])), Err(Error::OutOfRange(0x10_0000)));
        let long_file = (abi::PF_X, 0x200, TEXT, 0x1000, 0x1000);
        assert_eq!(Image::parse(&file(TEXT, &[long_file])), Err(Error::OutOfRange(TEXT)));
        let wrapping = (abi::PF_X, u64::MAX, TEXT, 0x10, 0x10);
        assert_eq!(Image::parse(&file(TEXT, &[wrapping])), Err(Error::OutOfRange(TEXT)));
        let top = (abi::PF_X, 0x200, u64::MAX - 0x10, 0x10, 0x10);
        assert_eq!(Image::parse(&file(TEXT, &[top])), Err(Error::OutOfRange(u64::MAX - 0x10)));
        let more_file_than_memory = (abi::PF_X, 0x200, TEXT, 0x20, 0x10);
        assert_eq!(Image::parse(&file(TEXT, &[more_file_than_memory])), Err(Error::OutOfRange(TEXT)));
        let huge = (abi::PF_R, 0x200, DATA, 0, MAXIMUM_SPAN);
        assert!(matches!(Image::parse(&file(TEXT, &[CODE, huge])), Err(Error::OutOfRange(_))));
    }

    #[test]
    fn refuses_what_breaks_write_xor_execute() {
        let both = (abi::PF_W | abi::PF_X, 0x200, TEXT, 0x10, 0x10);
        assert_eq!(Image::parse(&file(TEXT, &[both])), Err(Error::WritableAndExecutable(TEXT)));
        let shared = (abi::PF_R | abi::PF_W, 0x300, TEXT + 0x800, 0x10, 0x10);
        assert_eq!(Image::parse(&file(TEXT, &[CODE, shared])), Err(Error::SharedPage(TEXT + 0x800)));
    }
}
