//! The objects that this process serves, and the facets by which others hold them.
//!
//! # Life of an object
//!
//! ```text
//!            serve                    sent in a message                  last local client dropped
//!  (nothing) -----> local clients only ------------------> facet minted ---------------------------> remote only
//!                     |  last local client dropped          (we keep a copy)   (our copy is closed)      |
//!                     v                                                                                  | `released`
//!                  (dropped) <---------------------------------------------------------------------------+
//! ```
//!
//! While there are local clients, the process keeps a copy of the facet, so no `released` can come and
//! sending the object again needs no new facet. In the last state nothing local is left that could send it. So a
//! release and a new send cannot race. Badges carry a generation: a late event never meets a newer object.
use alloc::{rc::Rc, vec::Vec};
use core::{
    cell::{Cell, RefCell},
    mem,
};

use capnp::Error;

use crate::{client::Handle, kernel, server::Dispatch};

/// One object of this process.
struct Entry {
    /// `None` for a free entry.
    object: Option<Rc<dyn Dispatch>>,
    generation: u32,
    local_clients: usize,
    facet: Facet,
}

enum Facet {
    /// The object was never sent.
    None,
    /// Our own copy, kept as long as there are local clients.
    Kept(Handle),
    /// Only others hold it.
    Remote,
}

/// The objects of this process, and its endpoint.
pub(crate) struct Objects {
    entries: RefCell<Vec<Entry>>,
    free: RefCell<Vec<usize>>,
    /// The endpoint's handle; 0 until an object was sent.
    endpoint: Cell<u32>,
}

impl Objects {
    pub(crate) const fn new() -> Self {
        Self {
            entries: RefCell::new(Vec::new()),
            free: RefCell::new(Vec::new()),
            endpoint: Cell::new(abi::NULL_HANDLE),
        }
    }

    /// The endpoint at which calls arrive, or 0.
    pub(crate) fn endpoint(&self) -> u32 {
        self.endpoint.get()
    }

    /// Adds an object with one local client; its index.
    pub(crate) fn add(&self, object: Rc<dyn Dispatch>) -> usize {
        let mut entries = self.entries.borrow_mut();
        if let Some(index) = self.free.borrow_mut().pop()
            && let Some(entry) = entries.get_mut(index)
        {
            entry.object = Some(object);
            entry.local_clients = 1;
            return index;
        }
        entries.push(Entry { object: Some(object), generation: 0, local_clients: 1, facet: Facet::None });
        entries.len() - 1
    }

    /// The object at an index.
    pub(crate) fn object(&self, index: usize) -> Result<Rc<dyn Dispatch>, Error> {
        self.entries.borrow().get(index).and_then(|entry| entry.object.clone()).ok_or_else(gone)
    }

    /// Counts one more local client.
    pub(crate) fn add_client(&self, index: usize) {
        if let Some(entry) = self.entries.borrow_mut().get_mut(index) {
            entry.local_clients += 1;
        }
    }

    /// Counts one local client less.
    pub(crate) fn drop_client(&self, index: usize) {
        let mut entries = self.entries.borrow_mut();
        let Some(entry) = entries.get_mut(index) else { return };
        entry.local_clients -= 1;
        if entry.local_clients > 0 {
            return;
        }
        match mem::replace(&mut entry.facet, Facet::Remote) {
            Facet::None => {
                let object = self.remove(index, entry);
                drop(entries);
                drop(object);
            }
            kept => {
                drop(entries);
                drop(kept);
            }
        }
    }

    /// Takes the object out; it is to be dropped when nothing is borrowed.
    fn remove(&self, index: usize, entry: &mut Entry) -> Option<Rc<dyn Dispatch>> {
        entry.generation = entry.generation.wrapping_add(1);
        entry.facet = Facet::None;
        self.free.borrow_mut().push(index);
        entry.object.take()
    }

    /// Handle of a facet of the object, minted now if it has none. It stays open as long as there
    /// is a local client.
    pub(crate) fn facet(&self, index: usize) -> Result<u32, Error> {
        let badge = match self.entries.borrow().get(index) {
            Some(Entry { facet: Facet::Kept(handle), .. }) => return Ok(handle.raw()),
            Some(entry) if entry.object.is_some() => badge(index, entry.generation),
            _ => return Err(gone()),
        };
        if self.endpoint.get() == abi::NULL_HANDLE {
            self.endpoint.set(kernel::endpoint()?);
        }
        let handle = Handle::new(kernel::mint(self.endpoint.get(), badge)?);
        let raw = handle.raw();
        if let Some(entry) = self.entries.borrow_mut().get_mut(index) {
            entry.facet = Facet::Kept(handle);
        }
        Ok(raw)
    }

    /// Drops the object of a facet that nobody holds any more.
    pub(crate) fn released(&self, released: u64) {
        let (index, generation) = index_of(released);
        let mut entries = self.entries.borrow_mut();
        let Some(entry) = entries.get_mut(index).filter(|entry| entry.generation == generation) else {
            return;
        };
        // With local clients our own copy is open, and the event cannot come.
        if entry.local_clients == 0 && matches!(entry.facet, Facet::Remote) {
            let object = self.remove(index, entry);
            drop(entries);
            drop(object);
        }
    }

    /// The object that a facet with this badge stands for.
    pub(crate) fn by_badge(&self, called: u64) -> Option<Rc<dyn Dispatch>> {
        let (index, generation) = index_of(called);
        let entries = self.entries.borrow();
        entries.get(index).filter(|entry| entry.generation == generation)?.object.clone()
    }
}

fn gone() -> Error {
    Error::disconnected("the object is gone".into())
}

/// Upper half: generation; lower half: index.
fn badge(index: usize, generation: u32) -> u64 {
    // A process has far fewer than 2^32 objects.
    u64::from(generation) << 32 | u64::from(index as u32)
}

fn index_of(badge: u64) -> (usize, u32) {
    ((badge & 0xffff_ffff) as usize, (badge >> 32) as u32)
}
