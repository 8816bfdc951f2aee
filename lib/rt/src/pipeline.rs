//! Capabilities of answers that have not come yet: calls to them queue here, in order.
use alloc::{
    boxed::Box,
    rc::{Rc, Weak},
    vec::Vec,
};
use core::{
    cell::{OnceCell, RefCell},
    future::poll_fn,
    task::Poll,
};

use capnp::{
    Error, MessageSize, any_pointer,
    capability::{Promise, Request},
    private::capability::{ClientHook, ParamsHook, PipelineOp, ResultsHook},
};

use crate::{
    capability,
    client::{Broken, forward},
    outgoing::{Dependent, Elsewhere, OutgoingCall},
    request,
};

/// A capability in the answer of a call.
pub(crate) struct Promised {
    /// Where in the answer it is.
    operations: Vec<PipelineOp>,
    /// The call, until it is answered. This is what keeps it from being cancelled.
    call: RefCell<Option<Rc<OutgoingCall>>>,
    /// What the capability turned out to be.
    resolution: OnceCell<Box<dyn ClientHook>>,
    /// Calls that wait for the resolution.
    queue: RefCell<Vec<Weak<OutgoingCall>>>,
}

impl Promised {
    /// A client of the capability that `operations` lead to in the answer of `call`.
    pub(crate) fn client(call: &Rc<OutgoingCall>, operations: &[PipelineOp]) -> Box<dyn ClientHook> {
        if call.answer().is_some() {
            return resolve(call, operations);
        }
        let promised = Rc::new(Self {
            operations: operations.to_vec(),
            call: RefCell::new(Some(call.clone())),
            resolution: OnceCell::new(),
            queue: RefCell::new(Vec::new()),
        });
        call.add_dependent(Dependent::Promised(Rc::downgrade(&promised)));
        Box::new(PromisedClient(promised))
    }

    /// Queues a call until the capability is known.
    pub(crate) fn enqueue(&self, call: &Rc<OutgoingCall>) {
        self.queue.borrow_mut().push(Rc::downgrade(call));
    }

    /// Takes the capability out of the answer that came, and sends the queued calls there.
    pub(crate) fn resolve(&self, call: &OutgoingCall) {
        let resolution = self.resolution.get_or_init(|| resolve(call, &self.operations));
        for waiting in self.queue.take() {
            if let Some(waiting) = waiting.upgrade() {
                waiting.resume(resolution.add_ref());
            }
        }
        let answered = self.call.take();
        drop(answered);
    }
}

/// The capability that `operations` lead to in the answer of a call that has ended.
fn resolve(call: &OutgoingCall, operations: &[PipelineOp]) -> Box<dyn ClientHook> {
    let found = match call.answer() {
        Some(Ok(message)) => message.reader().and_then(|root| root.get_pipelined_cap(operations)),
        Some(Err(error)) => Err((**error).clone()),
        None => Err(Error::failed("the call has not been answered".into())),
    };
    found.unwrap_or_else(Broken::client)
}

/// A client of a capability that may not be known yet.
struct PromisedClient(Rc<Promised>);

impl PromisedClient {
    fn resolution(&self) -> Option<&dyn ClientHook> {
        self.0.resolution.get().map(|resolution| &**resolution)
    }
}

impl ClientHook for PromisedClient {
    fn add_ref(&self) -> Box<dyn ClientHook> {
        Box::new(Self(self.0.clone()))
    }

    fn new_call(
        &self,
        interface: u64,
        method: u16,
        size_hint: Option<MessageSize>,
    ) -> Request<any_pointer::Owned, any_pointer::Owned> {
        match self.resolution() {
            Some(client) => client.new_call(interface, method, size_hint),
            None => request::to_elsewhere(interface, method, Elsewhere::Promised(self.0.clone())),
        }
    }

    fn call(
        &self,
        interface: u64,
        method: u16,
        params: Box<dyn ParamsHook>,
        results: Box<dyn ResultsHook>,
    ) -> Promise<(), Error> {
        match self.resolution() {
            Some(client) => client.call(interface, method, params, results),
            None => forward(self, interface, method, &*params, results),
        }
    }

    fn get_brand(&self) -> usize {
        capability::PROMISED
    }

    fn get_ptr(&self) -> usize {
        Rc::as_ptr(&self.0) as usize
    }

    fn get_resolved(&self) -> Option<Box<dyn ClientHook>> {
        self.resolution().map(ClientHook::add_ref)
    }

    fn when_more_resolved(&self) -> Option<Promise<Box<dyn ClientHook>, Error>> {
        let promised = self.0.clone();
        Some(Promise::from_future(poll_fn(move |context| {
            if let Some(resolution) = promised.resolution.get() {
                return Poll::Ready(Ok(resolution.add_ref()));
            }
            if let Some(call) = &*promised.call.borrow() {
                call.add_dependent(Dependent::Task(context.waker().clone()));
            }
            Poll::Pending
        })))
    }

    fn when_resolved(&self) -> Promise<(), Error> {
        let client = self.add_ref();
        Promise::from_future(async move {
            let mut next = client.when_more_resolved();
            while let Some(more) = next {
                let resolved = more.await?;
                if resolved.get_brand() == capability::BROKEN {
                    return resolved.when_resolved().await;
                }
                next = resolved.when_more_resolved();
            }
            Ok(())
        })
    }
}
