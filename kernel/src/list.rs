//! A doubly linked list of `Arc`s whose links lie in the elements, so that no operation allocates.

use alloc::sync::Arc;
use core::cell::UnsafeCell;
use core::ptr;

/// The links inside an element. An element is in at most one list per `Links` at a time, and they are
/// touched only under the lock of the list that it is in.
pub struct Links<T> {
    inner: UnsafeCell<Inner<T>>,
}

struct Inner<T> {
    previous: *const T,
    next: *const T,
    linked: bool,
}

impl<T> Links<T> {
    /// Links of an element that is in no list.
    pub const fn new() -> Self {
        Self { inner: UnsafeCell::new(Inner { previous: ptr::null(), next: ptr::null(), linked: false }) }
    }
}

// SAFETY: the links are only touched under the lock of the list that the element is in (see `Linked`).
unsafe impl<T> Send for Links<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Links<T> {}

/// An element that can be in a [`List`].
///
/// # Safety
///
/// `links` must return the same field each time, and an element must only be put into, taken out of or
/// looked up in lists while the caller holds the lock that guards all lists the element can be in through these links.
pub unsafe trait Linked: Sized {
    /// The links of this element.
    fn links(&self) -> &Links<Self>;
}

/// A first-in first-out list that owns one reference to each element.
pub struct List<T: Linked> {
    first: *const T,
    last: *const T,
}

// SAFETY: a list owns `Arc`s of its elements, so it can go where they can.
unsafe impl<T: Linked + Send + Sync> Send for List<T> {}

impl<T: Linked> List<T> {
    /// An empty list.
    pub const fn new() -> Self {
        Self { first: ptr::null(), last: ptr::null() }
    }

    /// Whether nothing is in the list.
    pub const fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// Appends an element. One that is in a list already is given back.
    #[inline]
    pub fn push_back(&mut self, element: Arc<T>) -> Result<(), Arc<T>> {
        self.insert(element, End::Back)
    }

    /// Puts an element in front. One that is in a list already is given back.
    #[inline]
    pub fn push_front(&mut self, element: Arc<T>) -> Result<(), Arc<T>> {
        self.insert(element, End::Front)
    }

    #[inline(always)]
    fn insert(&mut self, element: Arc<T>, end: End) -> Result<(), Arc<T>> {
        // SAFETY: the caller holds the lock that guards the links (contract of `Linked`).
        let links = unsafe { &mut *element.links().inner.get() };
        if links.linked {
            return Err(element);
        }
        links.linked = true;
        let pointer = Arc::into_raw(element);
        let neighbour = match end {
            End::Back => core::mem::replace(&mut self.last, pointer),
            End::Front => core::mem::replace(&mut self.first, pointer),
        };
        (links.previous, links.next) = match end {
            End::Back => (neighbour, ptr::null()),
            End::Front => (ptr::null(), neighbour),
        };
        if neighbour.is_null() {
            self.first = pointer;
            self.last = pointer;
        } else {
            // SAFETY: the neighbour is in this list, so it lives, and its links are guarded by the same lock.
            let other = unsafe { &mut *(*neighbour).links().inner.get() };
            match end {
                End::Back => other.next = pointer,
                End::Front => other.previous = pointer,
            }
        }
        Ok(())
    }

    /// Takes the first element out.
    #[inline]
    pub fn pop_front(&mut self) -> Option<Arc<T>> {
        // SAFETY: a non-null `first` is an element of this list.
        if self.first.is_null() { None } else { Some(unsafe { self.unlink(self.first) }) }
    }

    /// Takes this element out, if it is in this list. The caller knows that it is in no other list
    /// through the same links.
    pub fn remove(&mut self, element: &T) -> Option<Arc<T>> {
        // SAFETY: the caller holds the lock that guards the links.
        let linked = unsafe { (*element.links().inner.get()).linked };
        // SAFETY: it is linked, and by the caller's word in this list.
        if linked { Some(unsafe { self.unlink(element) }) } else { None }
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let mut next = self.first;
        core::iter::from_fn(move || {
            // SAFETY: elements are kept alive by the list, which is borrowed.
            let element = unsafe { next.as_ref() }?;
            // SAFETY: the links are guarded by the lock of this list.
            next = unsafe { (*element.links().inner.get()).next };
            Some(element)
        })
    }

    /// # Safety
    ///
    /// `element` must be in this list.
    unsafe fn unlink(&mut self, element: *const T) -> Arc<T> {
        // SAFETY: it is in the list, so it lives and its links are ours to change.
        let links = unsafe { &mut *(*element).links().inner.get() };
        let (previous, next) = (links.previous, links.next);
        *links = Inner { previous: ptr::null(), next: ptr::null(), linked: false };
        if previous.is_null() {
            self.first = next;
        } else {
            // SAFETY: neighbours are in this list.
            unsafe { (*(*previous).links().inner.get()).next = next };
        }
        if next.is_null() {
            self.last = previous;
        } else {
            // SAFETY: neighbours are in this list.
            unsafe { (*(*next).links().inner.get()).previous = previous };
        }
        // SAFETY: `insert` turned this reference into a pointer, and it is given up here once.
        unsafe { Arc::from_raw(element) }
    }
}

impl<T: Linked> Drop for List<T> {
    fn drop(&mut self) {
        while self.pop_front().is_some() {}
    }
}

#[derive(Clone, Copy)]
enum End {
    Front,
    Back,
}
