//! AddressSpace: where memory objects and device registers are mapped for one process.
//!
//! Invariants: mappings do not overlap; each holds a reference to what it maps; a page is free for reuse only after
//! every processor has flushed its translation. After [`AddressSpace::destroy`] nothing can be mapped.

mod access;

use super::account::{Account, Charge};
use super::device_mmio::DeviceMmio;
use super::memory_object::MemoryObject;
use super::{Object, memory_object::View};
use crate::arch::tlb;
use crate::error::Error;
use crate::memory::page_table::{Access, LeafTable, MapError, Root};
use crate::memory::{PAGE, PhysicalAddress, frames, kernel_space};
use crate::message::{Answer, Params};
use crate::sync::Lock;
use abi::{USER_END, USER_START};
use alloc::sync::Arc;
use alloc::vec::Vec;
use capnp::traits::HasTypeId;
use schema::memory_capnp::{Protection, address_space};

/// Most mappings of one address space.
const MAXIMUM_MAPPINGS: usize = 1024;

/// What is mapped.
enum Backing {
    Memory { memory: Arc<MemoryObject>, writable: bool },
    Device(Arc<DeviceMmio>),
}

struct Mapping {
    start: u64,
    pages: u64,
    backing: Backing,
}

struct Mappings {
    /// Sorted by `start`.
    list: Vec<Mapping>,
    /// Pays for the page tables.
    charge: Option<Charge>,
}

/// The user half of one process's virtual memory.
pub struct AddressSpace {
    /// Number of this object in inventories.
    pub id: u64,
    /// Its page tables.
    pub root: Root,
    account: Arc<Account>,
    mappings: Lock<Mappings>,
}

/// A range of a memory object and where it goes.
pub struct Placement {
    /// First page of the object.
    pub offset: u32,
    /// Number of pages.
    pub pages: u32,
    /// Virtual address, page aligned.
    pub address: u64,
}

impl AddressSpace {
    /// An empty address space, paid for by `account`.
    pub fn new(account: &Arc<Account>) -> Result<Arc<Self>, Error> {
        let charge = Charge::frames(account, 1)?;
        let kernel = kernel_space::root().ok_or(Error::failed("no kernel space"))?;
        let frame = frames::allocate_for_kernel().ok_or(Error::overloaded("the machine is out of memory"))?;
        Ok(Arc::new(Self {
            id: super::new_id(),
            root: Root::new_user(kernel, frame),
            account: account.clone(),
            mappings: Lock::new(Mappings { list: Vec::new(), charge: Some(charge) }),
        }))
    }

    /// Maps part of a memory object.
    pub fn map_memory(
        &self,
        memory: &Arc<MemoryObject>,
        view: View,
        placement: &Placement,
        protection: Protection,
    ) -> Result<(), Error> {
        let end = placement.offset.checked_add(placement.pages).filter(|end| *end <= memory.pages());
        if end.is_none() || placement.pages == 0 {
            return Err(Error::failed("the range is outside the memory object"));
        }
        let (access, writable) = match protection {
            Protection::Read => (Access::USER_READ, false),
            Protection::ReadWrite if view == View::ReadOnly => {
                return Err(Error::failed("read-only memory cannot be mapped writable"));
            }
            Protection::ReadWrite => (Access::USER_WRITE, true),
            Protection::ReadExecute if !memory.is_sealed() => {
                return Err(Error::failed("only sealed memory can be mapped executable"));
            }
            Protection::ReadExecute => (Access::USER_EXECUTE, false),
        };
        if writable {
            memory.begin_writing()?;
        }
        let backing = Backing::Memory { memory: memory.clone(), writable };
        let result = self.insert(placement.address, u64::from(placement.pages), access, backing, |page| {
            memory.frame(placement.offset + page as u32)
        });
        if result.is_err() && writable {
            memory.end_writing();
        }
        result
    }

    /// Maps device registers, uncached.
    pub fn map_device(
        &self,
        device: &Arc<DeviceMmio>,
        view: View,
        placement: &Placement,
        protection: Protection,
    ) -> Result<(), Error> {
        let end = placement.offset.checked_add(placement.pages).filter(|end| *end <= device.pages());
        if end.is_none() || placement.pages == 0 {
            return Err(Error::failed("the range is outside the device registers"));
        }
        let access = match (protection, view) {
            (Protection::Read, _) => Access::USER_READ,
            (Protection::ReadWrite, View::Full) => Access::USER_WRITE,
            (Protection::ReadWrite, View::ReadOnly) => {
                return Err(Error::failed("read-only registers cannot be mapped writable"));
            }
            (Protection::ReadExecute, _) => {
                return Err(Error::failed("device registers are never executable"));
            }
        };
        let backing = Backing::Device(device.clone());
        self.insert(placement.address, u64::from(placement.pages), access.uncached(), backing, |page| {
            device.frame(placement.offset + page as u32)
        })
    }

