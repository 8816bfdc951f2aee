//! The device's configuration, read and checked.

use crate::spec::{SECTOR_BYTES, config, feature};
use alloc::string::String;
use block::{Access, Disk, Identity};
use virtio::{PciTransport, SetupError, features, read_stable};

/// The largest request, whatever the device says.
const MAXIMUM_BYTES: u32 = 1 << 20;

/// What this driver can do of what a device offers.
pub fn choose(_: &PciTransport, _: u64) -> u64 {
    feature::SIZE_MAX
        | feature::READ_ONLY
        | feature::BLOCK_SIZE
        | feature::FLUSH
        | feature::DISCARD
        | feature::WRITE_ZEROES
        | features::ACCESS_PLATFORM
        | features::ORDER_PLATFORM
}

fn u32_at(transport: &PciTransport, offset: u32) -> Option<u32> {
    let (low, high) = (transport.config_u16(offset)?, transport.config_u16(offset + 2)?);
    Some(u32::from(low) | u32::from(high) << 16)
}

/// Reads the only disk; the features are the accepted ones. A device with blocks of a strange size gets those of 512 bytes.
pub fn read_disk(transport: &PciTransport, accepted: u64, serial: String) -> Result<Disk, SetupError> {
    let has = |feature| accepted & feature != 0;
    let (sectors, size_max, block_bytes, discard, zeroes) = read_stable(transport, |transport| {
        let optional = |feature, offset| if has(feature) { u32_at(transport, offset) } else { Some(0) };
        let capacity = u64::from(u32_at(transport, config::CAPACITY)?)
            | u64::from(u32_at(transport, config::CAPACITY + 4)?) << 32;
        Some((
            capacity,
            optional(feature::SIZE_MAX, config::SIZE_MAX)?,
            optional(feature::BLOCK_SIZE, config::BLOCK_SIZE)?,
            optional(feature::DISCARD, config::MAXIMUM_DISCARD)?,
            optional(feature::WRITE_ZEROES, config::MAXIMUM_ZEROES)?,
        ))
    })?;
    let good = block_bytes.is_power_of_two() && (SECTOR_BYTES..=65_536).contains(&block_bytes);
    let block_bytes = if good { block_bytes } else { SECTOR_BYTES };
    let sectors_of_a_block = block_bytes / SECTOR_BYTES;
    let largest = if size_max == 0 { MAXIMUM_BYTES } else { size_max.min(MAXIMUM_BYTES) };
    Ok(Disk {
        block_bytes,
        // What cannot be counted in bytes is not there.
        blocks: sectors.min(u64::MAX / 512) / u64::from(sectors_of_a_block),
        maximum_blocks: (largest / block_bytes).max(1),
        maximum_discard: discard / sectors_of_a_block,
        maximum_zero: zeroes / sectors_of_a_block,
        access: if has(feature::READ_ONLY) { Access::ReadOnly } else { Access::ReadWrite },
        write_cache: has(feature::FLUSH),
        forced_unit_access: false,
        identity: Identity { model: "virtio block device".into(), serial, ..Identity::default() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use virtio::{DeviceType, Msix, fake::FakeDevice};

    fn config(fields: &[(usize, &[u8])]) -> vec::Vec<u8> {
        let mut bytes = vec![0; 60];
        for (offset, field) in fields {
            bytes[*offset..offset + field.len()].copy_from_slice(field);
        }
        bytes
    }

    fn disk(fields: &[(usize, &[u8])], accepted: u64) -> Disk {
        let device = FakeDevice::new(&[], &config(fields), 0);
        let modern = read_disk(&device.modern(DeviceType::Block), accepted, String::new()).expect("stable");
        let legacy = read_disk(&device.legacy(DeviceType::Block, Msix::On), accepted, String::new());
        assert_eq!(legacy.as_ref(), Ok(&modern), "the same on both transports");
        modern
    }

    #[test]
    fn sizes_are_those_of_the_configuration() {
        let all = feature::BLOCK_SIZE | feature::DISCARD | feature::WRITE_ZEROES | feature::FLUSH;
        let fields: &[(usize, &[u8])] = &[(0, &[0, 64]), (20, &[0, 16]), (36, &[16]), (48, &[80])];
        let large = disk(fields, all);
        assert_eq!((large.block_bytes, large.blocks, large.maximum_blocks), (4096, 2048, 256));
        assert_eq!((large.maximum_discard, large.maximum_zero), (2, 10));
        assert!(large.write_cache && large.access == Access::ReadWrite);
        let small = disk(fields, feature::READ_ONLY);
        assert_eq!((small.block_bytes, small.blocks, small.maximum_discard), (512, 16384, 0));
        assert!(!small.write_cache && small.access == Access::ReadOnly);
    }

    #[test]
    fn strange_sizes_are_not_believed() {
        for size in [&[0, 0, 0, 0][..], &[1, 2], &[0, 1], &[0, 0, 2, 0]] {
            assert_eq!(disk(&[(20, size)], feature::BLOCK_SIZE).block_bytes, 512);
        }
        assert_eq!(disk(&[(8, &[0, 1])], feature::SIZE_MAX).maximum_blocks, 1);
        assert_eq!(disk(&[(0, &[0xff; 8])], 0).blocks, u64::MAX / 512);
        let short = FakeDevice::new(&[], &[0; 7], 0);
        let none = read_disk(&short.modern(DeviceType::Block), 0, String::new());
        assert_eq!(none, Err(SetupError::Configuration));
    }
}
