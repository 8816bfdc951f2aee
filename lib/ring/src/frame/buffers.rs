//! The shared buffers.

use super::{FrameLayout, ReceivedFrame, SendBuffer};
use crate::{
    LayoutError,
    memory::{Region, SharedMemory},
};
use alloc::sync::Arc;

/// The bytes of the buffers, for the client, which reads and writes frames. Cloning is cheap.
pub struct Buffers<M> {
    region: Region<M>,
    layout: FrameLayout,
}

impl<M> Clone for Buffers<M> {
    fn clone(&self) -> Self {
        Self { region: self.region.clone(), layout: self.layout }
    }
}

impl<M: SharedMemory> Buffers<M> {
    pub(super) fn new(memory: &Arc<M>, layout: FrameLayout) -> Result<Self, LayoutError> {
        let needed = layout.buffers_bytes();
        let region = Region::new(memory, 0, needed)
            .ok_or(LayoutError::MemoryTooSmall { needed, actual: memory.len() })?;
        Ok(Self { region, layout })
    }

    /// The most bytes that a sent frame can have.
    pub fn maximum_frame(&self) -> usize {
        self.layout.send_bytes as usize
    }

    /// Lends a received frame in place (see the module, "In place").
    pub fn with_received<R>(&self, frame: &ReceivedFrame, f: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.region.lend(frame.offset() as usize, frame.len(), f)
    }

    /// Copies the first bytes of a received frame, as many as both have; returns how many.
    pub fn copy_received(&self, frame: &ReceivedFrame, target: &mut [u8]) -> usize {
        let length = frame.len().min(target.len());
        let copied =
            target.get_mut(..length).and_then(|target| self.region.copy_out(frame.offset() as usize, target));
        if copied.is_some() { length } else { 0 }
    }

    /// Lends the first `length` bytes of a send buffer to be filled in place. `None` when they are more than it has.
    pub fn with_send<R>(
        &self,
        buffer: &mut SendBuffer,
        length: usize,
        f: impl FnOnce(&mut [u8]) -> R,
    ) -> Option<R> {
        if length > self.maximum_frame() {
            return None;
        }
        self.region.clone().lend_mut(self.layout.buffer_offset(buffer.index()) as usize, length, f)
    }

    /// Copies a frame to the start of a send buffer. `None` when it is larger than the buffer.
    pub fn copy_to_send(&self, buffer: &mut SendBuffer, frame: &[u8]) -> Option<()> {
        if frame.len() > self.maximum_frame() {
            return None;
        }
        self.region.copy_in(self.layout.buffer_offset(buffer.index()) as usize, frame)
    }
}
