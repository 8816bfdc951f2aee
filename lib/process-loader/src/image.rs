//! A checked ELF executable.

use abi::{PAGE_SIZE, USER_END, USER_START};
use alloc::vec::Vec;
use core::{fmt, ops::Range};
use elf::{
    ElfBytes,
    abi::{EM_X86_64, ET_EXEC, PF_R, PF_W, PF_X, PT_DYNAMIC, PT_INTERP, PT_LOAD, PT_TLS},
    endian::LittleEndian,
    file::Class,
    segment::ProgramHeader,
};
use schema::memory_capnp::Protection;

/// Most segments that an image may have: code, constants and data, and some for later.
pub const MAXIMUM_SEGMENTS: usize = 8;

/// Most program headers that are looked at, with those that are not loaded.
const MAXIMUM_HEADERS: usize = 32;

/// A static executable whose segments can be mapped as they are: page aligned, disjoint, inside the user half, none both
/// writable and executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Address of the first instruction, inside an executable segment.
    pub entry: u64,
    /// The segments by rising address; at least one.
    pub segments: Vec<Segment>,
    /// The page behind the last segment.
    pub end: u64,
}

/// A run of pages with one protection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First page.
    pub address: u64,
    /// Number of pages, not 0.
    pub pages: u32,
    /// What lies in them.
    pub content: Content,
}

/// What lies in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The file's own pages, from `file_page` on, shared by all processes of the image.
    InPlace {
        /// Page of the file that the segment starts with.
        file_page: u32,
        /// `Read` or `ReadExecute`.
        protection: Protection,
    },
    /// Memory of the process's own, writable and zero but for a copy of `file`.
    Fresh {
        /// Bytes of the file.
        file: Range<usize>,
        /// Where they start in the segment's first page.
        offset: usize,
    },
}

impl Image {
    /// Checks a binary.
    ///
    /// # Errors
    /// The first thing that is wrong with it, with the offending value.
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        let file = ElfBytes::<LittleEndian>::minimal_parse(bytes).map_err(|_| ImageError::NotElf)?;
        let header = &file.ehdr;
        if header.class != Class::ELF64 || header.e_machine != EM_X86_64 {
            return Err(ImageError::Machine(header.e_machine));
        }
        if header.e_type != ET_EXEC {
            return Err(ImageError::NotStatic);
        }
        let headers = file.segments().ok_or(ImageError::NoSegments)?;
        if headers.len() > MAXIMUM_HEADERS {
            return Err(ImageError::TooManySegments(headers.len()));
        }
        let mut segments = Vec::with_capacity(MAXIMUM_SEGMENTS);
        let mut entry_found = false;
        let mut end = USER_START;
        for header in headers {
            match header.p_type {
                PT_INTERP | PT_DYNAMIC => return Err(ImageError::NotStatic),
                PT_TLS => return Err(ImageError::ThreadLocal),
                PT_LOAD if header.p_memsz != 0 => {}
                _ => continue,
            }
            if segments.len() == MAXIMUM_SEGMENTS {
                return Err(ImageError::TooManySegments(MAXIMUM_SEGMENTS + 1));
            }
            let segment = segment(&header, bytes.len(), end)?;
            end = segment.end();
            entry_found |= header.p_flags & PF_X != 0
                && file
                    .ehdr
                    .e_entry
                    .checked_sub(header.p_vaddr)
                    .is_some_and(|offset| offset < header.p_filesz);
            segments.push(segment);
        }
        if segments.is_empty() {
            return Err(ImageError::NoSegments);
        }
        if !entry_found {
            return Err(ImageError::Entry(file.ehdr.e_entry));
        }
        Ok(Self { entry: file.ehdr.e_entry, segments, end })
    }

    /// Pages of memory that a process of this image needs of its own.
    pub fn fresh_pages(&self) -> u64 {
        let fresh = self.segments.iter().filter(|segment| matches!(segment.content, Content::Fresh { .. }));
        fresh.map(|segment| u64::from(segment.pages)).sum()
    }
}

impl Segment {
    /// The page behind it; checked when the segment was made.
    pub fn end(&self) -> u64 {
        self.address + u64::from(self.pages) * PAGE
    }
}

const PAGE: u64 = PAGE_SIZE as u64;

