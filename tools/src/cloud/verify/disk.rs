//! The disk inside a file of any form.

use std::{fs::File, ops::Range, os::unix::fs::FileExt as _};

use anyhow::{Context as _, Result, ensure};

use crate::{progress::Progress, sparse};

/// How much is compared at once.
const CHUNK: u64 = 1 << 20;

/// A disk that can be read anywhere.
pub trait Disk {
    /// Its size in bytes.
    fn size(&self) -> u64;

    /// Reads from an offset on; all that is read lies inside the disk.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()>;

    /// Where it may hold anything but zeros, in order.
    fn extents(&self) -> Result<Vec<Range<u64>>>;
}

/// A disk whose bytes are the first of a file.
pub struct Flat {
    file: File,
    size: u64,
}

impl Flat {
    /// The first `size` bytes of a file.
    pub fn new(file: File, size: u64) -> Self {
        Self { file, size }
    }

    /// A whole file.
    pub fn whole(file: File) -> Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self { file, size })
    }
}

impl Disk for Flat {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        self.file.read_exact_at(buffer, offset).with_context(|| format!("cannot read at {offset:#x}"))
    }

    fn extents(&self) -> Result<Vec<Range<u64>>> {
        let all = sparse::extents(&self.file)?.into_iter();
        Ok(all
            .map(|extent| extent.start..extent.end.min(self.size))
            .filter(|extent| !extent.is_empty())
            .collect())
    }
}

/// Checks that two disks hold the same in a range of bytes. `name` names the disk that is checked.
pub fn equal(
    source: &dyn Disk,
    inside: &dyn Disk,
    range: Range<u64>,
    name: &str,
    progress: &mut Progress,
) -> Result<()> {
    ensure!(
        range.end <= source.size() && range.end <= inside.size(),
        "{name} does not hold all of the source's {} bytes",
        range.end
    );
    let mut ours = vec![0; usize::try_from(CHUNK)?];
    let mut theirs = ours.clone();
    // What neither has is zeros in both.
    for extent in source.extents()?.into_iter().chain(inside.extents()?) {
        let extent = extent.start.max(range.start)..extent.end.min(range.end);
        let mut start = extent.start;
        while start < extent.end {
            let length = usize::try_from((extent.end - start).min(CHUNK))?;
            let ours = ours.get_mut(..length).unwrap_or_default();
            let theirs = theirs.get_mut(..length).unwrap_or_default();
            source.read_at(ours, start)?;
            inside.read_at(theirs, start)?;
            if ours != theirs {
                let offset = ours.iter().zip(&*theirs).position(|(our, their)| our != their);
                let offset = start + offset.unwrap_or_default() as u64;
                anyhow::bail!("{name} differs from the source at byte {offset:#x}");
            }
            start += length as u64;
            progress.at(start);
        }
    }
    Ok(())
}
