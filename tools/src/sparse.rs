//! Files with holes: disks that are mostly zeros, written and copied so that they take no more room than what
//! is in them.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::progress::Progress;

/// What is either a hole or not, in bytes: a block of the file systems that disks are kept on.
pub const GRAIN: usize = 4096;

/// The same as a file's offset.
const GRAIN_OFFSET: u64 = GRAIN as u64;

const ZEROS: [u8; GRAIN] = [0; GRAIN];

/// How much is read at once.
const CHUNK: usize = 1 << 20;

/// Where a file holds something other than zeros, in whole grains but for the file's end, in order, and with a
/// hole between any two. It follows from the content alone, not from where the file system keeps holes.
pub fn extents(file: &File) -> io::Result<Vec<Range<u64>>> {
    let length = file.metadata()?.len();
    let mut extents: Vec<Range<u64>> = Vec::new();
    let mut buffer = vec![0; CHUNK];
    let mut position = 0;
    while let Some(mut start) = next_data(file, position)? {
        start -= start % GRAIN_OFFSET;
        position = next_hole(file, start)?.min(length);
        for chunk in (start..position).step_by(CHUNK) {
            let end = (chunk + CHUNK as u64).min(position);
            let part = buffer.get_mut(..usize::try_from(end - chunk).unwrap_or(CHUNK)).unwrap_or_default();
            file.read_exact_at(part, chunk)?;
            for (offset, grain) in (chunk..).step_by(GRAIN).zip(part.chunks(GRAIN)) {
                if !is_zero(grain) {
                    push(&mut extents, offset..offset + grain.len() as u64);
                }
            }
        }
    }
    Ok(extents)
}

fn push(extents: &mut Vec<Range<u64>>, next: Range<u64>) {
    match extents.last_mut() {
        Some(last) if last.end >= next.start => last.end = last.end.max(next.end),
        _ => extents.push(next),
    }
}

/// Where data starts at or behind `position`, if it does anywhere. A file system without holes says: there.
fn next_data(file: &File, position: u64) -> io::Result<Option<u64>> {
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(position)) {
        Ok(start) => Ok(Some(start)),
        Err(rustix::io::Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn next_hole(file: &File, position: u64) -> io::Result<u64> {
    Ok(rustix::fs::seek(file, rustix::fs::SeekFrom::Hole(position))?)
}

/// Whether all of these bytes are zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    // Comparing slices is one call of `memcmp`, in builds without optimization too.
    bytes.chunks(GRAIN).all(|part| ZEROS.get(..part.len()) == Some(part))
}

/// Writes bytes into what is a hole, and leaves the hole where they are zeros.
pub fn write_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    for (position, grain) in (offset..).step_by(GRAIN).zip(bytes.chunks(GRAIN)) {
        if !is_zero(grain) {
            file.write_all_at(grain, position)?;
        }
    }
    Ok(())
}

/// Copies what `from` holds into the holes of `to`, `shift` bytes further on.
pub fn copy(from: &File, to: &File, shift: u64, progress: &mut Progress) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    for extent in extents(from)? {
        for start in extent.clone().step_by(CHUNK) {
            let length = usize::try_from(extent.end - start).unwrap_or(CHUNK).min(CHUNK);
            let part = buffer.get_mut(..length).unwrap_or_default();
            from.read_exact_at(part, start)?;
            write_at(to, start + shift, part)?;
            progress.at(start);
        }
    }
    Ok(())
}

/// A file that is being written, and takes its name when it is complete: nobody sees half a disk, and a machine
/// that runs from the old one keeps it.
pub struct NewFile {
    file: File,
    partial: PathBuf,
    name: PathBuf,
}

impl NewFile {
    /// Starts a file of so many zero bytes; its folder may not be there yet.
    pub fn create(name: &Path, length: u64) -> Result<Self> {
        let folder = name.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let mut partial = name.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&partial);
        let file = file.with_context(|| partial.display().to_string())?;
        file.set_len(length).with_context(|| partial.display().to_string())?;
        Ok(Self { file, partial, name: name.into() })
    }

    /// What is written to.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Where it is until it is complete.
    pub fn path(&self) -> &Path {
        &self.partial
    }

    /// Gives it its name.
    pub fn complete(self) -> Result<()> {
        std::fs::rename(&self.partial, &self.name).with_context(|| self.name.display().to_string())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // A complete file has another name by now, and then there is nothing to remove.
        let _ = std::fs::remove_file(&self.partial);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn example() -> File {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(1 << 30).expect("long");
        file.write_all_at(&[1; 10], 5000).expect("written");
        // Zeros that are there are a hole too.
        file.write_all_at(&[0; 20000], 40960).expect("written");
        file.write_all_at(&[2; 1], (1 << 30) - 1).expect("written");
        file
    }

    #[test]
    fn extents_are_where_the_content_is() {
        let extents = extents(&example()).expect("readable");
        assert_eq!(extents, [4096..8192, (1 << 30) - 4096..1 << 30]);
    }

    #[test]
    fn copies_are_equal_and_have_the_holes() {
        let from = example();
        let to = tempfile::tempfile().expect("a file");
        to.set_len((1 << 30) + 512).expect("long");
        copy(&from, &to, 512, &mut Progress::new("test", 1 << 30)).expect("copied");
        let mut bytes = [0; 12];
        to.read_exact_at(&mut bytes, 512 + 4999).expect("read");
        assert_eq!(bytes, [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
        assert!(to.metadata().expect("there").blocks() * 512 < 1 << 20, "holes were filled");
    }

    #[test]
    fn a_file_that_is_not_completed_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let name = folder.path().join("disk");
        drop(NewFile::create(&name, 10).expect("created"));
        assert_eq!(std::fs::read_dir(&folder).expect("there").count(), 0);
        NewFile::create(&name, 10).expect("created").complete().expect("renamed");
        assert_eq!(std::fs::metadata(&name).expect("there").len(), 10);
        assert_eq!(std::fs::read_dir(&folder).expect("there").count(), 1);
    }
}