    fn insert(
        &self,
        start: u64,
        pages: u64,
        access: Access,
        backing: Backing,
        frame: impl Fn(u64) -> Option<PhysicalAddress>,
    ) -> Result<(), Error> {
        let end = pages.checked_mul(PAGE).and_then(|bytes| start.checked_add(bytes));
        if !start.is_multiple_of(PAGE) || start < USER_START || end.is_none_or(|end| end > USER_END) {
            return Err(Error::failed("the address range is not page aligned or outside the user half"));
        }
        let end = end.unwrap_or(USER_END);
        let mut mappings = self.mappings.lock();
        let Mappings { list, charge: Some(charge) } = &mut *mappings else {
            return Err(Error::disconnected("the process has ended"));
        };
        if list.len() >= MAXIMUM_MAPPINGS {
            return Err(Error::overloaded("too many mappings"));
        }
        let index = list.partition_point(|mapping| mapping.start < start);
        let overlaps_next = list.get(index).is_some_and(|next| next.start < end);
        let before = index.checked_sub(1).and_then(|before| list.get(before));
        if overlaps_next || before.is_some_and(|mapping| mapping.start + mapping.pages * PAGE > start) {
            return Err(Error::failed("the address range overlaps a mapping"));
        }
        if list.len() == list.capacity() {
            drop(Charge::bytes(&self.account, size_of::<Mapping>() * list.len().max(8) * 2)?);
            list.try_reserve(list.len().max(8))
                .map_err(|_| Error::overloaded("the machine is out of memory"))?;
        }
        let mut table = None;
        for page in 0..pages {
            let address = start + page * PAGE;
            let mut refused = None;
            let table_frame = || match charge.add_frame() {
                Ok(()) => frames::allocate_zeroed(),
                Err(error) => {
                    refused = Some(error);
                    None
                }
            };
            let known = table.filter(|_| LeafTable::pages_from(address) != LeafTable::PAGES);
            // SAFETY: the tables are guarded by the lock; a known table is that of the page before, and this is not the first page
            // of another; the frame belongs to `backing`, which the mapping keeps, and `access` was checked against it.
            let mapped = unsafe {
                known.map_or_else(|| self.root.leaf_table(address, access, table_frame), Ok).and_then(
                    |leaf| {
                        table = Some(leaf);
                        leaf.map(address, frame(page).ok_or(MapError::Occupied)?, access)
                    },
                )
            };
            if mapped.is_err() {
                self.clear(start, page);
                return Err(refused.unwrap_or(Error::overloaded("no memory for page tables")));
            }
        }
        list.insert(index, Mapping { start, pages, backing });
        Ok(())
    }

    /// Removes page table entries and flushes them everywhere. The mappings' lock is held.
    fn clear(&self, start: u64, pages: u64) {
        let mut removed = tlb::Removed::new(self.root);
        // SAFETY: the tables are guarded by the lock that the caller holds.
        unsafe { self.root.unmap(start, pages, |page| removed.add(page)) };
        removed.shoot_down();
    }

    /// Removes the mapping that starts at `address`.
    pub fn unmap(&self, address: u64) -> Result<(), Error> {
        let mut mappings = self.mappings.lock();
        let index = mappings
            .list
            .binary_search_by_key(&address, |mapping| mapping.start)
            .map_err(|_| Error::failed("no mapping starts at this address"))?;
        let mapping = mappings.list.remove(index);
        self.clear(mapping.start, mapping.pages);
        drop(mappings);
        mapping.backing.released();
        Ok(())
    }

    /// Removes every mapping of this device's registers.
    pub fn unmap_device(&self, device: &DeviceMmio) {
        loop {
            let mut mappings = self.mappings.lock();
            let found = mappings.list.iter().position(|mapping| match &mapping.backing {
                Backing::Device(mapped) => core::ptr::eq(Arc::as_ptr(mapped), device),
                Backing::Memory { .. } => false,
            });
            let Some(index) = found else { return };
            let mapping = mappings.list.remove(index);
            self.clear(mapping.start, mapping.pages);
        }
    }

    /// Gives everything back. No thread may run in it again.
    pub fn destroy(&self) {
        let mut mappings = self.mappings.lock();
        let list = core::mem::take(&mut mappings.list);
        let charge = mappings.charge.take();
        drop(mappings);
        // Before the memory is given back: an idle processor may have it loaded, and could still reach for it.
        tlb::evict(self.root);
        for mapping in list {
            mapping.backing.released();
        }
        if charge.is_some() {
            // SAFETY: the process has no thread left, all processors have left the root, and `charge` was taken once.
            unsafe { self.root.free_user_tables() };
        }
    }
}

impl Backing {
    fn released(self) {
        if let Self::Memory { memory, writable: true } = &self {
            memory.end_writing();
        }
    }
}

/// Serves `AddressSpace`.
pub fn invoke(space: &Arc<AddressSpace>, params: &Params, answer: &mut Answer) -> Result<(), Error> {
    params.expect_interface(address_space::Client::TYPE_ID)?;
    match params.method() {
        0 => {
            let map = params.root::<address_space::map_params::Owned>()?;
            let placement =
                Placement { offset: map.get_offset(), pages: map.get_pages(), address: map.get_address() };
            let protection = map.get_protection()?;
            match params.capability(0)? {
                Object::MemoryObject(memory) => space.map_memory(memory, View::Full, &placement, protection),
                Object::ReadOnlyMemory(memory) => {
                    space.map_memory(memory, View::ReadOnly, &placement, protection)
                }
                Object::DeviceMmio(device) => {
                    device.register_mapping(space)?;
                    space.map_device(device, device.view(), &placement, protection)
                }
                _ => Err(Error::WRONG_OBJECT),
            }?;
            answer.root::<address_space::map_results::Owned>()?;
        }
        1 => {
            space.unmap(params.root::<address_space::unmap_params::Owned>()?.get_address())?;
            answer.root::<address_space::unmap_results::Owned>()?;
        }
        _ => return access::invoke(space, params, answer),
    }
    Ok(())
}
