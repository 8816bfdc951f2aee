//! What a driver opens of a claimed PCI function.

use crate::{DmaRegion, MmioRegisters, PAGE_BYTES};
use alloc::{format, rc::Rc};
use capnp::Error;
use rt::memory::{Mapping, Protection};
use schema::{
    device_capnp::{dma_pool, pci_function},
    memory_capnp::memory_object,
};

/// All registers behind a memory BAR that the driver may reach, from the BAR's first byte on.
pub async fn registers(function: &pci_function::Client, bar: u8) -> Result<MmioRegisters, Error> {
    let mut request = function.bar_request();
    request.get().set_index(bar);
    let mmio = request.send().promise.await?.get()?.get_mmio()?;
    let mapping = Rc::new(Mapping::device(&mmio).await?);
    let size = u32::try_from(mapping.len()).unwrap_or(u32::MAX);
    MmioRegisters::new(&mapping, 0, size).ok_or_else(|| Error::failed("the BAR has no registers".into()))
}

/// The function's pool of DMA memory, of at most so many pages.
pub async fn dma_pool(function: &pci_function::Client, pages: u32) -> Result<dma_pool::Client, Error> {
    let mut request = function.dma_pool_request();
    request.get().set_maximum_pages(pages);
    request.send().promise.await?.get()?.get_pool()
}

/// New zeroed memory that the device reaches, and the object to share it by.
pub async fn allocate(
    pool: &dma_pool::Client,
    pages: u32,
) -> Result<(DmaRegion, memory_object::Client), Error> {
    let mut request = pool.allocate_request();
    request.get().set_pages(pages);
    let response = request.send().promise.await?;
    let result = response.get()?;
    let memory = result.get_memory()?;
    let mapping = Mapping::new(&memory, 0, pages, Protection::ReadWrite).await?;
    let region = DmaRegion::new(Rc::new(mapping), result.get_bus_address());
    Ok((region.map_err(|error| Error::failed(format!("DMA memory: {error:?}")))?, memory))
}

/// Lets the function start DMA.
pub async fn set_bus_master(function: &pci_function::Client) -> Result<(), Error> {
    let mut request = function.set_bus_master_request();
    request.get().set_enabled(true);
    request.send().promise.await?;
    Ok(())
}

/// Pages that hold so many bytes.
pub fn pages(bytes: usize) -> Result<u32, Error> {
    let pages = bytes.div_ceil(PAGE_BYTES as usize);
    u32::try_from(pages).map_err(|_| Error::failed("more memory than can be counted".into()))
}
