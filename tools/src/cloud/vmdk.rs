//! Writes a disk as a stream-optimized VMDK: a header with a descriptor, compressed grains with a marker before each, and
//! the tables behind them, so that it can be written in one go [VMDK 5.0: VMware Virtual Disk Format 5.0, Stream-Optimized
//! Compressed Sparse Extents].
//!
//! ```text
//! header | descriptor | { grain marker | grain }.. table marker | table } .. directory marker | directory |
//! footer marker | footer | end marker
//! ```

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt as _,
};

use anyhow::{Result, ensure};
use flate2::{Compression, write::ZlibEncoder};

use crate::{progress::Progress, sparse};

const SECTOR: u64 = 512;

/// Sectors of a grain.
const GRAIN_SECTORS: u64 = 128;
const GRAIN_BYTES: u64 = GRAIN_SECTORS * SECTOR;

/// Grains of one table.
const TABLE_GRAINS: u64 = 512;

/// Where the descriptor starts, and the sectors that are kept for it; where the grains start.
const DESCRIPTOR_START: u64 = 1;
const DESCRIPTOR_SECTORS: u64 = 20;
const GRAINS_START: u64 = 128;

/// Line ends can be checked, grains are compressed, there are markers.
const FLAGS: u32 = 1 | 1 << 16 | 1 << 17;

/// What a header says of the directory that only the footer can place.
const DIRECTORY_AT_END: u64 = u64::MAX;

/// Kinds of markers that are no grain.
const MARKER_END: u32 = 0;
const MARKER_TABLE: u32 = 1;
const MARKER_DIRECTORY: u32 = 2;
const MARKER_FOOTER: u32 = 3;

/// Writes a disk. `name` is the file's, which the descriptor repeats; `id` tells this content from others.
pub fn write(disk: &File, name: &str, id: u32, output: impl Write, progress: &mut Progress) -> Result<()> {
    let length = disk.metadata()?.len();
    ensure!(length.is_multiple_of(GRAIN_BYTES), "a disk of {length} bytes is not made of whole grains");
    let mut output = Output { inner: output, sectors: 0 };
    output.write(&header(length / SECTOR, DIRECTORY_AT_END))?;
    let text = descriptor(name, id, length / SECTOR);
    ensure!(text.len() as u64 <= DESCRIPTOR_SECTORS * SECTOR, "the descriptor is too long");
    output.write(text.as_bytes())?;
    output.fill_to(GRAINS_START)?;

    let mut directory = Vec::new();
    let mut table = vec![0; TABLE_GRAINS as usize];
    let mut grains = grains(disk)?.into_iter().peekable();
    for first in (0..length / GRAIN_BYTES).step_by(TABLE_GRAINS as usize) {
        table.fill(0);
        for (entry, number) in table.iter_mut().zip(first..) {
            if grains.next_if_eq(&number).is_some() {
                *entry = u32::try_from(output.sectors)?;
                output.grain(disk, number)?;
                progress.at(number * GRAIN_BYTES);
            }
        }
        // A table without grains is left out [VMDK 5.0: the directory's entry is 0 then].
        directory.push(if table.iter().all(|entry| *entry == 0) {
            0
        } else {
            output.table(MARKER_TABLE, &table)?
        });
    }
    let directory = output.table(MARKER_DIRECTORY, &directory)?;
    output.marker(MARKER_FOOTER, 1)?;
    output.write(&header(length / SECTOR, directory.into()))?;
    output.marker(MARKER_END, 0)?;
    output.inner.flush()?;
    Ok(())
}

/// Numbers of the grains that are not all zeros.
fn grains(disk: &File) -> io::Result<Vec<u64>> {
    let mut grains = Vec::new();
    for extent in sparse::extents(disk)? {
        grains.extend(extent.start / GRAIN_BYTES..extent.end.div_ceil(GRAIN_BYTES));
    }
    grains.dedup();
    Ok(grains)
}

