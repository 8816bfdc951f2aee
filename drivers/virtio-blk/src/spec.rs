//! What [VIRTIO-1.2 5.2] fixes of a block device.

/// The queue that is used: the first.
pub const QUEUE: u16 = 0;

/// Feature bits [VIRTIO-1.2 5.2.3].
pub mod feature {
    /// The configuration gives the largest segment.
    pub const SIZE_MAX: u64 = 1 << 1;
    /// The device is read-only.
    pub const READ_ONLY: u64 = 1 << 5;
    /// The configuration gives the size of a block.
    pub const BLOCK_SIZE: u64 = 1 << 6;
    /// The device has a cache and takes flushes.
    pub const FLUSH: u64 = 1 << 9;
    /// The device takes discards.
    pub const DISCARD: u64 = 1 << 13;
    /// The device takes writes of zeroes.
    pub const WRITE_ZEROES: u64 = 1 << 14;
}

/// Byte offsets in the configuration [VIRTIO-1.2 5.2.4].
pub mod config {
    /// Number of sectors, 8 bytes.
    pub const CAPACITY: u32 = 0;
    /// Largest segment in bytes.
    pub const SIZE_MAX: u32 = 8;
    /// Bytes of a block.
    pub const BLOCK_SIZE: u32 = 20;
    /// The most sectors of a discard.
    pub const MAXIMUM_DISCARD: u32 = 36;
    /// The most sectors of a write of zeroes.
    pub const MAXIMUM_ZEROES: u32 = 48;
}

/// Types of requests [VIRTIO-1.2 5.2.6].
pub mod request {
    /// Read.
    pub const READ: u32 = 0;
    /// Write.
    pub const WRITE: u32 = 1;
    /// Flush.
    pub const FLUSH: u32 = 4;
    /// The device's serial number.
    pub const IDENTIFY: u32 = 8;
    /// Discard.
    pub const DISCARD: u32 = 11;
    /// Write zeroes.
    pub const WRITE_ZEROES: u32 = 13;
}

/// Answers.
pub mod status {
    /// Done.
    pub const OK: u8 = 0;
    /// Not supported.
    pub const UNSUPPORTED: u8 = 2;
}

/// Bytes of a sector, in which all requests count.
pub const SECTOR_BYTES: u32 = 512;
/// Bytes of a header, of the segment of a discard, and of an answer.
pub const HEADER_BYTES: u32 = 16;
/// See [`HEADER_BYTES`].
pub const SEGMENT_BYTES: u32 = 16;
/// See [`HEADER_BYTES`].
pub const STATUS_BYTES: u32 = 1;
/// Bytes of the serial number.
pub const SERIAL_BYTES: u32 = 20;
