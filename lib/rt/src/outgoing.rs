//! One call that this process makes: where it is sent, and how it ends.
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
    mem,
    task::Waker,
};

use abi::{MAXIMUM_CAPABILITIES, MAXIMUM_WORDS, MessageInfo, Status};
use capnp::{
    Error,
    capability::Promise,
    private::{capability::ClientHook, layout::CapTable},
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
    /// What waits for the answer and is no task of the executor.
    waker: Option<Waker>,
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
    /// The task that waits for the answer.
    waiter: Cell<Option<TaskId>>,
    /// The object behind a handle that is called, if it was known from the start.
    handle: Option<Rc<Handle>>,
    interface: u64,
    method: u16,
    answer: OnceCell<Result<Message, Box<Error>>>,
}

impl OutgoingCall {
    /// A call that was not sent, of the object behind a handle.
    #[inline]
    pub(crate) fn to_handle(interface: u64, method: u16, handle: Rc<Handle>, message: Message) -> Self {
        Self::new(interface, method, Some(handle), message, None)
    }

    /// A call that was not sent, to something else.
    pub(crate) fn to_elsewhere(interface: u64, method: u16, target: Elsewhere, message: Message) -> Self {
        let extra = Extra { target: Some(target), ..Extra::default() };
        Self::new(interface, method, None, message, Some(Box::new(extra)))
    }

    #[inline]
    fn new(
        interface: u64,
        method: u16,
        handle: Option<Rc<Handle>>,
        message: Message,
        extra: Option<Box<Extra>>,
    ) -> Self {
        Self {
            extra: Cell::new(extra),
            request: Cell::new(Some(message)),
            waiter: Cell::new(None),
            handle,
            interface,
            method,
            answer: OnceCell::new(),
        }
    }

    /// The request, until it is sent.
    #[inline]
    pub(crate) fn request(&mut self) -> Option<&mut Message> {
        self.request.get_mut().as_mut()
    }

    /// Wakes a task when the call has ended, instead of the one before. Only while it has not.
    #[inline]
    pub(crate) fn wake_when_answered(&self, waker: &Waker) {
        match TaskId::of_waker(waker) {
            Some(task) => self.waiter.set(Some(task)),
            None => self.wake_other(waker),
        }
    }

    /// Keeps a waker that is not the executor's own, but a combinator's.
    #[cold]
    #[inline(never)]
    fn wake_other(&self, waker: &Waker) {
        self.extra(|extra| extra.waker = Some(waker.clone()));
    }

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
    pub(crate) fn start(self: &Rc<Self>) {
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
                let (id, words) = (*id, message.used());
                self.request.set(Some(message));
                self.submit(&id, words, 0);
            }
            _ => {
                if let Err(error) = self.try_send(message) {
                    self.fail(error);
                }
            }
        }
    }

    /// Hands the request in the page of a Call over: at once, if the answer may come at once, or to be submitted.
    #[inline]
    fn submit(self: &Rc<Self>, id: &CallId, words: usize, capabilities: usize) {
        runtime().pending.flush();
        runtime().calls.begin(id, self);
        let submission = Submission {
            call: id.handle,
            target: self.target(),
            interface: self.interface,
            // Both counts are within a message's limits.
            info: MessageInfo::new(self.method, words as u16, capabilities as u8),
        };
        let calls = &runtime().calls;
        if self.handle.as_ref().is_some_and(|handle| calls.may_be_in_place(handle)) {
            if calls.submit_in_place(id, submission) {
                self.answered(id.buffer);
            } else if let Some(handle) = &self.handle {
                handle.took_its_time();
            }
        } else {
            runtime().pending.submit(submission);
        }
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
        let id = *id;
        self.request.set(Some(message));
        self.submit(&id, words, count);
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
        if let Some(task) = self.waiter.take() {
            runtime().executor.wake(task);
        }
        if let Some(extra) = self.extra.take() {
            self.extra.set(Some(extra));
            self.tell_dependents();
        }
    }

    #[inline(never)]
    fn tell_dependents(&self) {
        if let Some(waker) = self.extra(|extra| extra.waker.take()) {
            waker.wake();
        }
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