fn header(sectors: u64, directory: u64) -> Vec<u8> {
    let mut header = b"KDMV".to_vec();
    header.extend_from_slice(&3u32.to_le_bytes()); // version: compressed grains
    header.extend_from_slice(&FLAGS.to_le_bytes());
    for field in [sectors, GRAIN_SECTORS, DESCRIPTOR_START, DESCRIPTOR_SECTORS] {
        header.extend_from_slice(&field.to_le_bytes());
    }
    header.extend_from_slice(&(TABLE_GRAINS as u32).to_le_bytes());
    for field in [0, directory, GRAINS_START] {
        header.extend_from_slice(&field.to_le_bytes()); // no second directory; the directory; where grains start
    }
    header.push(0); // not left open
    header.extend_from_slice(b"\n \r\n"); // what a transfer as text would change
    header.extend_from_slice(&1u16.to_le_bytes()); // compressed by deflate
    header
}

fn descriptor(name: &str, id: u32, sectors: u64) -> String {
    let (heads, track) = (255, 63);
    let cylinders = sectors / (heads * track);
    format!(
        "# Disk DescriptorFile\n\
         version=1\n\
         CID={id:08x}\n\
         parentCID=ffffffff\n\
         createType=\"streamOptimized\"\n\
         \n\
         # Extent description\n\
         RW {sectors} SPARSE \"{name}\"\n\
         \n\
         # The Disk Data Base\n\
         #DDB\n\
         \n\
         ddb.virtualHWVersion = \"7\"\n\
         ddb.geometry.cylinders = \"{cylinders}\"\n\
         ddb.geometry.heads = \"{heads}\"\n\
         ddb.geometry.sectors = \"{track}\"\n\
         ddb.adapterType = \"lsilogic\"\n"
    )
}

/// What is written, in whole sectors.
struct Output<W> {
    inner: W,
    /// Sectors so far.
    sectors: u64,
}

impl<W: Write> Output<W> {
    /// Writes bytes, and zeros up to the end of their last sector.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_all(bytes)?;
        let sectors = (bytes.len() as u64).div_ceil(SECTOR);
        let padding = usize::try_from(sectors * SECTOR).unwrap_or(bytes.len()) - bytes.len();
        self.inner.write_all([0; SECTOR as usize].get(..padding).unwrap_or_default())?;
        self.sectors += sectors;
        Ok(())
    }

    fn fill_to(&mut self, sector: u64) -> io::Result<()> {
        while self.sectors < sector {
            self.write(&[0; SECTOR as usize])?;
        }
        Ok(())
    }

    /// A grain behind its marker: the sector of the disk that it starts at, and its bytes.
    fn grain(&mut self, disk: &File, number: u64) -> Result<()> {
        let mut grain = [0; GRAIN_BYTES as usize];
        disk.read_exact_at(&mut grain, number * GRAIN_BYTES)?;
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&grain)?;
        let compressed = encoder.finish()?;
        let mut record = (number * GRAIN_SECTORS).to_le_bytes().to_vec();
        record.extend_from_slice(&u32::try_from(compressed.len())?.to_le_bytes());
        record.extend(compressed);
        self.write(&record)?;
        Ok(())
    }

    fn marker(&mut self, kind: u32, sectors: u64) -> io::Result<()> {
        let mut marker = sectors.to_le_bytes().to_vec();
        marker.extend_from_slice(&0u32.to_le_bytes()); // no grain
        marker.extend_from_slice(&kind.to_le_bytes());
        self.write(&marker)
    }

    /// A table or the directory behind its marker. Returns the sector that it starts at.
    fn table(&mut self, kind: u32, entries: &[u32]) -> Result<u32> {
        let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        self.marker(kind, (bytes.len() as u64).div_ceil(SECTOR))?;
        let start = u32::try_from(self.sectors)?;
        self.write(&bytes)?;
        Ok(start)
    }
}
