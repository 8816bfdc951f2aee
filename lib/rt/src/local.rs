//! Clients of this process's own objects.
use alloc::{boxed::Box, rc::Rc};

use capnp::{
    Error, MessageSize, any_pointer,
    capability::{FromServer, Params, Promise, Request, Results},
    private::capability::{ClientHook, ParamsHook, ResultsHook},
};

use crate::{
    capability,
    outgoing::Elsewhere,
    request,
    runtime::runtime,
    server::{Dispatch, Served},
};

/// Makes a client of a local object.
///
/// Calls through it stay in this process. Sending it in a message mints a facet of the process's endpoint; the object
/// is dropped when the last local client and the last facet anywhere are gone. Each call of `serve`
/// makes an object of its own, even for the same server.
pub fn serve<C, S>(server: Rc<S>) -> C
where
    C: FromServer<S>,
{
    let object: Rc<dyn Dispatch> = Rc::new(Served(C::from_server(server)));
    let index = runtime().objects.add(object.clone());
    C::new(Box::new(Local { object, index }))
}

/// A client of a local object.
struct Local {
    object: Rc<dyn Dispatch>,
    index: usize,
}

impl Drop for Local {
    fn drop(&mut self) {
        runtime().objects.drop_client(self.index);
    }
}

impl ClientHook for Local {
    fn add_ref(&self) -> Box<dyn ClientHook> {
        runtime().objects.add_client(self.index);
        Box::new(Self { object: self.object.clone(), index: self.index })
    }

    fn new_call(
        &self,
        interface: u64,
        method: u16,
        _size_hint: Option<MessageSize>,
    ) -> Request<any_pointer::Owned, any_pointer::Owned> {
        request::to_elsewhere(interface, method, Elsewhere::Local(self.object.clone()))
    }

    fn call(
        &self,
        interface: u64,
        method: u16,
        params: Box<dyn ParamsHook>,
        results: Box<dyn ResultsHook>,
    ) -> Promise<(), Error> {
        self.object.dispatch(interface, method, Params::new(params), Results::new(results)).promise
    }

    fn get_brand(&self) -> usize {
        capability::LOCAL
    }

    fn get_ptr(&self) -> usize {
        self.index
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
