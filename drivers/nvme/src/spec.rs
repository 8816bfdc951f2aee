//! What the specifications fix: register offsets, opcodes, bits.

/// Offsets of registers [NVMe-2.1 3.1.4].
pub mod register {
    /// Controller capabilities, 8 bytes.
    pub const CAPABILITIES: u32 = 0x00;
    /// Interrupt mask set; only without MSI-X.
    pub const INTERRUPT_MASK_SET: u32 = 0x0c;
    /// Interrupt mask clear; only without MSI-X.
    pub const INTERRUPT_MASK_CLEAR: u32 = 0x10;
    /// Controller configuration.
    pub const CONFIGURATION: u32 = 0x14;
    /// Controller status.
    pub const STATUS: u32 = 0x1c;
    /// Admin queue attributes: both sizes.
    pub const ADMIN_SIZES: u32 = 0x24;
    /// Bus address of the admin submission queue, 8 bytes.
    pub const ADMIN_SUBMISSION: u32 = 0x28;
    /// Bus address of the admin completion queue, 8 bytes.
    pub const ADMIN_COMPLETION: u32 = 0x30;
    /// The first doorbell.
    pub const DOORBELLS: u32 = 0x1000;
}

/// Version 1.1, which brought the list of active namespaces.
pub const VERSION_1_1: u32 = 0x0001_0100;

/// Bits of the configuration [NVMe-2.1 3.1.4.5].
pub mod configuration {
    /// Enable.
    pub const ENABLE: u32 = 1;
    /// Entry sizes as powers of two: 64-byte submissions, 16-byte completions.
    pub const ENTRY_SIZES: u32 = 6 << 16 | 4 << 20;
    /// The field that tells of a shutdown, and a normal one.
    pub const SHUTDOWN_MASK: u32 = 3 << 14;
    /// A normal shutdown.
    pub const SHUTDOWN_NORMAL: u32 = 1 << 14;
}

/// Bits of the status [NVMe-2.1 3.1.4.6].
pub mod status {
    /// Ready.
    pub const READY: u32 = 1;
    /// Controller fatal status.
    pub const FATAL: u32 = 1 << 1;
    /// The field that tells how far a shutdown is.
    pub const SHUTDOWN_MASK: u32 = 3 << 2;
    /// The shutdown is complete.
    pub const SHUTDOWN_COMPLETE: u32 = 2 << 2;
}

/// Opcodes of admin commands [NVMe-2.1 5].
pub mod admin {
    /// Create I/O submission queue.
    pub const CREATE_SUBMISSION: u8 = 0x01;
    /// Get log page.
    pub const GET_LOG_PAGE: u8 = 0x02;
    /// Create I/O completion queue.
    pub const CREATE_COMPLETION: u8 = 0x05;
    /// Identify.
    pub const IDENTIFY: u8 = 0x06;
    /// Abort.
    pub const ABORT: u8 = 0x08;
    /// Set features.
    pub const SET_FEATURES: u8 = 0x09;
    /// Asynchronous event request.
    pub const ASYNCHRONOUS_EVENT: u8 = 0x0c;
}

/// Opcodes of I/O commands [NVM-1.1 3].
pub mod io {
    /// Flush.
    pub const FLUSH: u8 = 0x00;
    /// Write.
    pub const WRITE: u8 = 0x01;
    /// Read.
    pub const READ: u8 = 0x02;
    /// Write zeroes.
    pub const WRITE_ZEROES: u8 = 0x08;
    /// Dataset management.
    pub const DATASET_MANAGEMENT: u8 = 0x09;
}

/// What Identify is asked for [NVMe-2.1 5.1.13].
pub mod identify {
    /// A namespace.
    pub const NAMESPACE: u32 = 0x00;
    /// The controller.
    pub const CONTROLLER: u32 = 0x01;
    /// The active namespaces above a number.
    pub const ACTIVE_NAMESPACES: u32 = 0x02;
}

/// Features [NVMe-2.1 5.1.25].
pub mod feature {
    /// Number of queues.
    pub const QUEUES: u32 = 0x07;
    /// Which asynchronous events are wanted.
    pub const EVENTS: u32 = 0x0b;
}

/// Forced unit access, in the third command word of a write [NVM-1.1 3.3.6].
pub const FORCED_UNIT_ACCESS: u32 = 1 << 30;
/// Deallocate, in the second command word of a dataset management command [NVM-1.1 3.3.3].
pub const DEALLOCATE: u32 = 1 << 2;

/// Physically contiguous queue, and interrupts enabled [NVMe-2.1 5.2.1].
pub const QUEUE_CONTIGUOUS: u32 = 1;
/// Interrupts enabled, for a completion queue.
pub const QUEUE_INTERRUPTS: u32 = 1 << 1;

/// Bytes of a submission entry.
pub const SUBMISSION_BYTES: u32 = 64;
/// Bytes of a completion entry.
pub const COMPLETION_BYTES: u32 = 16;
/// Bytes of a page as configured here, and of what Identify answers.
pub const PAGE_BYTES: u32 = 4096;
/// Bytes of one range of a dataset management command.
pub const RANGE_BYTES: u32 = 16;

/// Status codes, with their type in bits 8 to 10 [NVMe-2.1 4.2.3].
pub mod code {
    /// Success.
    pub const SUCCESS: u16 = 0;
    /// Invalid opcode.
    pub const INVALID_OPCODE: u16 = 0x001;
    /// Invalid field.
    pub const INVALID_FIELD: u16 = 0x002;
    /// Internal error.
    pub const INTERNAL: u16 = 0x006;
    /// The command was aborted on request.
    pub const ABORTED: u16 = 0x007;
    /// The submission queue was deleted.
    pub const QUEUE_DELETED: u16 = 0x008;
    /// The namespace is write protected.
    pub const WRITE_PROTECTED: u16 = 0x020;
    /// A block out of range.
    pub const OUT_OF_RANGE: u16 = 0x080;
    /// The namespace is not ready.
    pub const NOT_READY: u16 = 0x082;
    /// An attempt to write to a read-only range.
    pub const READ_ONLY_RANGE: u16 = 0x182;
    /// Media and data integrity errors have this type.
    pub const MEDIUM_TYPE: u16 = 0x200;
    /// The bits of type and code.
    pub const MASK: u16 = 0x7ff;
    /// The bits of the type.
    pub const TYPE_MASK: u16 = 0x700;
    /// Do not retry.
    pub const DO_NOT_RETRY: u16 = 1 << 14;
}
