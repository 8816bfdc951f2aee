//! Reads any bytes as a partition table, with the signature and the checksums made right: they are not what is tested.
#![no_main]

use gpt_disk_types::{Crc32, GptHeader, GptHeaderSignature, U32Le, crc};
use libfuzzer_sys::fuzz_target;
use partitions::{entries, header};

/// Blocks of the disk.
const BLOCKS: u64 = 4096;

/// Bytes of the header.
const HEADER: usize = 92;

fuzz_target!(|bytes: &[u8]| {
    let _as_it_is = header(bytes, 1, BLOCKS, 512);
    let Some((first, rest)) = bytes.split_at_checked(HEADER) else { return };
    let mut forged: GptHeader = bytemuck::pod_read_unaligned(first);
    forged.signature = GptHeaderSignature::EFI_COMPATIBLE_PARTITION_TABLE_HEADER;
    forged.header_size.set(HEADER as u32);
    // Numbers of a size that can be, mostly.
    forged.my_lba.0.set(1);
    forged.first_usable_lba.0.set(forged.first_usable_lba.to_u64() % 64);
    forged.last_usable_lba.0.set(forged.last_usable_lba.to_u64() % (BLOCKS + 1));
    forged.partition_entry_lba.0.set(forged.partition_entry_lba.to_u64() % 64);
    forged.size_of_partition_entry.set(128 << (forged.size_of_partition_entry.to_u32() % 3));
    forged.number_of_partition_entries.set(forged.number_of_partition_entries.to_u32() % 8);
    let bytes = forged.size_of_partition_entry.to_u32() * forged.number_of_partition_entries.to_u32();
    let mut list = rest.to_vec();
    list.resize(bytes as usize, 0);
    let checksum = crc::Crc::<u32>::new(&Crc32::ALGORITHM).checksum(&list);
    forged.partition_entry_array_crc32 = Crc32(U32Le::from_u32(checksum));
    forged.update_header_crc32();
    let Ok(header) = header(bytemuck::bytes_of(&forged), 1, BLOCKS, 512) else { return };
    assert!(header.entries_block + u64::from(header.entries_bytes).div_ceil(512) <= BLOCKS);
    let Ok(partitions) = entries(&list, &header) else { return };
    for (index, partition) in partitions.iter().enumerate() {
        assert!(partition.count > 0 && partition.first + partition.count <= BLOCKS);
        for other in partitions.iter().skip(index + 1) {
            assert!(
                partition.first + partition.count <= other.first
                    || other.first + other.count <= partition.first
            );
        }
    }
});
