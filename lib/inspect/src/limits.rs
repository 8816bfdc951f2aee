//! How much of the system one snapshot holds. What is over is left out, and the snapshot says so.

/// Most processes.
pub const MAXIMUM_PROCESSES: usize = 64;

/// Most grants of one process, and most exports.
pub const MAXIMUM_GRANTS: usize = 48;

/// Most handles of one process that are looked at.
pub const MAXIMUM_HANDLES: usize = 4096;

/// Most kinds of holdings of one process, and most pairs of processes that share memory.
pub const MAXIMUM_HOLDINGS: usize = 64;

/// Most PCI functions.
pub const MAXIMUM_DEVICES: usize = 64;

/// Most processors.
pub const MAXIMUM_PROCESSORS: usize = 64;

/// Most routes, and most name servers.
pub const MAXIMUM_ROUTES: usize = 16;

/// Longest name or other text, in bytes.
pub const MAXIMUM_TEXT: usize = 160;
