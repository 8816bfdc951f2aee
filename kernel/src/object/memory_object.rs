//! MemoryObject: pages that can be mapped into address spaces.
//!
//! Invariants: the frames belong to the object and are freed with it; a mapping holds a reference. An object
//! is either writable or sealed, and only a sealed one can be mapped executable, so that no page is
//! ever writable in one place and executable in another. DMA memory and the boot package are such objects too.

use super::Object;
use super::account::{Account, Charge};
use crate::error::Error;
use crate::memory::{PAGE, PhysicalAddress, frames, zero_page};
use crate::message::{Answer, Params};
use crate::sync::Lock;
use alloc::sync::Arc;
use alloc::vec::Vec;
use capnp::traits::HasTypeId;
use schema::memory_capnp::memory_object;

/// Most pages of one object: 256 MiB.
const MAXIMUM_PAGES: u32 = 1 << 16;

/// Most contiguous parts of one object.
const MAXIMUM_PARTS: usize = 64;

/// A run of contiguous frames.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Its first frame.
    pub start: PhysicalAddress,
    /// Number of frames.
    pub pages: u32,
}

/// Who may write.
#[derive(Debug)]
enum Writability {
    /// Writable, in this many mappings now.
    Writable(u32),
    /// Never again.
    Sealed,
}

/// Where the frames go when the object is dropped.
#[derive(Debug, PartialEq, Eq)]
enum Origin {
    /// Back to the free frames.
    Allocated,
    /// Nowhere: they hold something that lives for ever (the boot package).
    Static,
}

/// The pages themselves.
#[derive(Debug)]
pub struct MemoryObject {
    /// Number of this object in inventories.
    pub id: u64,
    runs: Vec<Run>,
    pages: u32,
    writability: Lock<Writability>,
    origin: Origin,
    _charge: Option<Charge>,
}

impl MemoryObject {
    /// New zeroed pages, charged to `account`.
    pub fn new(account: &Arc<Account>, pages: u32) -> Result<Arc<Self>, Error> {
        if pages == 0 || pages > MAXIMUM_PAGES {
            return Err(Error::failed("a memory object has 1 to 65536 pages"));
        }
        let charge = Charge::frames(account, pages)?;
        let object = Charge::object::<Self>(account)?;
        drop(object); // Small against the pages; only checks that the kernel has room.
        let mut memory = Self::empty(pages, Origin::Allocated, Some(charge));
        let mut left = pages;
        let mut part = pages;
        while left > 0 {
            part = part.min(left);
            match frames::allocate_run(part as usize, u64::MAX) {
                Some(start) if memory.runs.len() < MAXIMUM_PARTS => {
                    memory.runs.push(Run { start, pages: part });
                    left -= part;
                }
                Some(start) => {
                    // SAFETY: the run was just taken and nobody has seen it.
                    unsafe { frames::release(start, part as usize) };
                    return Err(Error::overloaded("memory is too fragmented"));
                }
                None if part > 1 => part = part.div_ceil(2),
                None => return Err(Error::overloaded("the machine is out of memory")),
            }
        }
        memory.zero();
        Ok(Arc::new(memory))
    }

    /// One zeroed run below `limit`, for a device; `charge` says who pays.
    pub fn contiguous(pages: u32, limit: u64, charge: Charge) -> Result<Arc<Self>, Error> {
        let mut memory = Self::empty(pages, Origin::Allocated, Some(charge));
        let start = frames::allocate_run(pages as usize, limit)
            .ok_or(Error::overloaded("no contiguous memory of this size is free"))?;
        memory.runs.push(Run { start, pages });
        memory.zero();
        Ok(Arc::new(memory))
    }

    /// Memory that exists already and is never freed, sealed from the start.
    pub fn sealed(start: PhysicalAddress, pages: u32) -> Arc<Self> {
        let mut memory = Self::empty(pages, Origin::Static, None);
        memory.runs.push(Run { start, pages });
        memory.writability = Lock::new(Writability::Sealed);
        Arc::new(memory)
    }

    fn empty(pages: u32, origin: Origin, charge: Option<Charge>) -> Self {
        Self {
            id: super::new_id(),
            runs: Vec::new(),
            pages,
            writability: Lock::new(Writability::Writable(0)),
            origin,
            _charge: charge,
        }
    }

    fn zero(&self) {
        for run in &self.runs {
            for page in 0..u64::from(run.pages) {
                // SAFETY: the frames belong to this new object.
                unsafe { zero_page(PhysicalAddress(run.start.0 + page * PAGE)) };
            }
        }
    }

    /// Number of pages.
    pub const fn pages(&self) -> u32 {
        self.pages
    }

    /// The frame behind page `page`.
    pub fn frame(&self, page: u32) -> Option<PhysicalAddress> {
        let mut page = page;
        for run in &self.runs {
            if page < run.pages {
                return Some(PhysicalAddress(run.start.0 + u64::from(page) * PAGE));
            }
            page -= run.pages;
        }
        None
    }

    /// Registers a writable mapping. Errors: `failed` once sealed.
    pub fn begin_writing(&self) -> Result<(), Error> {
        match &mut *self.writability.lock() {
            Writability::Writable(mappings) => {
                *mappings += 1;
                Ok(())
            }
            Writability::Sealed => Err(Error::failed("sealed memory cannot be mapped writable")),
        }
    }

    /// A writable mapping has gone.
    pub fn end_writing(&self) {
        if let Writability::Writable(mappings) = &mut *self.writability.lock() {
            *mappings -= 1;
        }
    }

    /// Whether it can be mapped executable.
    pub fn is_sealed(&self) -> bool {
        matches!(*self.writability.lock(), Writability::Sealed)
    }

    /// Gives up writing for ever. Errors: `failed` while a writable mapping exists.
    pub fn seal(&self) -> Result<(), Error> {
        let mut writability = self.writability.lock();
        if let Writability::Writable(1..) = *writability {
            return Err(Error::failed("memory that is mapped writable cannot be sealed"));
        }
        *writability = Writability::Sealed;
        Ok(())
    }
}

impl Drop for MemoryObject {
    fn drop(&mut self) {
        if self.origin == Origin::Allocated {
            for run in &self.runs {
                // SAFETY: the frames came from `allocate_run`, and no mapping is left, for each holds a reference.
                unsafe { frames::release(run.start, run.pages as usize) };
            }
        }
    }
}

/// Serves `MemoryObject`.
pub fn invoke(
    memory: &Arc<MemoryObject>,
    view: View,
    params: &Params,
    answer: &mut Answer,
) -> Result<(), Error> {
    params.expect_interface(memory_object::Client::TYPE_ID)?;
    match params.method() {
        0 => answer.root::<memory_object::size_results::Owned>()?.set_pages(memory.pages),
        1 => {
            answer.root::<memory_object::read_only_results::Owned>()?;
            answer.capability(0, Object::ReadOnlyMemory(memory.clone()))?;
        }
        2 if view == View::Full => {
            memory.seal()?;
            answer.root::<memory_object::seal_results::Owned>()?;
        }
        2 => return Err(Error::failed("a read-only view cannot seal")),
        3 => {
            // Each capability and mapping holds one reference; the one that this call holds meanwhile is not counted.
            let count = Arc::strong_count(memory).saturating_sub(1);
            let mut holders = answer.root::<memory_object::holders_results::Owned>()?;
            holders.set_count(u32::try_from(count).unwrap_or(u32::MAX));
        }
        _ => return Err(Error::NO_METHOD),
    }
    Ok(())
}

/// Which of the two objects over the same pages is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The memory object itself.
    Full,
    /// What `readOnly` gave.
    ReadOnly,
}
