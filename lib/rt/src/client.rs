//! Clients of objects behind handles: of other processes, and of the kernel.
use alloc::{boxed::Box, rc::Rc};
use core::cell::Cell;

use capnp::{
    Error, MessageSize, any_pointer,
    capability::{Promise, Request},
    private::capability::{ClientHook, ParamsHook, ResultsHook},
};

use crate::{capability, outgoing::Elsewhere, request, syscall};

/// Calls that are not tried in place after one whose answer did not come at once.
const CALLS_BETWEEN_TRIES: u8 = 16;

/// A handle that this process owns; closed on drop.
pub(crate) struct Handle {
    raw: u32,
    /// Calls until one is tried in place again; see [`Self::answers_at_once`].
    until_try: Cell<u8>,
}

impl Handle {
    /// Takes over a handle.
    pub(crate) fn new(raw: u32) -> Self {
        Self { raw, until_try: Cell::new(0) }
    }

    /// Its number.
    #[inline]
    pub(crate) fn raw(&self) -> u32 {
        self.raw
    }

    /// Whether the object behind it is likely to answer at once, as it did the last time.
    #[inline]
    pub(crate) fn answers_at_once(&self) -> bool {
        let until_try = self.until_try.get();
        if until_try > 0 {
            self.until_try.set(until_try - 1);
        }
        until_try == 0
    }

    /// Notes that the object did not answer at once.
    pub(crate) fn took_its_time(&self) {
        self.until_try.set(CALLS_BETWEEN_TRIES);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        syscall::close(self.raw);
    }
}

/// A client of the object behind a handle.
pub(crate) struct Remote(Rc<Handle>);

impl Remote {
    /// A client that owns `handle`.
    pub(crate) fn client(handle: u32) -> Box<dyn ClientHook> {
        Box::new(Self(Rc::new(Handle::new(handle))))
    }
}

impl ClientHook for Remote {
    fn add_ref(&self) -> Box<dyn ClientHook> {
        Box::new(Self(self.0.clone()))
    }

    fn new_call(
        &self,
        interface: u64,
        method: u16,
        _size_hint: Option<MessageSize>,
    ) -> Request<any_pointer::Owned, any_pointer::Owned> {
        request::to_handle(interface, method, self.0.clone())
    }

    fn call(
        &self,
        interface: u64,
        method: u16,
        params: Box<dyn ParamsHook>,
        results: Box<dyn ResultsHook>,
    ) -> Promise<(), Error> {
        forward(self, interface, method, &*params, results)
    }

    fn get_brand(&self) -> usize {
        capability::REMOTE
    }

    fn get_ptr(&self) -> usize {
        self.0.raw() as usize
    }

    fn get_resolved(&self) -> Option<Box<dyn ClientHook>> {
        None
    }

    fn when_more_resolved(&self) -> Option<Promise<Box<dyn ClientHook>, Error>> {
        None
    }

    fn when_resolved(&self) -> Promise<(), Error> {
        Promise::ok(())
    }
}

/// A client whose calls all fail with one error.
pub(crate) struct Broken(Error);

impl Broken {
    /// A client that fails with `error`.
    pub(crate) fn client(error: Error) -> Box<dyn ClientHook> {
        Box::new(Self(error))
    }
}

impl ClientHook for Broken {
    fn add_ref(&self) -> Box<dyn ClientHook> {
        Self::client(self.0.clone())
    }

    fn new_call(
        &self,
        interface: u64,
        method: u16,
        _size_hint: Option<MessageSize>,
    ) -> Request<any_pointer::Owned, any_pointer::Owned> {
        request::to_elsewhere(interface, method, Elsewhere::Broken(self.0.clone()))
    }

    fn call(
        &self,
        _interface: u64,
        _method: u16,
        _params: Box<dyn ParamsHook>,
        _results: Box<dyn ResultsHook>,
    ) -> Promise<(), Error> {
        Promise::err(self.0.clone())
    }

    fn get_brand(&self) -> usize {
        capability::BROKEN
    }

    fn get_ptr(&self) -> usize {
        0
    }

    fn get_resolved(&self) -> Option<Box<dyn ClientHook>> {
        None
    }

    fn when_more_resolved(&self) -> Option<Promise<Box<dyn ClientHook>, Error>> {
        None
    }

    fn when_resolved(&self) -> Promise<(), Error> {
        Promise::err(self.0.clone())
    }
}

/// Passes a call on: copies the parameters into a new request and its answer into the results.
pub(crate) fn forward(
    client: &dyn ClientHook,
    interface: u64,
    method: u16,
    params: &dyn ParamsHook,
    mut results: Box<dyn ResultsHook>,
) -> Promise<(), Error> {
    let mut request = client.new_call(interface, method, None);
    if let Err(error) = params.get().and_then(|params| request.set(params)) {
        return Promise::err(error);
    }
    let promise = request.send().promise;
    Promise::from_future(async move {
        let response = promise.await?;
        results.get()?.set_as::<any_pointer::Owned>(response.get()?)
    })
}
