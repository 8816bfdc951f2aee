//! The client's access to the shared buffers.

use crate::{
    LayoutError,
    memory::{Region, SharedMemory},
};
use alloc::sync::Arc;

/// The bytes of the buffers. Which parts of them are whose is the client's own affair.
pub struct Buffers<M> {
    region: Region<M>,
    bytes: usize,
}

impl<M: SharedMemory> Buffers<M> {
    /// The first `bytes` bytes of the `buffers` object that `BlockDevice.open` answered with.
    pub fn new(memory: &Arc<M>, bytes: usize) -> Result<Self, LayoutError> {
        let region = Region::new(memory, 0, bytes);
        let region = region.ok_or(LayoutError::MemoryTooSmall { needed: bytes, actual: memory.len() })?;
        Ok(Self { region, bytes })
    }

    /// How many bytes there are.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Copies bytes out. `None`, with nothing done, when they are not all there.
    pub fn read(&self, offset: usize, target: &mut [u8]) -> Option<()> {
        self.region.copy_out(offset, target)
    }

    /// Copies bytes in. `None`, with nothing done, when they do not fit.
    pub fn write(&mut self, offset: usize, source: &[u8]) -> Option<()> {
        self.region.copy_in(offset, source)
    }

    /// Lends bytes in place; what the device writes meanwhile changes what is read, and nothing else (see
    /// [`crate::frame`], "In place").
    pub fn with<R>(&self, offset: usize, length: usize, f: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.region.lend(offset, length, f)
    }

    /// Lends bytes in place for writing.
    pub fn with_mut<R>(&mut self, offset: usize, length: usize, f: impl FnOnce(&mut [u8]) -> R) -> Option<R> {
        self.region.lend_mut(offset, length, f)
    }
}
