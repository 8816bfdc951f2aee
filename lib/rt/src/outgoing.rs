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
    string::String,
    vec::Vec,
};
use core::{
    cell::{Cell, OnceCell, RefCell},
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use abi::{MAXIMUM_CAPABILITIES, MessageInfo, Status};
use capnp::{
    Error, any_pointer,
    capability::{Promise, RemotePromise, Request, Response},
    private::capability::{ClientHook, PipelineHook, PipelineOp, RequestHook, ResponseHook},
};

use crate::{
    capability::{self, Destination, Settled},
    client::Handle,
    error,
    executor::TaskId,
    message::Message,
    pipeline::Promised,
    runtime::runtime,
    server::{Dispatch, Work},
    syscall::Submission,
};

/// Where a call goes.
pub(crate) enum Target {
    /// An object behind a handle.
    Remote(Rc<Handle>),
    /// An object of this process.
    Local(Rc<dyn Dispatch>),
    /// A capability in an answer that has not come yet.
    Promised(Rc<Promised>),
    /// Nowhere: the call fails with this error.
    Broken(Error),
}

/// A request that is being built; once sent, a reference to the call.
struct Outgoing {
    draft: Option<Draft>,
    call: Option<Rc<OutgoingCall>>,
}

struct Draft {
    interface: u64,
    method: u16,
    target: Target,
    message: Message,
}

/// A request to `target`, to be filled in and sent.
pub(crate) fn request(
    interface: u64,
    method: u16,
    target: Target,
) -> Request<any_pointer::Owned, any_pointer::Owned> {
    let message = match target {
        Target::Remote(_) | Target::Promised(_) => message_to_send(),
        Target::Local(_) | Target::Broken(_) => Message::in_block(),
    };
    let draft = Draft { interface, method, target, message };
    Request::new(Box::new(Outgoing { draft: Some(draft), call: None }))
}

/// An empty message in the page of a Call, if one is free and no other call waits for it.
fn message_to_send() -> Message {
    let calls = &runtime().calls;
    if !calls.has_waiting()
        && let Ok(page) = calls.take()
    {
        return Message::in_page(page);
    }
    Message::in_block()
}

impl Outgoing {
    /// Sends the request, the first time.
    fn start(&mut self) -> Option<&Rc<OutgoingCall>> {
        if let Some(Draft { interface, method, target, message }) = self.draft.take() {
            let call = Rc::new(OutgoingCall::new(interface, method, message));
            call.start(target);
            self.call = Some(call);
        }
        self.call.as_ref()
    }
}

impl RequestHook for Outgoing {
    fn get(&mut self) -> any_pointer::Builder<'_> {
        let Some(draft) = &mut self.draft else { unreachable!("sending takes the request by value") };
        draft.message.builder()
    }

    fn get_brand(&self) -> usize {
        capability::REMOTE
    }

    fn send(mut self: Box<Self>) -> RemotePromise<any_pointer::Owned> {
        let Some(call) = self.start().cloned() else { unreachable!("sending takes the request by value") };
        RemotePromise {
            promise: Promise::from_future(Answered(call)),
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
        Box::new(Self { draft: None, call: self.call.clone() })
    }

    fn get_pipelined_cap(&self, operations: &[PipelineOp]) -> Box<dyn ClientHook> {
        match &self.call {
            Some(call) => Promised::client(call, operations),
            None => unreachable!("a request becomes a pipeline by being sent"),
        }
    }
}

/// What keeps the object that a call goes to reachable.
#[expect(dead_code, reason = "held for their drop")]
enum Held {
    Handle(Rc<Handle>),
    Client(Box<dyn ClientHook>),
    Promise(Rc<Promised>),
}

/// What waits for the answer of a call, besides its promise.
pub(crate) enum Dependent {
    /// A capability in the answer.
    Promised(Weak<Promised>),
    /// A task.
    Task(Waker),
}

/// A call that was sent.
pub(crate) struct OutgoingCall {
    interface: u64,
    method: u16,
    /// Handle of the object that is called, once that is known.
    handle: Cell<u32>,
    /// What keeps the called object reachable until the answer is there.
    held: Cell<Option<Held>>,
    /// The request, until it was handed over or answered.
    request: Cell<Option<Message>>,
    /// The task that runs the call, when no Call object does.
    task: Cell<Option<TaskId>>,
    answer: OnceCell<Result<Message, Error>>,
    waker: Cell<Option<Waker>>,
    dependents: RefCell<Vec<Dependent>>,
}

impl OutgoingCall {
    fn new(interface: u64, method: u16, message: Message) -> Self {
        Self {
            interface,
            method,
            handle: Cell::new(abi::NULL_HANDLE),
            held: Cell::new(None),
            request: Cell::new(Some(message)),
            task: Cell::new(None),
            answer: OnceCell::new(),
            waker: Cell::new(None),
            dependents: RefCell::new(Vec::new()),
        }
    }

    /// How the call ended, if it has.
    pub(crate) fn answer(&self) -> Option<&Result<Message, Error>> {
        self.answer.get()
    }

    /// Adds something that is told when the call has ended. Only while it has not.
    pub(crate) fn add_dependent(&self, dependent: Dependent) {
        self.dependents.borrow_mut().push(dependent);
    }

    /// Sends the request on its way to `target`.
    pub(crate) fn start(self: &Rc<Self>, target: Target) {
        match target {
            Target::Remote(handle) => {
                self.handle.set(handle.raw());
                self.held.set(Some(Held::Handle(handle)));
                self.send();
            }
            Target::Local(object) => self.call_local(object),
            Target::Promised(promised) => {
                promised.enqueue(self);
                self.held.set(Some(Held::Promise(promised)));
            }
            Target::Broken(error) => self.finish(Err(error)),
        }
    }

    /// Sends a request that waited for a promise to what the promise turned out to be.
    pub(crate) fn resume(self: &Rc<Self>, client: Box<dyn ClientHook>) {
        let promised = self.held.take();
        match capability::destination(&*client) {
            Ok(Destination::Remote(handle)) => {
                self.handle.set(handle);
                self.held.set(Some(Held::Client(client)));
                self.send();
            }
            Ok(Destination::Local(object)) => self.call_local(object),
            Ok(Destination::Promise) => self.resume_when_resolved(client),
            Err(error) => self.finish(Err(error)),
        }
        drop(promised);
    }

    fn resume_when_resolved(self: &Rc<Self>, client: Box<dyn ClientHook>) {
        let call = Rc::downgrade(self);
        self.run(async move {
            let resolved = client.when_resolved().await;
            let Some(call) = call.upgrade() else { return };
            call.task.set(None);
            match resolved {
                Ok(()) => call.resume(client),
                Err(error) => call.finish(Err(error)),
            }
        });
    }

    /// Sends the request to the object behind the handle, as soon as its capabilities are settled
    /// and a Call is free.
    pub(crate) fn send(self: &Rc<Self>) {
        if let Some(message) = self.request.take()
            && let Err(error) = self.try_send(message)
        {
            self.finish(Err(error));
        }
    }

    fn try_send(self: &Rc<Self>, mut message: Message) -> Result<(), Error> {
        let words = message.words()?.len();
        let mut handles = [0; MAXIMUM_CAPABILITIES];
        let count = match capability::settle(&message.capabilities, &mut handles)? {
            Settled::All(count) => count,
            Settled::NotYet(promise) => {
                self.request.set(Some(message));
                self.send_when(promise);
                return Ok(());
            }
        };
        if message.page().is_none() {
            let Ok(page) = runtime().calls.take() else {
                self.request.set(Some(message));
                return runtime().calls.wait(self);
            };
            let mut moved = Message::in_page(page);
            moved.fill(message.words()?);
            moved.capabilities = core::mem::take(&mut message.capabilities);
            message = moved;
        }
        let Some(page) = message.page() else { unreachable!("the message was just put into a page") };
        if count != 0 {
            page.buffer.set_capabilities(&handles[..count]);
        }
        runtime().calls.begin(page, self);
        let submission = Submission {
            call: page.handle,
            target: self.handle.get(),
            interface: self.interface,
            // Both counts are within a message's limits.
            info: MessageInfo::new(self.method, words as u16, count as u8),
        };
        self.request.set(Some(message));
        runtime().pending.submit(submission);
        Ok(())
    }

    /// Sends the request once `promise`, a capability in it, is resolved.
    fn send_when(self: &Rc<Self>, promise: Promise<(), Error>) {
        let call = Rc::downgrade(self);
        self.run(async move {
            let resolved = promise.await;
            let Some(call) = call.upgrade() else { return };
            call.task.set(None);
            match resolved {
                Ok(()) => call.send(),
                Err(error) => call.finish(Err(error)),
            }
        });
    }

    fn call_local(self: &Rc<Self>, object: Rc<dyn Dispatch>) {
        let Some(message) = self.request.take() else { return };
        // A local object is no more generous than a remote one.
        if let Err(error) = message.words() {
            self.finish(Err(error));
            return;
        }
        let (interface, method) = (self.interface, self.method);
        let call = Rc::downgrade(self);
        self.run(async move {
            let result = Work::start(&*object, interface, method, message).await;
            let result = result.and_then(|answer| answer.words().map(drop).map(|()| answer));
            let Some(call) = call.upgrade() else { return };
            call.task.set(None);
            call.finish(result);
        });
    }

    /// Runs a task that ends with the call.
    fn run(&self, future: impl Future<Output = ()> + 'static) {
        self.task.set(Some(runtime().executor.spawn(Box::pin(future))));
    }

    /// Takes the answer out of the Call's page, which the kernel has filled.
    pub(crate) fn answered(&self) {
        let Some(mut message) = self.request.take() else { return };
        let Some(page) = message.page() else { return };
        let (status, info) = page.buffer.outcome();
        if status == Status::Ok && info.is_valid() {
            let handles = page.buffer.capabilities();
            message.become_answer(info.words(), capability::adopt(&handles[..info.capabilities()]));
            self.finish(Ok(message));
        } else {
            message.become_answer(info.words(), Vec::new());
            let reason = message.words().map(error::text).unwrap_or_else(|_| String::new());
            self.finish(Err(error::with_status(status, reason)));
        }
    }

    /// Ends the call.
    pub(crate) fn finish(&self, result: Result<Message, Error>) {
        if self.answer.set(result).is_err() {
            return;
        }
        drop(self.held.take());
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        for dependent in self.dependents.take() {
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
    fn drop(&mut self) {
        if let Some(message) = self.request.take()
            && let Some(page) = message.page()
        {
            runtime().calls.abandon(page);
        }
        if let Some(task) = self.task.take() {
            runtime().executor.cancel(task);
        }
    }
}

/// The promise of a call's answer.
struct Answered(Rc<OutgoingCall>);

impl Future for Answered {
    type Output = Result<Response<any_pointer::Owned>, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let call = &self.0;
        match call.answer() {
            Some(Ok(_)) => {
                let hook = Box::new(Answer(call.clone()));
                Poll::Ready(Ok(Response { marker: PhantomData, hook }))
            }
            Some(Err(error)) => Poll::Ready(Err(error.clone())),
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
            Some(Err(error)) => Err(error.clone()),
            None => unreachable!("a response is made of an answer"),
        }
    }
}
