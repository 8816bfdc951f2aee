//! Looking into an address space from outside: what is mapped where, and copies of what lies there.
//!
//! Only memory is copied: reading a device's register can change it. Threads of the process may use the memory meanwhile, so it is
//! copied byte by byte, without a promise that a word comes over whole.

use super::{AddressSpace, Backing, Mapping};
use crate::error::Error;
use crate::memory::PAGE;
use crate::message::{Answer, Params};
use abi::{USER_END, USER_START};
use alloc::vec::Vec;
use schema::memory_capnp::{Protection, address_space};
use x86_64::structures::paging::PageTableFlags as Flags;

/// Most bytes of one copy: with what is around them they are a message.
const MAXIMUM_COPY: usize = 4000;

/// Most mappings of one answer: each has four words.
const MAPPINGS_PER_ANSWER: usize = 100;

/// One part of a copy, inside one page: its place in the direct map.
struct Part {
    pointer: *mut u8,
    length: usize,
}

impl AddressSpace {
    /// Copies memory out.
    pub fn read(&self, address: u64, length: u32) -> Result<Vec<u8>, Error> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > MAXIMUM_COPY {
            return Err(TOO_LONG);
        }
        let mut data = Vec::new();
        data.try_reserve_exact(length).map_err(|_| Error::overloaded("the machine is out of memory"))?;
        self.for_each_part(address, length, Flags::PRESENT, |part| {
            for index in 0..part.length {
                // SAFETY: the part lies in a page of memory that stays mapped while the caller's lock is held. The copy is
                // volatile, since others may write it.
                data.push(unsafe { part.pointer.add(index).read_volatile() });
            }
        })?;
        Ok(data)
    }

    /// Copies as much memory out as there is from an address on, at most `length` bytes.
    pub fn read_start(&self, address: u64, length: usize) -> Vec<u8> {
        let in_page = (PAGE - address % PAGE) as usize;
        // What reaches into a page that is not there is cut at its border.
        let read =
            |length: usize| u32::try_from(length).ok().and_then(|length| self.read(address, length).ok());
        read(length).or_else(|| read(length.min(in_page))).unwrap_or_default()
    }

    /// Copies memory in, where the process itself may write. Nothing is written unless all of it can be.
    pub fn write(&self, address: u64, data: &[u8]) -> Result<(), Error> {
        if data.len() > MAXIMUM_COPY {
            return Err(TOO_LONG);
        }
        let mut bytes = data.iter();
        self.for_each_part(address, data.len(), Flags::PRESENT | Flags::WRITABLE, |part| {
            for (index, byte) in bytes.by_ref().take(part.length).enumerate() {
                // SAFETY: as in `read`; the process may write the page, so it is no constant of anybody.
                unsafe { part.pointer.add(index).write_volatile(*byte) };
            }
        })
    }

    /// Visits the pages that a range touches, after all of them were found to be memory that is mapped with these flags.
    fn for_each_part(
        &self,
        address: u64,
        length: usize,
        flags: Flags,
        mut visit: impl FnMut(Part),
    ) -> Result<(), Error> {
        let end = address.checked_add(length as u64).filter(|end| *end <= USER_END);
        let Some(end) = end.filter(|_| address >= USER_START) else { return Err(OUTSIDE) };
        // The page tables change only under this lock.
        let mappings = self.mappings.lock();
        let mut pages = [None; MAXIMUM_COPY.div_ceil(PAGE as usize) + 1];
        let first = address / PAGE * PAGE;
        for (page, place) in (first..end).step_by(PAGE as usize).zip(&mut pages) {
            let after = mappings.list.partition_point(|mapping| mapping.start <= page);
            let mapping = after.checked_sub(1).and_then(|index| mappings.list.get(index));
            let mapping = mapping.filter(|mapping| page < mapping.end()).ok_or(OUTSIDE)?;
            if let Backing::Device(_) = mapping.backing {
                return Err(Error::failed("device registers are not copied"));
            }
            // SAFETY: the lock of the tables is held.
            let (frame, present) = unsafe { self.root.lookup(page) }.ok_or(OUTSIDE)?;
            if !present.contains(flags) {
                return Err(Error::failed("the process cannot write there"));
            }
            *place = Some(frame);
        }
        let mut at = address;
        for frame in pages.into_iter().flatten() {
            let offset = at % PAGE;
            let length = (PAGE - offset).min(end - at);
            let pointer = frame.pointer::<u8>().wrapping_add(offset as usize);
            visit(Part { pointer, length: length as usize });
            at += length;
        }
        Ok(())
    }
}

const OUTSIDE: Error = Error::failed("nothing is mapped there");
const TOO_LONG: Error = Error::failed("a copy has at most 4000 bytes");

impl Mapping {
    fn end(&self) -> u64 {
        self.start + self.pages * PAGE
    }
}

/// Serves the methods of `AddressSpace` that look into it.
pub(super) fn invoke(space: &AddressSpace, params: &Params, answer: &mut Answer) -> Result<(), Error> {
    match params.method() {
        2 => {
            let read = params.root::<address_space::read_params::Owned>()?;
            let data = space.read(read.get_address(), read.get_length())?;
            answer.root::<address_space::read_results::Owned>()?.set_data(&data);
        }
        3 => {
            let write = params.root::<address_space::write_params::Owned>()?;
            space.write(write.get_address(), write.get_data()?)?;
            answer.root::<address_space::write_results::Owned>()?;
        }
        4 => {
            let start = params.root::<address_space::mappings_params::Owned>()?.get_start();
            let results = answer.root::<address_space::mappings_results::Owned>()?;
            list(space, start, results);
        }
        _ => return Err(Error::NO_METHOD),
    }
    Ok(())
}

fn list(space: &AddressSpace, start: u64, mut results: address_space::mappings_results::Builder<'_>) {
    let mappings = space.mappings.lock();
    let first = mappings.list.partition_point(|mapping| mapping.start < start);
    let rest = mappings.list.get(first..).unwrap_or_default();
    let (shown, more) = rest.split_at(rest.len().min(MAPPINGS_PER_ANSWER));
    results.set_next(more.first().map_or(0, |mapping| mapping.start));
    // At most `MAPPINGS_PER_ANSWER`.
    let mut rows = results.init_mappings(shown.len() as u32);
    for (index, mapping) in (0..).zip(shown) {
        // SAFETY: the lock of the tables is held.
        let flags = unsafe { space.root.lookup(mapping.start) }.map_or(Flags::empty(), |(_, flags)| flags);
        let mut row = rows.reborrow().get(index);
        row.set_address(mapping.start);
        // No address space has room for more pages.
        row.set_pages(mapping.pages as u32);
        row.set_protection(if flags.contains(Flags::WRITABLE) {
            Protection::ReadWrite
        } else if flags.contains(Flags::NO_EXECUTE) {
            Protection::Read
        } else {
            Protection::ReadExecute
        });
        row.set_device(matches!(mapping.backing, Backing::Device(_)));
    }
}