/// Checks one segment to load, of a file of `length` bytes; all before `free` is taken.
fn segment(header: &ProgramHeader, length: usize, free: u64) -> Result<Segment, ImageError> {
    let address = header.p_vaddr;
    let (start, file) = file_range(header, length).ok_or(ImageError::OutsideFile(address))?;
    if header.p_offset % PAGE != address % PAGE {
        return Err(ImageError::Unaligned(address));
    }
    let first = address - address % PAGE;
    let end = address
        .checked_add(header.p_memsz)
        .and_then(|end| end.checked_next_multiple_of(PAGE))
        .filter(|&end| first >= USER_START && end <= USER_END)
        .ok_or(ImageError::OutsideUserHalf(address))?;
    if first < free {
        return Err(ImageError::Overlap(address));
    }
    // A page number below 2^47 / 4096 may still be too large for the kernel's interface.
    let pages = u32::try_from((end - first) / PAGE).map_err(|_| ImageError::OutsideUserHalf(address))?;
    let in_place = |protection| {
        if header.p_filesz == header.p_memsz {
            let file_page = u32::try_from(start / PAGE_SIZE).map_err(|_| ImageError::OutsideFile(address))?;
            Ok(Content::InPlace { file_page, protection })
        } else {
            Err(ImageError::ReadOnlyZeroes(address))
        }
    };
    let content = match header.p_flags & (PF_R | PF_W | PF_X) {
        flags if flags & PF_W != 0 && flags & PF_X != 0 => return Err(ImageError::WritableCode(address)),
        flags if flags & PF_W != 0 => Content::Fresh { file, offset: start % PAGE_SIZE },
        flags if flags & PF_X != 0 => in_place(Protection::ReadExecute)?,
        PF_R => in_place(Protection::Read)?,
        _ => return Err(ImageError::Unreadable(address)),
    };
    Ok(Segment { address: first, pages, content })
}

/// Where the segment's bytes lie in a file of `length` bytes, and their start once more.
fn file_range(header: &ProgramHeader, length: usize) -> Option<(usize, Range<usize>)> {
    let start = usize::try_from(header.p_offset).ok()?;
    let end = start.checked_add(usize::try_from(header.p_filesz).ok()?)?;
    (end <= length && header.p_filesz <= header.p_memsz).then_some((start, start..end))
}

/// Why a binary cannot be started. Addresses are those at which the segment in question wants to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// It is no ELF file, or its headers lie outside of it.
    NotElf,
    /// It is not for x86-64; the number is that of its machine.
    Machine(u16),
    /// It is not a static executable at fixed addresses.
    NotStatic,
    /// It has thread-local storage, which the runtime does not set up.
    ThreadLocal,
    /// Nothing of it is to be loaded.
    NoSegments,
    /// It has more segments than allowed.
    TooManySegments(usize),
    /// A segment lies outside the file, or is larger in the file than in memory.
    OutsideFile(u64),
    /// A segment lies outside the addresses that user code can map.
    OutsideUserHalf(u64),
    /// A segment's address and its place in the file differ within a page.
    Unaligned(u64),
    /// A segment shares a page with the one before, or lies below it.
    Overlap(u64),
    /// A segment is both writable and executable.
    WritableCode(u64),
    /// A segment can be neither read, written nor executed.
    Unreadable(u64),
    /// A segment without write access has memory that is not in the file.
    ReadOnlyZeroes(u64),
    /// The first instruction lies in no executable segment.
    Entry(u64),
}

impl fmt::Display for ImageError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElf => formatter.write_str("not an ELF file"),
            Self::Machine(machine) => write!(formatter, "not for x86-64 but for machine {machine}"),
            Self::NotStatic => formatter.write_str("not a static executable"),
            Self::ThreadLocal => formatter.write_str("thread-local storage is not supported"),
            Self::NoSegments => formatter.write_str("nothing to load"),
            Self::TooManySegments(count) => write!(formatter, "{count} segments are too many"),
            Self::OutsideFile(address) => {
                write!(formatter, "the segment at {address:#x} lies outside the file")
            }
            Self::OutsideUserHalf(address) => {
                write!(formatter, "the segment at {address:#x} lies outside the user half")
            }
            Self::Unaligned(address) => {
                write!(formatter, "the segment at {address:#x} is not aligned to its page")
            }
            Self::Overlap(address) => {
                write!(formatter, "the segment at {address:#x} overlaps the one before")
            }
            Self::WritableCode(address) => {
                write!(formatter, "the segment at {address:#x} is writable and executable")
            }
            Self::Unreadable(address) => write!(formatter, "the segment at {address:#x} is not readable"),
            Self::ReadOnlyZeroes(address) => {
                write!(formatter, "the read-only segment at {address:#x} is larger than its content")
            }
            Self::Entry(address) => {
                write!(formatter, "the entry point {address:#x} is not in executable memory")
            }
        }
    }
}

#[cfg(test)]
mod tests;
