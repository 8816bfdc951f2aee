//! The limits that every manifest keeps.

/// Most entries of a manifest.
pub const MAXIMUM_ENTRIES: u32 = 64;

/// Most grants of an entry.
pub const MAXIMUM_GRANTS: u32 = 32;

/// Most exports of an entry.
pub const MAXIMUM_EXPORTS: u32 = 16;

/// Most arguments of an entry.
pub const MAXIMUM_ARGUMENTS: u32 = 32;

/// Most device numbers of a device match.
pub const MAXIMUM_DEVICES: u32 = 16;

/// Longest name of a process, grant, export or argument, in bytes.
pub const MAXIMUM_NAME: usize = 31;

/// Longest value of an argument, in bytes.
pub const MAXIMUM_VALUE: usize = 255;

/// Longest text that is decoded at all, in bytes.
pub const MAXIMUM_TEXT: usize = 1024;

/// Lowest and highest priority of a process: 0 is the idle priority, 31 is init's own.
pub const PRIORITIES: core::ops::RangeInclusive<u8> = 1..=30;

/// Fewest frames that a process can be built with: its page tables, stack, heap and start message.
pub const MINIMUM_FRAMES: u32 = 64;

/// Handles that the runtime of every process needs for itself.
pub const RUNTIME_HANDLES: u16 = 16;

/// Most handles of a process (schema/process.capnp).
pub const MAXIMUM_HANDLES: u16 = 4096;

/// Most threads of a process.
pub const MAXIMUM_THREADS: u16 = 64;

/// Number of ISA interrupt lines.
pub const ISA_LINES: u8 = 16;

/// Number of I/O ports.
pub const PORTS: u32 = 0x1_0000;

/// Most restarts that a policy may allow in its window.
pub const MAXIMUM_RESTARTS: u16 = 1000;

/// Longest back-off before a restart, in milliseconds.
pub const MAXIMUM_BACK_OFF: u16 = 1000;

/// Times between heartbeats that an entry may ask for, in milliseconds: shorter ones would be missed on a busy machine.
pub const HEARTBEATS: core::ops::RangeInclusive<u32> = 50..=60_000;

/// Bytes of a frame.
pub const FRAME_BYTES: u64 = 4096;

/// Names that no entry may take: they stand for the kernel and for init where grants are listed.
pub const RESERVED_PROCESSES: [&str; 2] = ["init", "kernel"];

/// Names that no grant may take: every process has these.
pub const RESERVED_GRANTS: [&str; 2] = ["log", "supervisor"];

/// Whether `name` may name a process, grant, export or argument.
pub fn is_name(name: &str) -> bool {
    (1..=MAXIMUM_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
