//! DmaPool: pinned memory that one device may reach.
//!
//! Behind an IOMMU (mode "vt-d") the device reaches the claim's domain, which holds its pools and nothing else. Without
//! one (mode "direct") nothing but the driver keeps the device inside the pool: such a driver is trusted. Bus addresses are
//! those of the domain, which are physical ones in both modes. The memory stays out of other use until the device has been made quiet.

use super::Object;
use super::account::{Account, Charge};
use super::memory_object::MemoryObject;
use super::pci_function::Claim;
use crate::error::Error;
use crate::message::{Answer, Params};
use crate::sync::Lock;
use alloc::sync::Arc;
use capnp::traits::HasTypeId;
use schema::device_capnp::dma_pool;

/// Most pages of one allocation: 4 MiB.
const MAXIMUM_PAGES: u32 = 1024;

/// Devices with 32-bit addresses reach all below.
const LIMIT: u64 = 1 << 32;

/// Memory of one device.
pub struct DmaPool {
    /// Number of this object in inventories.
    pub id: u64,
    claim: Arc<Claim>,
    account: Arc<Account>,
    maximum: u32,
    used: Lock<u32>,
    _charge: Charge,
}

impl DmaPool {
    /// A pool of at most `maximum` pages, charged to `account`.
    pub fn new(claim: &Arc<Claim>, maximum: u32, account: &Arc<Account>) -> Result<Arc<Self>, Error> {
        claim.dma_mode()?;
        let charge = Charge::object::<Self>(account)?;
        Ok(Arc::new(Self {
            id: super::new_id(),
            claim: claim.clone(),
            account: account.clone(),
            maximum,
            used: Lock::new(0),
            _charge: charge,
        }))
    }

    fn allocate(&self, pages: u32) -> Result<(Arc<MemoryObject>, u64), Error> {
        self.claim.check()?;
        if pages == 0 || pages > MAXIMUM_PAGES {
            return Err(Error::failed("an allocation has 1 to 1024 pages"));
        }
        let mut used = self.used.lock();
        let total = used.checked_add(pages).filter(|total| *total <= self.maximum);
        let total = total.ok_or(Error::overloaded("the DMA pool is used up"))?;
        let charge = Charge::dma(&self.account, pages)?;
        let memory = MemoryObject::contiguous(pages, LIMIT, charge)?;
        *used = total;
        drop(used);
        let address = self.claim.add_memory(memory.clone())?;
        Ok((memory, address))
    }
}

/// Serves `DmaPool`.
pub fn invoke(object: &Arc<DmaPool>, params: &Params, answer: &mut Answer) -> Result<(), Error> {
    params.expect_interface(dma_pool::Client::TYPE_ID)?;
    match params.method() {
        0 => {
            let pages = params.root::<dma_pool::allocate_params::Owned>()?.get_pages();
            let (memory, address) = object.allocate(pages)?;
            answer.root::<dma_pool::allocate_results::Owned>()?.set_bus_address(address);
            answer.capability(0, Object::MemoryObject(memory))?;
        }
        1 => {
            let mut usage = answer.root::<dma_pool::usage_results::Owned>()?;
            usage.set_used_pages(*object.used.lock());
            usage.set_maximum_pages(object.maximum);
            usage.set_mode(object.claim.dma_mode()?);
        }
        _ => return Err(Error::NO_METHOD),
    }
    Ok(())
}
