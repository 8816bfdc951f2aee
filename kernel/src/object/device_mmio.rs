//! DeviceMmio: a checked range of device registers that can be mapped, uncached.
//!
//! Invariants: whole pages, never one that holds an MSI-X table or its pending bits, nor one that another function has
//! registers in. All mappings are known, and go with the claim.

use super::Object;
use super::account::{Account, Charge};
use super::address_space::AddressSpace;
use super::memory_object::View;
use super::pci_function::{Claim, others_have_registers};
use crate::error::Error;
use crate::memory::{PAGE, PhysicalAddress};
use crate::message::{Answer, Params};
use crate::sync::Lock;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use capnp::traits::HasTypeId;
use platform::PhysicalRange;
use platform::pci::Bar;
use schema::device_capnp::device_mmio;

/// Most address spaces that one range is mapped in.
const MAXIMUM_MAPPINGS: usize = 16;

/// A range of device registers.
pub struct DeviceMmio {
    /// Number of this object in inventories.
    pub id: u64,
    claim: Arc<Claim>,
    start: u64,
    length: u64,
    view: View,
    mappings: Lock<Vec<Weak<AddressSpace>>>,
    _charge: Charge,
}

impl DeviceMmio {
    /// The registers behind a memory BAR: the longest run of its pages that drivers may have.
    pub fn of_bar(claim: &Arc<Claim>, index: u8, account: &Arc<Account>) -> Result<Arc<Self>, Error> {
        let function = claim.function();
        let bar = function.bars.get(usize::from(index)).and_then(Bar::memory);
        let range = bar.ok_or(Error::failed("this BAR is not a usable range of memory"))?;
        let (start, end) = (range.start().0, range.last().0 + 1);
        let first_page = start / PAGE;
        let last_page = (end - 1) / PAGE;
        let whole_pages = PhysicalRange::new(
            platform::PhysicalAddress(first_page * PAGE),
            (last_page - first_page + 1) * PAGE,
        );
        if whole_pages.is_none_or(|pages| others_have_registers(function.address, pages)) {
            return Err(Error::failed("another function has registers in the same page"));
        }
        // The table and the pending bits cut the range; the longest part is handed out.
        let mut cuts = [(end, end); 2];
        if let Some(msix) = function.msix {
            for (cut, part) in cuts.iter_mut().zip([msix.table, msix.pending]) {
                if part.bar == index {
                    let from = start + u64::from(part.offset);
                    let to = (from + u64::from(part.length)).next_multiple_of(PAGE);
                    *cut = (from / PAGE * PAGE, to);
                }
            }
        }
        cuts.sort_unstable();
        let [first, second] = cuts;
        let parts = [
            (start, first.0.min(end)),
            (first.1.min(end), second.0.min(end)),
            (first.1.max(second.1).min(end), end),
        ];
        let (start, end) = parts
            .into_iter()
            .filter(|(from, to)| from < to)
            .max_by_key(|(from, to)| (to - from, u64::MAX - from))
            .ok_or(Error::failed("the BAR holds nothing but its interrupt table"))?;
        Self::new(claim, start, end - start, View::Full, account)
    }

    fn new(
        claim: &Arc<Claim>,
        start: u64,
        length: u64,
        view: View,
        account: &Arc<Account>,
    ) -> Result<Arc<Self>, Error> {
        let charge = Charge::object::<Self>(account)?;
        let registers = Arc::new(Self {
            id: super::new_id(),
            claim: claim.clone(),
            start,
            length,
            view,
            mappings: Lock::new(Vec::new()),
            _charge: charge,
        });
        claim.add_registers(&registers)?;
        Ok(registers)
    }

    /// Whether it may be written.
    pub const fn view(&self) -> View {
        self.view
    }

    /// Number of pages that it touches.
    pub fn pages(&self) -> u32 {
        crate::machine::pages_touched(self.start, self.length) as u32
    }

    /// The physical page behind page `page`.
    pub fn frame(&self, page: u32) -> Option<PhysicalAddress> {
        (page < self.pages()).then(|| PhysicalAddress(self.start / PAGE * PAGE + u64::from(page) * PAGE))
    }

    /// Remembers that it is about to be mapped there. Errors: `disconnected` after the end of the claim.
    pub fn register_mapping(&self, space: &Arc<AddressSpace>) -> Result<(), Error> {
        let mut mappings = self.mappings.lock();
        self.claim.check()?;
        mappings.retain(|known| known.strong_count() > 0);
        if mappings.iter().any(|known| core::ptr::eq(known.as_ptr(), Arc::as_ptr(space))) {
            return Ok(());
        }
        if mappings.len() >= MAXIMUM_MAPPINGS {
            return Err(Error::overloaded("these registers are mapped too often"));
        }
        mappings.try_reserve(1).map_err(|_| Error::overloaded("the machine is out of memory"))?;
        mappings.push(Arc::downgrade(space));
        Ok(())
    }

    /// Removes all mappings, after the end of the claim.
    pub fn unmap_everywhere(&self) {
        let mappings = core::mem::take(&mut *self.mappings.lock());
        for space in mappings.iter().filter_map(Weak::upgrade) {
            space.unmap_device(self);
        }
    }
}

/// Serves `DeviceMmio`.
pub fn invoke(object: &Arc<DeviceMmio>, params: &Params, answer: &mut Answer) -> Result<(), Error> {
    params.expect_interface(device_mmio::Client::TYPE_ID)?;
    object.claim.check()?;
    match params.method() {
        0 => {
            let mut info = answer.root::<device_mmio::info_results::Owned>()?;
            info.set_pages(object.pages());
            info.set_offset((object.start % PAGE) as u32);
            info.set_length(object.length);
            info.set_physical_address(object.start);
        }
        1 => {
            let view = DeviceMmio::new(
                &object.claim,
                object.start,
                object.length,
                View::ReadOnly,
                params.account(),
            )?;
            answer.root::<device_mmio::read_only_results::Owned>()?;
            answer.capability(0, Object::DeviceMmio(view))?;
        }
        2 => {
            let slice = params.root::<device_mmio::slice_params::Owned>()?;
            let (offset, length) = (slice.get_offset(), slice.get_length());
            let inside = offset.checked_add(length).is_some_and(|end| end <= object.length);
            if offset % PAGE != 0
                || length % PAGE != 0
                || length == 0
                || !inside
                || !object.start.is_multiple_of(PAGE)
            {
                return Err(Error::failed("a slice is whole pages inside the registers"));
            }
            let part =
                DeviceMmio::new(&object.claim, object.start + offset, length, object.view, params.account())?;
            answer.root::<device_mmio::slice_results::Owned>()?;
            answer.capability(0, Object::DeviceMmio(part))?;
        }
        _ => return Err(Error::NO_METHOD),
    }
    Ok(())
}
