//! What the standards fix: sizes, operation codes, sense keys.

/// The queue that is used: the first for requests, behind those for control and events.
pub const QUEUE: u16 = 2;

/// Offsets in the configuration [VIRTIO-1.2 5.6.4].
pub mod config {
    /// The most sectors of 512 bytes that one request moves; 0xffff or 0 for no limit.
    pub const MAXIMUM_SECTORS: u32 = 8;
    /// The largest target number.
    pub const MAXIMUM_TARGET: u32 = 30;
}

/// Bytes of a request's header and of an answer with the sizes that a device has at the start [VIRTIO-1.2 5.6.6.1].
pub const HEADER_BYTES: u32 = 51;
/// See [`HEADER_BYTES`].
pub const ANSWER_BYTES: u32 = 108;
/// Bytes of the parameters of an unmap of one range [SBC-3 5.28].
pub const UNMAP_BYTES: u32 = 24;

/// Operation codes.
pub mod code {
    /// Inquiry.
    pub const INQUIRY: u8 = 0x12;
    /// Mode sense (6).
    pub const MODE_SENSE: u8 = 0x1a;
    /// Read capacity (10).
    pub const READ_CAPACITY_10: u8 = 0x25;
    /// Synchronize cache (10): older than that of 16 bytes, and all that is needed.
    pub const SYNCHRONIZE: u8 = 0x35;
    /// Unmap.
    pub const UNMAP: u8 = 0x42;
    /// Read (16).
    pub const READ: u8 = 0x88;
    /// Write (16).
    pub const WRITE: u8 = 0x8a;
    /// Write same (16).
    pub const WRITE_SAME: u8 = 0x93;
    /// Service action in (16), of which one is read capacity (16).
    pub const SERVICE_ACTION_IN: u8 = 0x9e;
    /// Read capacity (16), as a service action.
    pub const READ_CAPACITY_16: u8 = 0x10;
    /// Report logical units.
    pub const REPORT_UNITS: u8 = 0xa0;
}

/// Pages of product data [SPC-4 7.8].
pub mod page {
    /// Serial number.
    pub const SERIAL: u8 = 0x80;
    /// Block limits.
    pub const LIMITS: u8 = 0xb0;
    /// Logical block provisioning.
    pub const PROVISIONING: u8 = 0xb2;
    /// All mode pages.
    pub const ALL_MODES: u8 = 0x3f;
    /// The mode page of the cache.
    pub const CACHE: u8 = 0x08;
}

/// Answers of the host [VIRTIO-1.2 5.6.6.1].
pub mod response {
    /// The unit has answered.
    pub const OK: u8 = 0;
    /// There is no such target.
    pub const BAD_TARGET: u8 = 3;
    /// A reset came in the way.
    pub const RESET: u8 = 4;
    /// The host is busy.
    pub const BUSY: u8 = 5;
}

/// Status of a unit [SAM-5 5.3].
pub mod status {
    /// Done.
    pub const GOOD: u8 = 0x00;
    /// Sense data says more.
    pub const CHECK: u8 = 0x02;
    /// Try again.
    pub const BUSY: u8 = 0x08;
    /// Try again.
    pub const TASK_SET_FULL: u8 = 0x28;
}

/// Sense keys [SPC-4 4.5.6].
pub mod sense {
    /// Nothing to say.
    pub const NONE: u8 = 0;
    /// Done after trying.
    pub const RECOVERED: u8 = 1;
    /// Not ready.
    pub const NOT_READY: u8 = 2;
    /// The medium failed.
    pub const MEDIUM: u8 = 3;
    /// The command is wrong.
    pub const ILLEGAL: u8 = 5;
    /// Something happened to the unit since the last command.
    pub const ATTENTION: u8 = 6;
    /// It must not be written.
    pub const PROTECT: u8 = 7;
    /// The unit aborted the command.
    pub const ABORTED: u8 = 0xb;
    /// Additional sense code: a block out of range.
    pub const OUT_OF_RANGE: u8 = 0x21;
}
