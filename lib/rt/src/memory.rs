//! Memory objects and mappings of this process.
use core::ptr::NonNull;

use capnp::Error;
pub use schema::memory_capnp::Protection;
use schema::{device_capnp::device_mmio, memory_capnp::memory_object};

/// Makes a memory object of zeroed pages, charged to this process.
pub async fn allocate(_pages: u32) -> Result<memory_object::Client, Error> {
    unimplemented!()
}

/// Memory mapped into this process; unmapped on drop.
pub struct Mapping {
    pointer: NonNull<u8>,
    length: usize,
}

impl Mapping {
    /// Maps `pages` pages of `memory` from page `offset` on, at an address of the runtime's choice.
    pub async fn new(
        _memory: &memory_object::Client,
        _offset: u32,
        _pages: u32,
        _protection: Protection,
    ) -> Result<Self, Error> {
        unimplemented!()
    }

    /// Maps a whole range of device registers; [`Self::as_ptr`] is its first register.
    pub async fn device(_mmio: &device_mmio::Client) -> Result<Self, Error> {
        unimplemented!()
    }

    /// First byte.
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.pointer
    }

    /// Length in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a mapping is never empty")]
    pub fn len(&self) -> usize {
        self.length
    }
}
