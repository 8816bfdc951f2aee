//! Waking the other side of a ring.

/// Something that wakes the process on the other side of shared memory.
pub trait Doorbell {
    /// Wakes it. Costs nothing when it is gone.
    fn ring(&self);
}
