//! A call as its caller sees it: a request that is built and sent, the promise of an answer, and the answer.
use alloc::{boxed::Box, rc::Rc};
use core::{
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

use capnp::{
    Error, any_pointer,
    capability::{Promise, RemotePromise, Request, Response},
    private::capability::{ClientHook, PipelineHook, PipelineOp, RequestHook, ResponseHook},
};

use crate::{
    capability,
    client::Handle,
    message::Message,
    outgoing::{Elsewhere, OutgoingCall},
    pipeline::Promised,
    runtime::runtime,
};

/// A request to the object behind a handle, to be filled in and sent.
#[inline]
pub(crate) fn to_handle(
    interface: u64,
    method: u16,
    handle: Rc<Handle>,
) -> Request<any_pointer::Owned, any_pointer::Owned> {
    build(OutgoingCall::to_handle(interface, method, handle, message_to_send()))
}

/// A request to something else.
pub(crate) fn to_elsewhere(
    interface: u64,
    method: u16,
    target: Elsewhere,
) -> Request<any_pointer::Owned, any_pointer::Owned> {
    let message = match target {
        Elsewhere::Promised(_) => message_to_send(),
        Elsewhere::Local(_) | Elsewhere::Broken(_) => Message::in_block(),
    };
    build(OutgoingCall::to_elsewhere(interface, method, target, message))
}

#[inline]
fn build(call: OutgoingCall) -> Request<any_pointer::Owned, any_pointer::Owned> {
    Request::new(Box::new(Outgoing(Rc::new(call))))
}

/// An empty message in the page of a Call, if one is free and no other call waits for it.
#[inline(always)]
fn message_to_send() -> Message {
    let calls = &runtime().calls;
    if !calls.has_waiting()
        && let Ok(body) = calls.take()
    {
        return Message::in_page(body);
    }
    Message::in_block()
}

/// A request that is being built, and afterwards the pipeline of its call.
struct Outgoing(Rc<OutgoingCall>);

impl RequestHook for Outgoing {
    fn get(&mut self) -> any_pointer::Builder<'_> {
        // Until it is sent, the request has the only reference to the call, and the call has the message.
        match Rc::get_mut(&mut self.0).and_then(OutgoingCall::request) {
            Some(message) => message.builder(),
            None => unreachable!("sending takes the request by value"),
        }
    }

    fn get_brand(&self) -> usize {
        capability::REMOTE
    }

    fn send(self: Box<Self>) -> RemotePromise<any_pointer::Owned> {
        self.0.start();
        let promise = match self.0.answer() {
            None => Promise::from_future(Answered(Some(self.0.clone()))),
            Some(Ok(_)) => Promise::ok(response(self.0.clone())),
            Some(Err(error)) => Promise::err(copy(error)),
        };
        RemotePromise { promise, pipeline: any_pointer::Pipeline::new(self) }
    }

    fn send_streaming(self: Box<Self>) -> Promise<(), Error> {
        let promise = self.send().promise;
        Promise::from_future(async move { promise.await.map(drop) })
    }

    fn tail_send(self: Box<Self>) -> Option<(u32, Promise<(), Error>, Box<dyn PipelineHook>)> {
        None
    }
}

impl PipelineHook for Outgoing {
    fn add_ref(&self) -> Box<dyn PipelineHook> {
        Box::new(Self(self.0.clone()))
    }

    fn get_pipelined_cap(&self, operations: &[PipelineOp]) -> Box<dyn ClientHook> {
        Promised::client(&self.0, operations)
    }
}

/// The promise of a call's answer.
struct Answered(Option<Rc<OutgoingCall>>);

impl Future for Answered {
    type Output = Result<Response<any_pointer::Owned>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(call) = &self.0 else { unreachable!("a promise is polled until it is ready") };
        match call.answer() {
            Some(Ok(_)) => {
                let Some(call) = self.0.take() else { unreachable!("it was there a line above") };
                Poll::Ready(Ok(response(call)))
            }
            Some(Err(error)) => Poll::Ready(Err(copy(error))),
            None => {
                call.wake_when_answered(context.waker());
                Poll::Pending
            }
        }
    }
}

/// The answer of a call that has one.
#[inline]
fn response(call: Rc<OutgoingCall>) -> Response<any_pointer::Owned> {
    Response { marker: PhantomData, hook: Box::new(Answer(call)) }
}

/// The answer of a call, as its caller reads it.
struct Answer(Rc<OutgoingCall>);

impl ResponseHook for Answer {
    fn get(&self) -> Result<any_pointer::Reader<'_>, Error> {
        match self.0.answer() {
            Some(Ok(message)) => message.reader(),
            Some(Err(error)) => Err(copy(error)),
            None => unreachable!("a response is made of an answer"),
        }
    }
}

#[cold]
#[inline(never)]
fn copy(error: &Error) -> Error {
    error.clone()
}
