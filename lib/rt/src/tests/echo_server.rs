//! A server of the `Echo` interface of schema/test.capnp, for tests: of this crate on the host, and of the kernel in
//! `test-echo`, which includes this file.
use alloc::rc::Rc;
use capnp::Error;
use core::{cell::Cell, future::pending, time::Duration};
use schema::test_capnp::echo::{self, Failure};

/// What all objects of one server share.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) objects: Cell<u32>,
    pub(crate) waiting: Cell<u32>,
}

/// An object.
pub(crate) struct Echo {
    counts: Rc<Counts>,
}

impl Echo {
    pub(crate) fn new(counts: &Rc<Counts>) -> Rc<Self> {
        counts.objects.set(counts.objects.get() + 1);
        Rc::new(Self { counts: counts.clone() })
    }

    /// A client of a new object.
    pub(crate) fn client(counts: &Rc<Counts>) -> echo::Client {
        rt::serve(Self::new(counts))
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.counts.objects.set(self.counts.objects.get() - 1);
    }
}

/// Counts a call of `never` as long as it waits.
struct Waiting(Rc<Counts>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
    }
}

impl echo::Server for Echo {
    async fn echo(
        self: Rc<Self>,
        params: echo::EchoParams,
        mut results: echo::EchoResults,
    ) -> Result<(), Error> {
        results.get().set_value(params.get()?.get_value());
        Ok(())
    }

    async fn blob(
        self: Rc<Self>,
        params: echo::BlobParams,
        mut results: echo::BlobResults,
    ) -> Result<(), Error> {
        results.get().set_data(params.get()?.get_data()?);
        Ok(())
    }

    async fn never(self: Rc<Self>, _: echo::NeverParams, _: echo::NeverResults) -> Result<(), Error> {
        self.counts.waiting.set(self.counts.waiting.get() + 1);
        let _waiting = Waiting(self.counts.clone());
        pending().await
    }

    async fn fail(self: Rc<Self>, params: echo::FailParams, _: echo::FailResults) -> Result<(), Error> {
        let params = params.get()?;
        let reason = params.get_reason()?.to_string()?;
        Err(match params.get_kind()? {
            Failure::Failed => Error::failed(reason),
            Failure::Overloaded => Error::overloaded(reason),
            Failure::Disconnected => Error::disconnected(reason),
            Failure::Unimplemented => Error::unimplemented(reason),
        })
    }

    async fn child(
        self: Rc<Self>,
        _: echo::ChildParams,
        mut results: echo::ChildResults,
    ) -> Result<(), Error> {
        results.get().set_echo(Self::client(&self.counts));
        Ok(())
    }

    async fn same(
        self: Rc<Self>,
        params: echo::SameParams,
        mut results: echo::SameResults,
    ) -> Result<(), Error> {
        results.get().set_echo(params.get()?.get_echo()?);
        Ok(())
    }

    async fn call_back(
        self: Rc<Self>,
        params: echo::CallBackParams,
        mut results: echo::CallBackResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let mut request = params.get_echo()?.echo_request();
        request.get().set_value(params.get_value());
        results.get().set_value(request.send().promise.await?.get()?.get_value());
        Ok(())
    }

    async fn objects(
        self: Rc<Self>,
        _: echo::ObjectsParams,
        mut results: echo::ObjectsResults,
    ) -> Result<(), Error> {
        results.get().set_count(self.counts.objects.get());
        results.get().set_waiting(self.counts.waiting.get());
        Ok(())
    }

    async fn later(
        self: Rc<Self>,
        params: echo::LaterParams,
        mut results: echo::LaterResults,
    ) -> Result<(), Error> {
        rt::sleep(Duration::from_nanos(params.get()?.get_nanoseconds())).await;
        results.get().set_echo(Self::client(&self.counts));
        Ok(())
    }
}
