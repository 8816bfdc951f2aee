//! Makes a disk larger: what clouds ask for in whole GiB or MiB. The partitions stay as they are; the second partition
//! table moves to the new end.

use std::{fs::File, os::unix::fs::FileExt as _};

use anyhow::{Result, ensure};
use gpt::{GptConfig, disk::LogicalBlockSize, mbr::ProtectiveMBR};

use crate::image::layout::SECTOR_BYTES;

/// Sectors of the second table: the header and 128 entries of 128 bytes [UEFI 5.3.1].
const TABLE_SECTORS: u64 = 33;

/// Grows a disk to a multiple of `unit` bytes.
pub fn to_multiple(disk: &mut File, unit: u64) -> Result<()> {
    let old = disk.metadata()?.len();
    let new = old.next_multiple_of(unit);
    if new == old {
        return Ok(());
    }
    ensure!(
        old.is_multiple_of(SECTOR_BYTES) && new - old >= TABLE_SECTORS * SECTOR_BYTES,
        "a disk of {old} bytes cannot grow to {new}"
    );
    disk.set_len(new)?;
    let zeros = vec![0; usize::try_from(TABLE_SECTORS * SECTOR_BYTES)?];
    disk.write_all_at(&zeros, old - zeros.len() as u64)?;

    let mut mbr = ProtectiveMBR::with_lb_size(u32::try_from(new / SECTOR_BYTES - 1)?);
    mbr.set_bootcode(gpt::mbr::read_bootcode(disk)?);
    mbr.overwrite_lba0(disk)?;
    let mut table =
        GptConfig::new().writable(true).logical_block_size(LogicalBlockSize::Lb512).open_from_device(disk)?;
    // Taking the partitions anew makes the headers anew, with the end where it is now.
    let partitions = table.take_partitions();
    table.update_partitions(partitions)?;
    table.write()?;
    Ok(())
}
