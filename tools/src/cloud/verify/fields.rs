//! Fields of records that were read from a file.

/// The bytes of a field. The caller has a record that is long enough; what lies behind its end reads as zeros.
pub fn take<const N: usize>(record: &[u8], offset: usize) -> [u8; N] {
    record.get(offset..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

/// A little-endian field of 32 bits.
pub fn le32(record: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(take(record, offset))
}

/// A little-endian field of 64 bits.
pub fn le64(record: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(take(record, offset))
}

/// A big-endian field of 32 bits.
pub fn be32(record: &[u8], offset: usize) -> u32 {
    u32::from_be_bytes(take(record, offset))
}

/// A big-endian field of 64 bits.
pub fn be64(record: &[u8], offset: usize) -> u64 {
    u64::from_be_bytes(take(record, offset))
}
