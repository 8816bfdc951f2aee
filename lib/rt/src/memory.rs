//! Memory objects and mappings of this process.
use core::ptr::{self, NonNull};

use abi::PAGE_SIZE;
use capnp::{Error, capability::FromClientHook, private::capability::ClientHook};
pub use schema::memory_capnp::Protection;
use schema::{device_capnp::device_mmio, memory_capnp::memory_object};

use crate::{address_ranges::Range, capability, client::Remote, kernel, runtime::runtime};

/// Makes a memory object of zeroed pages, charged to this process. Errors: `overloaded` when the
/// process's quota or the machine's memory is used up.
#[expect(clippy::unused_async, reason = "who gives memory may one day be another process")]
pub async fn allocate(pages: u32) -> Result<memory_object::Client, Error> {
    Ok(memory_object::Client::new(Remote::client(kernel::memory(pages)?)))
}

/// How many capabilities and mappings of these pages there are anywhere, this process's own included: who lent memory out
/// learns by it that nobody else has it any more.
pub async fn holders(memory: &memory_object::Client) -> Result<u32, Error> {
    Ok(memory.holders_request().send().promise.await?.get()?.get_count())
}

/// Memory mapped into this process; unmapped on drop.
pub struct Mapping {
    range: Range,
    pointer: NonNull<u8>,
    length: usize,
    protection: Protection,
}

impl Mapping {
    /// Maps `pages` pages of `memory` from page `offset` on, at an address of the runtime's choice.
    pub async fn new(
        memory: &memory_object::Client,
        offset: u32,
        pages: u32,
        protection: Protection,
    ) -> Result<Self, Error> {
        let memory = settled(memory.as_client_hook()).await?;
        Self::map(memory, offset, pages, protection)
    }

    /// Maps a whole range of device registers; [`Self::as_ptr`] is its first register and
    /// [`Self::len`] the length of the registers.
    pub async fn device(mmio: &device_mmio::Client) -> Result<Self, Error> {
        let response = mmio.info_request().send().promise.await?;
        let info = response.get()?;
        let (pages, offset) = (info.get_pages(), info.get_offset() as usize);
        let mapped = pages as usize * PAGE_SIZE;
        let length = usize::try_from(info.get_length()).unwrap_or(usize::MAX);
        if offset.checked_add(length).is_none_or(|end| end > mapped) {
            return Err(Error::failed("the device's registers do not fit their pages".into()));
        }
        let registers = settled(mmio.as_client_hook()).await?;
        // A read-only view refuses to be mapped for writing.
        let mut mapping = match Self::map(registers, 0, pages, Protection::ReadWrite) {
            Ok(mapping) => mapping,
            Err(_) => Self::map(registers, 0, pages, Protection::Read)?,
        };
        mapping.pointer = mapping.pointer.map_addr(|address| address.saturating_add(offset));
        mapping.length = length;
        Ok(mapping)
    }

    fn map(memory: u32, offset: u32, pages: u32, protection: Protection) -> Result<Self, Error> {
        let range = runtime().mappings.reserve(pages)?;
        if let Err(error) = kernel::map(memory, offset, pages, range.start(), protection) {
            runtime().mappings.free(range);
            return Err(error);
        }
        let pointer = NonNull::new(ptr::with_exposed_provenance_mut(range.start() as usize))
            .ok_or_else(|| Error::failed("nothing is mapped at address 0".into()))?;
        Ok(Self { range, pointer, length: pages as usize * PAGE_SIZE, protection })
    }

    /// First byte.
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.pointer
    }

    /// Copies `bytes` to `offset`, for who fills memory without `unsafe` code. Errors: `failed` when they do not fit, or
    /// the mapping is not writable.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), Error> {
        let fits = offset.checked_add(bytes.len()).is_some_and(|end| end <= self.length);
        if !fits || self.protection != Protection::ReadWrite {
            return Err(Error::failed("the bytes do not fit the mapping, or it is not writable".into()));
        }
        // SAFETY: the range lies in the mapping, which is writable and stays while `self` does. No reference to its
        // bytes exists: it is handed out as a pointer only, so that `bytes` is not part of it.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), self.pointer.as_ptr().add(offset), bytes.len());
        }
        Ok(())
    }

    /// Length in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a mapping is never empty")]
    pub fn len(&self) -> usize {
        self.length
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // A range that could not be unmapped is never used again.
        if kernel::unmap(self.range.start()).is_ok() {
            runtime().mappings.free(self.range);
        }
    }
}

/// The handle behind a client, once it is known. The client keeps it open.
async fn settled(client: &dyn ClientHook) -> Result<u32, Error> {
    client.when_resolved().await?;
    capability::handle_of(client)?
        .ok_or_else(|| Error::failed("only the kernel's memory can be mapped".into()))
}
