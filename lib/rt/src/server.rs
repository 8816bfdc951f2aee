//! Calls to objects of this process: parameters in, the object's method, an answer out.
use alloc::boxed::Box;
use core::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use abi::{MAXIMUM_CAPABILITIES, MessageInfo, Status};
use capnp::{
    Error, any_pointer,
    capability::{DispatchCallResult, Params, Promise, Results, Server},
    private::capability::{ParamsHook, PipelineHook, RequestHook, ResultsHook},
};

use crate::{
    answers::AnswerNumber,
    capability::{self, Settled},
    error,
    message::Message,
    received,
    runtime::runtime,
    syscall::{self, Answer, ReceivedCall},
};

/// Calls that this process serves at the same time; more are answered `overloaded`.
const MAXIMUM_CALLS: u32 = 256;

/// Longest reason of an error that is sent, in bytes.
const MAXIMUM_REASON: usize = 512;

/// An object whose methods can be called.
pub(crate) trait Dispatch {
    /// Calls a method.
    fn dispatch(
        &self,
        interface: u64,
        method: u16,
        params: Params<any_pointer::Owned>,
        results: Results<any_pointer::Owned>,
    ) -> DispatchCallResult;
}

/// A generated `ServerDispatch`.
pub(crate) struct Served<D>(pub(crate) D);

impl<D: Server + Clone> Dispatch for Served<D> {
    fn dispatch(
        &self,
        interface: u64,
        method: u16,
        params: Params<any_pointer::Owned>,
        results: Results<any_pointer::Owned>,
    ) -> DispatchCallResult {
        self.0.clone().dispatch_call(interface, method, params, results)
    }
}

/// A call that a local object is working on.
pub(crate) struct Work {
    promise: Promise<(), Error>,
    answer: AnswerNumber,
}

impl Work {
    /// Calls a method of `object`. The work is to be polled at once.
    #[inline(always)]
    pub(crate) fn start(
        object: &dyn Dispatch,
        interface: u64,
        method: u16,
        params: Box<dyn ParamsHook>,
    ) -> Self {
        let answer = runtime().answers.begin();
        let results = Results::new(Box::new(Writer { message: None, answer }));
        let called = object.dispatch(interface, method, Params::new(params), results);
        Self { promise: called.promise, answer }
    }

    /// Calls a method of `object` with a message that was built in this process.
    pub(crate) fn start_local(object: &dyn Dispatch, interface: u64, method: u16, message: Message) -> Self {
        Self::start(object, interface, method, Box::new(Parameters(message)))
    }
}

impl Future for Work {
    type Output = Result<Message, Error>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.promise).poll(context) {
            // A method that wrote no results answers with their default values.
            Poll::Ready(Ok(())) => {
                Poll::Ready(Ok(runtime().answers.take(self.answer).unwrap_or_else(Message::in_block)))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                runtime().answers.wait(self.answer);
                Poll::Pending
            }
        }
    }
}

impl Drop for Work {
    #[inline]
    fn drop(&mut self) {
        runtime().answers.end(self.answer);
    }
}

/// The parameters of a call from this process.
struct Parameters(Message);

impl ParamsHook for Parameters {
    fn get(&self) -> Result<any_pointer::Reader<'_>, Error> {
        self.0.reader()
    }
}

/// The results of a call, as the object writes them; left as its answer on drop.
struct Writer {
    message: Option<Message>,
    answer: AnswerNumber,
}

impl Drop for Writer {
    #[inline]
    fn drop(&mut self) {
        if let Some(message) = self.message.take() {
            runtime().answers.leave(self.answer, message);
        }
    }
}

impl ResultsHook for Writer {
    fn get(&mut self) -> Result<any_pointer::Builder<'_>, Error> {
        Ok(self.message.get_or_insert_with(Message::in_block).builder())
    }

    fn set_pipeline(&mut self) -> Result<(), Error> {
        // Pipelined calls wait for the answer itself.
        Ok(())
    }

    fn allow_cancellation(&self) {}

    fn tail_call(self: Box<Self>, request: Box<dyn RequestHook>) -> Promise<(), Error> {
        self.direct_tail_call(request).0
    }

    fn direct_tail_call(
        mut self: Box<Self>,
        request: Box<dyn RequestHook>,
    ) -> (Promise<(), Error>, Box<dyn PipelineHook>) {
        let sent = request.send();
        let promise = Promise::from_future(async move {
            let response = sent.promise.await?;
            self.get()?.set_as::<any_pointer::Owned>(response.get()?)
        });
        (promise, sent.pipeline.hook)
    }
}

