//! One call that this process makes: its request, where it is sent, and its answer.
//!
//! ```text
//!  Request (built) --send--> started --+--> to the kernel: held back, in flight --+--> answered
//!                                      +--> to a local object: a task runs it   --+
//!                                      +--> to a promise: queued until it resolves, then started again
//! ```
//!
//! The promise, the pipeline and the response share the call by reference count; when the last of them goes
//! before the answer came, the call is cancelled.
use alloc::{
    boxed::Box,
    rc::{Rc, Weak},
    vec::Vec,
};
use core::{
    cell::{Cell, OnceCell},
    future::Future,
    marker::PhantomData,
    mem,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use abi::{MAXIMUM_CAPABILITIES, MAXIMUM_WORDS, MessageInfo, Status};
use capnp::{
    Error, any_pointer,
    capability::{Promise, RemotePromise, Request, Response},
    private::{
        capability::{ClientHook, PipelineHook, PipelineOp, RequestHook, ResponseHook},
        layout::CapTable,
    },
};

use crate::{
    buffer::Buffer,
    capability::{self, Destination, Settled},
    client::Handle,
    error,
    executor::TaskId,
    message::{CallId, Message},
    pipeline::Promised,
    runtime::runtime,
    server::{Dispatch, Work},
    syscall::Submission,
};

/// Where a call goes, if not to an object behind a handle.
pub(crate) enum Elsewhere {
    /// To an object of this process.
    Local(Rc<dyn Dispatch>),
    /// To a capability in an answer that has not come yet.
    Promised(Rc<Promised>),
    /// Nowhere: the call fails with this error.
    Broken(Error),
}

/// A request to the object behind a handle, to be filled in and sent.
#[inline]
pub(crate) fn request(
    interface: u64,
    method: u16,
    handle: Rc<Handle>,
) -> Request<any_pointer::Owned, any_pointer::Owned> {
    build(interface, method, message_to_send(), Some(handle), None)
}

/// A request to something else.
pub(crate) fn request_elsewhere(
    interface: u64,
    method: u16,
    target: Elsewhere,
) -> Request<any_pointer::Owned, any_pointer::Owned> {
    let message = match target {
        Elsewhere::Promised(_) => message_to_send(),
        Elsewhere::Local(_) | Elsewhere::Broken(_) => Message::in_block(),
    };
    let extra = Extra { target: Some(target), ..Extra::default() };
    build(interface, method, message, None, Some(Box::new(extra)))
}

#[inline]
fn build(
    interface: u64,
    method: u16,
    message: Message,
    handle: Option<Rc<Handle>>,
    extra: Option<Box<Extra>>,
) -> Request<any_pointer::Owned, any_pointer::Owned> {
    Request::new(Box::new(Outgoing(Rc::new(OutgoingCall {
        interface,
        method,
        handle,
        request: Cell::new(Some(message)),
        answer: OnceCell::new(),
        waker: Cell::new(None),
        extra: Cell::new(extra),
    }))))
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
        match Rc::get_mut(&mut self.0).and_then(|call| call.request.get_mut().as_mut()) {
            Some(message) => message.builder(),
            None => unreachable!("sending takes the request by value"),
        }
    }

    fn get_brand(&self) -> usize {
        capability::REMOTE
    }

    fn send(self: Box<Self>) -> RemotePromise<any_pointer::Owned> {
        self.0.start();
        RemotePromise {
            promise: Promise::from_future(Answered(Some(self.0.clone()))),
            pipeline: any_pointer::Pipeline::new(self),
        }
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

/// What waits for the answer of a call, besides its promise.
pub(crate) enum Dependent {
    /// A capability in the answer.
    Promised(Weak<Promised>),
    /// A task.
    Task(Waker),
}

/// What few calls need.
#[derive(Default)]
struct Extra {
    /// Where the call goes, until it is started.
    target: Option<Elsewhere>,
    /// The task that runs the call, when no Call object does.
    task: Option<TaskId>,
    dependents: Vec<Dependent>,
    /// The promise that the call waits for, and what it turned out to be; held until the call is over.
    promised: Option<Rc<Promised>>,
    resolution: Option<(u32, Box<dyn ClientHook>)>,
}

/// A call.
pub(crate) struct OutgoingCall {
    // In the order in which a drop finds out soonest that there is nothing to do.
    extra: Cell<Option<Box<Extra>>>,
    /// The request, until it was handed over or answered.
    request: Cell<Option<Message>>,
    waker: Cell<Option<Waker>>,
    /// The object behind a handle that is called, if it was known from the start.
    handle: Option<Rc<Handle>>,
    interface: u64,
    method: u16,
    answer: OnceCell<Result<Message, Box<Error>>>,
}

impl OutgoingCall {
    /// How the call ended, if it has.
    #[inline]
    pub(crate) fn answer(&self) -> Option<&Result<Message, Box<Error>>> {
        self.answer.get()
    }

    /// Adds something that is told when the call has ended. Only while it has not.
    pub(crate) fn add_dependent(&self, dependent: Dependent) {
        self.extra(|extra| extra.dependents.push(dependent));
    }

    fn extra<T>(&self, change: impl FnOnce(&mut Extra) -> T) -> T {
        let mut extra = self.extra.take().unwrap_or_default();
        let result = change(&mut extra);
        self.extra.set(Some(extra));
        result
    }

    /// Sends the request on its way.
    #[inline]
    fn start(self: &Rc<Self>) {
        if self.handle.is_some() { self.send() } else { self.start_elsewhere() }
    }

    #[inline(never)]
    fn start_elsewhere(self: &Rc<Self>) {
        match self.extra(|extra| extra.target.take()) {
            Some(Elsewhere::Local(object)) => self.call_local(object),
            Some(Elsewhere::Promised(promised)) => {
                promised.enqueue(self);
                self.extra(|extra| extra.promised = Some(promised));
            }
            Some(Elsewhere::Broken(error)) => self.fail(error),
            None => {}
        }
    }

    /// Sends a request that waited for a promise to what the promise turned out to be.
    pub(crate) fn resume(self: &Rc<Self>, client: Box<dyn ClientHook>) {
        match capability::destination(&*client) {
            Ok(Destination::Remote(handle)) => {
                self.extra(|extra| extra.resolution = Some((handle, client)));
                self.send();
            }
            Ok(Destination::Local(object)) => self.call_local(object),
            Ok(Destination::Promise) => {
                self.when_resolved(client.when_resolved(), move |call| call.resume(client));
            }
            Err(error) => self.fail(error),
        }
    }

    /// Sends the request to the object behind the handle, as soon as its capabilities are settled
    /// and a Call is free.
    #[inline]
    pub(crate) fn send(self: &Rc<Self>) {
        let Some(message) = self.request.take() else { return };
        match message.call() {
            Some(id) if message.is_plain() => {
                self.submit(id, message.used(), 0);
                self.request.set(Some(message));
            }
            _ => {
                if let Err(error) = self.try_send(message) {
                    self.fail(error);
                }
            }
        }
    }

    /// Hands the request in the page of a Call over, to be submitted.
    #[inline]
    fn submit(self: &Rc<Self>, id: &CallId, words: usize, capabilities: usize) {
        runtime().pending.flush();
        runtime().calls.begin(id, self);
        runtime().pending.submit(Submission {
            call: id.handle,
            target: self.target(),
            interface: self.interface,
            // Both counts are within a message's limits.
            info: MessageInfo::new(self.method, words as u16, capabilities as u8),
        });
    }

    /// Sends a request that has capabilities, or is not in the page of a Call.
    #[inline(never)]
    fn try_send(self: &Rc<Self>, mut message: Message) -> Result<(), Error> {
        let words = message.length()?;
        let mut handles = [0; MAXIMUM_CAPABILITIES];
        let count = match capability::settle(message.capabilities(), &mut handles)? {
            Settled::All(count) => count,
            Settled::NotYet(promise) => {
                self.request.set(Some(message));
                self.when_resolved(promise, |call| call.send());
                return Ok(());
            }
        };
        if message.call().is_none() {
            let Ok(page) = runtime().calls.take() else {
                self.request.set(Some(message));
                return runtime().calls.wait(self);
            };
            let mut moved = Message::in_page(page);
            moved.take_over(message);
            message = moved;
        }
        let Some(id) = message.call() else { unreachable!("the message was just put into a page") };
        if count != 0 {
            id.buffer.set_capabilities(&handles[..count]);
        }
        self.submit(id, words, count);
        self.request.set(Some(message));
        Ok(())
    }

    /// Handle of the object that is called.
    #[inline]
    fn target(&self) -> u32 {
        match &self.handle {
            Some(handle) => handle.raw(),
            None => self.resolved_handle(),
        }
    }

    #[cold]
    fn resolved_handle(&self) -> u32 {
        self.extra(|extra| extra.resolution.as_ref().map_or(abi::NULL_HANDLE, |(handle, _)| *handle))
    }

    /// Goes on by `then` once a promise is resolved; fails as it does.
    fn when_resolved(self: &Rc<Self>, promise: Promise<(), Error>, then: impl FnOnce(&Rc<Self>) + 'static) {
        let call = Rc::downgrade(self);
        self.run(async move {
            let resolved = promise.await;
            let Some(call) = call.upgrade() else { return };
            call.extra(|extra| extra.task = None);
            match resolved {
                Ok(()) => then(&call),
                Err(error) => call.fail(error),
            }
        });
    }

    fn call_local(self: &Rc<Self>, object: Rc<dyn Dispatch>) {
        let Some(message) = self.request.take() else { return };
        // A local object is no more generous than a remote one.
        if let Err(error) = message.length() {
            self.fail(error);
            return;
        }
        let (interface, method) = (self.interface, self.method);
        let call = Rc::downgrade(self);
        self.run(async move {
            let result = Work::start_local(&*object, interface, method, message).await;
            let Some(call) = call.upgrade() else { return };
            call.extra(|extra| extra.task = None);
            match result.and_then(|answer| answer.length().map(|_| answer)) {
                Ok(answer) => call.finish(Ok(answer)),
                Err(error) => call.fail(error),
            }
        });
    }

    /// Runs a task that ends with the call.
    fn run(&self, future: impl Future<Output = ()> + 'static) {
        let task = runtime().executor.spawn(Box::pin(future));
        self.extra(|extra| extra.task = Some(task));
    }

    /// Takes the answer out of its Call's page, which the kernel has filled.
    #[inline]
    pub(crate) fn answered(&self, buffer: Buffer) {
        let Some(mut message) = self.request.take() else { return };
        let (status, info) = buffer.outcome();
        if status == Status::Ok && info.words() <= MAXIMUM_WORDS && info.capabilities() == 0 {
            message.become_answer(info.words(), CapTable::new());
            self.finish(Ok(message));
        } else {
            self.answered_otherwise(buffer, message);
        }
    }

    /// Takes an answer with capabilities, or an error.
    #[inline(never)]
    fn answered_otherwise(&self, buffer: Buffer, mut message: Message) {
        let (status, info) = buffer.outcome();
        if status == Status::Ok && info.is_valid() {
            let handles = buffer.capabilities();
            message.become_answer(info.words(), capability::adopt(&handles[..info.capabilities()]));
            self.finish(Ok(message));
        } else {
            message.become_answer(info.words(), CapTable::new());
            self.fail(error::with_status(status, error::text(message.words())));
        }
    }

    /// Ends the call with an error.
    #[cold]
    fn fail(&self, error: Error) {
        self.finish(Err(Box::new(error)));
    }

    /// Ends the call.
    #[inline]
    fn finish(&self, result: Result<Message, Box<Error>>) {
        if self.answer.set(result).is_err() {
            return;
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        if let Some(extra) = self.extra.take() {
            self.extra.set(Some(extra));
            self.tell_dependents();
        }
    }

    #[inline(never)]
    fn tell_dependents(&self) {
        for dependent in self.extra(|extra| mem::take(&mut extra.dependents)) {
            match dependent {
                Dependent::Task(waker) => waker.wake(),
                Dependent::Promised(promised) => {
                    if let Some(promised) = promised.upgrade() {
                        promised.resolve(self);
                    }
                }
            }
        }
    }
}

impl Drop for OutgoingCall {
    #[inline]
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            abandon(request);
        }
        if let Some(extra) = self.extra.take() {
            end(&extra);
        }
    }
}

/// Gives up a call that was not answered.
#[cold]
#[inline(never)]
fn abandon(request: Message) {
    if let Some(call) = request.call() {
        runtime().calls.abandon(call);
    }
}

/// Ends the task that runs a call, if there is one.
#[cold]
#[inline(never)]
fn end(extra: &Extra) {
    if let Some(task) = extra.task {
        runtime().executor.cancel(task);
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
                Poll::Ready(Ok(Response { marker: PhantomData, hook: Box::new(Answer(call)) }))
            }
            Some(Err(error)) => Poll::Ready(Err(copy(error))),
            None => {
                call.waker.set(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
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
