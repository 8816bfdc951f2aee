//! Bodies of messages that are not in use.
use alloc::boxed::Box;
use core::{cell::Cell, ptr::NonNull};

use crate::message::Body;

/// Free blocks that are kept; further ones go back to the heap.
const KEPT: u32 = 8;

/// A list of free bodies, all clean. It owns them.
pub(crate) struct FreeBodies {
    first: Cell<Option<NonNull<Body>>>,
}

impl FreeBodies {
    pub(crate) const fn new() -> Self {
        Self { first: Cell::new(None) }
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.first.get().is_none()
    }

    /// Takes one out.
    #[inline]
    pub(crate) fn pop(&self) -> Option<Box<Body>> {
        let first = self.first.get()?;
        // SAFETY: what is in the list was a box, which `push` gave up, and is in no other list.
        let mut body = unsafe { Box::from_raw(first.as_ptr()) };
        self.first.set(body.set_next(None));
        Some(body)
    }

    /// Puts one in.
    #[inline]
    pub(crate) fn push(&self, mut body: Box<Body>) {
        body.set_next(self.first.get());
        self.first.set(Some(NonNull::from(Box::leak(body))));
    }
}

/// Free bodies with blocks.
pub(crate) struct FreeBlocks {
    free: FreeBodies,
    count: Cell<u32>,
}

impl FreeBlocks {
    pub(crate) const fn new() -> Self {
        Self { free: FreeBodies::new(), count: Cell::new(0) }
    }

    /// One of them, or a new one.
    #[inline]
    pub(crate) fn take(&self) -> Box<Body> {
        match self.free.pop() {
            Some(body) => {
                self.count.set(self.count.get() - 1);
                body
            }
            None => Body::of_block(),
        }
    }

    /// Keeps a body, if not too many are kept already.
    #[inline]
    pub(crate) fn put(&self, body: Box<Body>) {
        let count = self.count.get();
        if count < KEPT {
            self.count.set(count + 1);
            self.free.push(body);
        } else {
            discard(body);
        }
    }
}

#[cold]
#[inline(never)]
fn discard(body: Box<Body>) {
    drop(body);
}
