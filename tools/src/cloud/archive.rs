//! Writes a disk as Compute Engine imports it: a gzip stream of a tar archive in the old GNU format with one member,
//! whose holes are left out, as `tar --format=oldgnu -Sczf` does [GNU tar manual, Old GNU Format].

use std::{
    fs::File,
    io::{self, Cursor, Read, Write},
    ops::Range,
    os::unix::fs::FileExt as _,
};

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

use crate::{progress::Progress, sparse};

/// Writes a disk as the member `name`. Neither times nor owners are kept: the same disk gives the same bytes.
pub fn write(disk: &File, name: &str, output: impl Write, progress: &mut Progress) -> Result<()> {
    let length = disk.metadata()?.len();
    let mut extents = sparse::extents(disk)?;
    let stored = extents.iter().map(|extent| extent.end - extent.start).sum();
    if extents.last().is_none_or(|extent| extent.end < length) {
        // The map ends with the file, so that a hole at its end is known.
        extents.push(length..length);
    }

    let mut header = Header::new_gnu();
    header.set_path(name)?;
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(stored);
    header.set_entry_type(EntryType::GNUSparse);
    let mut more = Vec::new();
    if let Some(gnu) = header.as_gnu_mut() {
        gnu.set_real_size(length);
        let (first, rest) = extents.split_at(extents.len().min(gnu.sparse.len()));
        fill(&mut gnu.sparse, first);
        gnu.set_is_extended(!rest.is_empty());
        more = extended(rest);
    }
    header.set_cksum();

    let gzip = GzBuilder::new().mtime(0).write(output, Compression::default());
    let mut archive = Builder::new(gzip);
    archive.append(&header, Cursor::new(more).chain(Extents { disk, extents, progress }))?;
    archive.into_inner()?.finish()?.flush()?;
    Ok(())
}

fn fill(fields: &mut [GnuSparseHeader], extents: &[Range<u64>]) {
    for (field, extent) in fields.iter_mut().zip(extents) {
        field.set_offset(extent.start);
        field.set_length(extent.end - extent.start);
    }
}

/// The blocks that hold the rest of the map.
fn extended(extents: &[Range<u64>]) -> Vec<u8> {
    let mut blocks = Vec::new();
    let per_block = GnuExtSparseHeader::new().sparse().len();
    let mut chunks = extents.chunks(per_block).peekable();
    while let Some(chunk) = chunks.next() {
        let mut block = GnuExtSparseHeader::new();
        fill(block.sparse_mut(), chunk);
        block.set_is_extended(chunks.peek().is_some());
        blocks.extend_from_slice(block.as_bytes());
    }
    blocks
}

/// What a disk holds, without its holes.
struct Extents<'a> {
    disk: &'a File,
    /// What is still to come.
    extents: Vec<Range<u64>>,
    progress: &'a mut Progress,
}

impl Read for Extents<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(extent) = self.extents.first_mut() {
            if extent.is_empty() {
                self.extents.remove(0);
                continue;
            }
            let length = usize::try_from(extent.end - extent.start).unwrap_or(buffer.len()).min(buffer.len());
            let part = buffer.get_mut(..length).unwrap_or_default();
            let read = self.disk.read_at(part, extent.start)?;
            extent.start += read as u64;
            self.progress.at(extent.start);
            return Ok(read);
        }
        Ok(0)
    }
}
