//! Where things lie on the disk, and what they are called there.
//!
//! ```text
//!       0      protective MBR, with the boot loader's first code
//!       512    GPT: header, then 128 entries
//!       1 MiB  partition 1, BIOS boot: the boot loader's second stage
//!       2 MiB  partition 2, EFI system, FAT32: boot loader, its configuration, kernel, boot package
//!     130 MiB  partition 3, data: kept for the store, all zeros
//!   -  1 MiB   GPT again, in the disk's last 33 sectors
//! ```

use anyhow::{Result, ensure};
use gpt::partition_types::{OperatingSystem, Type};
use uuid::{Uuid, uuid};

/// Bytes of a sector: the GPT counts in these, and clouds show disks with these.
pub const SECTOR_BYTES: u64 = 512;

const MEBIBYTE: u64 = 1 << 20;

/// Partitions start and end on borders of 1 MiB, as firmware and flash like it.
const ALIGNMENT: u64 = MEBIBYTE / SECTOR_BYTES;

/// First sectors of the partitions.
pub const BIOS_BOOT_START: u64 = ALIGNMENT;
pub const SYSTEM_START: u64 = 2 * ALIGNMENT;
pub const DATA_START: u64 = SYSTEM_START + SYSTEM_SECTORS;

/// Sectors of the partitions whose size is fixed.
pub const BIOS_BOOT_SECTORS: u64 = SYSTEM_START - BIOS_BOOT_START;
pub const SYSTEM_SECTORS: u64 = 128 * ALIGNMENT;

/// Type of the data partition: capOS's own, so that no other system takes it for one of its.
pub const DATA_TYPE: Uuid = uuid!("7b1f0a53-94d2-4c0e-8a36-2f6f1e5dca01");

/// What the GPT crate wants to know of it.
pub fn data_type() -> Type {
    Type { guid: DATA_TYPE, os: OperatingSystem::Custom("capOS".into()) }
}

/// Size of a disk, in MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mebibytes(pub u64);

impl Mebibytes {
    /// What `make image` makes: room for 125 MiB of data.
    pub const DEFAULT: Self = Self(256);

    /// What `make capos-cloudboot-image` makes: the least that a boot disk has on Compute Engine.
    pub const CLOUD_BOOT: Self = Self(10 << 10);

    /// The smallest, with 1 MiB of data.
    const MINIMUM: Self = Self(132);

    /// The largest: the size in sectors fits in 32 bits, as a protective MBR can say it.
    const MAXIMUM: Self = Self(2 << 20);

    /// Checks that a disk can have this size.
    pub fn check(self) -> Result<Self> {
        ensure!(
            (Self::MINIMUM..Self::MAXIMUM).contains(&self),
            "a disk of {} MiB cannot be made: it has {} MiB at least, and less than {} MiB",
            self.0,
            Self::MINIMUM.0,
            Self::MAXIMUM.0
        );
        Ok(self)
    }

    /// The same in bytes.
    pub const fn bytes(self) -> u64 {
        self.0 * MEBIBYTE
    }

    /// The same in sectors.
    pub const fn sectors(self) -> u64 {
        self.0 * ALIGNMENT
    }

    /// Sectors of the data partition: up to the last MiB, which holds the second table.
    pub const fn data_sectors(self) -> u64 {
        self.sectors() - ALIGNMENT - DATA_START
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_as_documented() {
        assert_eq!(DATA_START * SECTOR_BYTES, 130 << 20);
        assert_eq!(Mebibytes::DEFAULT.data_sectors() * SECTOR_BYTES, 125 << 20);
        assert_eq!(Mebibytes::MINIMUM.data_sectors() * SECTOR_BYTES, 1 << 20);
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        assert!(Mebibytes(132).check().is_ok());
        let error = Mebibytes(131).check().expect_err("refused").to_string();
        assert_eq!(
            error,
            "a disk of 131 MiB cannot be made: it has 132 MiB at least, and less than 2097152 MiB"
        );
        assert!(Mebibytes(2 << 20).check().is_err());
    }
}