/// Serves a call that has just arrived in the thread's buffer.
#[inline]
pub(crate) fn serve(call: ReceivedCall) {
    let ReceivedCall { badge, interface, info, reply } = call;
    let reply = ReplyRight(reply);
    let Some(buffer) = runtime().buffer.get() else { return };
    // Before anything can refuse the call, for its capabilities are this process's to close.
    let params = received::take(buffer, info);
    let Some(object) = runtime().objects.by_badge(badge) else {
        reply.refuse(&Error::disconnected("the object is gone".into()));
        return;
    };
    if runtime().serving.get() >= MAXIMUM_CALLS {
        reply.refuse(&Error::overloaded("too many calls at a time".into()));
        return;
    }
    let mut work = Work::start(&*object, interface, info.method(), params);
    drop(object);
    // Most methods are done at once, and never become a task.
    let waker = runtime().executor.spare().waker();
    match Pin::new(&mut work).poll(&mut Context::from_waker(&waker)) {
        Poll::Ready(result) => reply.answer(result),
        Poll::Pending => ServedCall { work, reply, _count: RunningCall::begin() }.go_on(),
    }
}

/// A call from outside that an object is still working on.
struct ServedCall {
    work: Work,
    reply: ReplyRight,
    _count: RunningCall,
}

impl ServedCall {
    /// Makes the call, which was polled under the executor's spare number, a task.
    #[cold]
    fn go_on(self) {
        runtime().executor.adopt(Box::pin(async move {
            let result = self.work.await;
            self.reply.answer(result);
        }));
    }
}

/// Counts one call that is being served.
struct RunningCall;

impl RunningCall {
    fn begin() -> Self {
        let running = &runtime().serving;
        running.set(running.get() + 1);
        Self
    }
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        let running = &runtime().serving;
        running.set(running.get() - 1);
    }
}

/// The right to answer one call; a drop without an answer is the answer `disconnected`.
struct ReplyRight(u32);

impl Drop for ReplyRight {
    fn drop(&mut self) {
        if self.0 != abi::NULL_HANDLE {
            syscall::close(self.0);
        }
    }
}

impl ReplyRight {
    /// Answers with a message, or with the error that prevents it.
    #[inline]
    fn answer(self, result: Result<Message, Error>) {
        match result {
            Ok(message) if message.is_plain() => self.send(&message, &[]),
            Ok(message) => self.settle(message),
            Err(error) => self.refuse(&error),
        }
    }

    /// Answers with a message that has capabilities, or does not fit.
    #[inline(never)]
    fn settle(self, message: Message) {
        let mut handles = [0; MAXIMUM_CAPABILITIES];
        let ready = message.length().and_then(|_| capability::settle(message.capabilities(), &mut handles));
        match ready {
            Ok(Settled::All(count)) => self.send(&message, &handles[..count]),
            Ok(Settled::NotYet(promise)) => self.answer_when(promise, message),
            Err(error) => self.refuse(&error),
        }
    }

    /// Answers once `promise`, a capability of the answer, is resolved.
    fn answer_when(self, promise: Promise<(), Error>, message: Message) {
        let task = async move {
            let resolved = promise.await;
            self.answer(resolved.map(|()| message));
        };
        runtime().executor.spawn(Box::pin(task));
    }

    /// Answers with a message whose capabilities have these handles.
    #[inline]
    fn send(self, message: &Message, handles: &[u32]) {
        runtime().pending.flush();
        let Some(buffer) = runtime().buffer.get() else { return };
        message.copy_to(buffer);
        buffer.set_capabilities(handles);
        // Both counts are within a message's limits.
        let info = MessageInfo::new(0, message.used() as u16, handles.len() as u8);
        let answer = self.into_answer(Status::Ok, info);
        if handles.is_empty() {
            runtime().pending.reply(answer);
        } else {
            // Not held back: the copies of the capabilities that are here must not outlive the reply, or their
            // servers would learn of their release only when this process next has something to do.
            syscall::reply(answer);
        }
    }

    /// Answers with an error.
    #[cold]
    fn refuse(self, error: &Error) {
        let reason = error::reason(error);
        let reason = &reason[..reason.floor_char_boundary(MAXIMUM_REASON)];
        runtime().pending.flush();
        let Some(buffer) = runtime().buffer.get() else { return };
        let mut words = 0;
        for chunk in reason.as_bytes().chunks(size_of::<u64>()) {
            let mut word = [0; size_of::<u64>()];
            word[..chunk.len()].copy_from_slice(chunk);
            buffer.write_words(words, &[u64::from_le_bytes(word)]);
            words += 1;
        }
        // Less than `MAXIMUM_WORDS`.
        runtime()
            .pending
            .reply(self.into_answer(error::status_of(error), MessageInfo::new(0, words as u16, 0)));
    }

    #[inline]
    fn into_answer(self, status: Status, info: MessageInfo) -> Answer {
        let reply = self.0;
        mem::forget(self);
        Answer { reply, status, info }
    }
}
