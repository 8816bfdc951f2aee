//! The server that the tests call.
use std::{cell::Cell, future::pending, rc::Rc, time::Duration};

use capnp::{Error, capability::FromClientHook};
use schema::test_capnp::echo::{self, Failure};

use crate::{Environment, serve, sleep, tests::kernel::Kernel};

/// Name under which the server is exported.
const NAME: &str = "echo";

/// What all objects of one server share.
#[derive(Default)]
pub(super) struct Counts {
    pub objects: Cell<u32>,
    pub waiting: Cell<u32>,
}

/// An object.
pub(super) struct Echo {
    counts: Rc<Counts>,
}

impl Echo {
    pub(super) fn new(counts: &Rc<Counts>) -> Rc<Self> {
        counts.objects.set(counts.objects.get() + 1);
        Rc::new(Self { counts: counts.clone() })
    }

    /// A client of a new object.
    pub(super) fn client(counts: &Rc<Counts>) -> echo::Client {
        serve(Self::new(counts))
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
        let value = call(&params.get_echo()?, params.get_value()).await?;
        results.get().set_value(value);
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
        sleep(Duration::from_nanos(params.get()?.get_nanoseconds())).await;
        results.get().set_echo(Self::client(&self.counts));
        Ok(())
    }
}

/// Calls `echo`.
pub(super) async fn call(client: &echo::Client, value: u64) -> Result<u64, Error> {
    let mut request = client.echo_request();
    request.get().set_value(value);
    Ok(request.send().promise.await?.get()?.get_value())
}

/// Asks a server how many objects it has, and how many calls of `never` wait in it.
pub(super) async fn counts(client: &echo::Client) -> (u32, u32) {
    let response = client.objects_request().send().promise.await.unwrap();
    let counts = response.get().unwrap();
    (counts.get_count(), counts.get_waiting())
}

/// The main function of a process that exports one object.
async fn server(environment: Environment) {
    let client = Echo::client(&Rc::default());
    environment.export(NAME, client).await.unwrap();
    pending::<()>().await;
}

/// Runs `main` with a client of an object that another process serves.
pub(super) fn with_server<T: Send + 'static, F: Future<Output = T> + 'static>(
    main: impl FnOnce(Kernel, Environment, echo::Client) -> F + Send + 'static,
) -> T {
    let kernel = Kernel::default();
    let server = kernel.start(server);
    let seen = kernel.clone();
    kernel.run(vec![server], move |environment| async move {
        let client = environment.reacquire(NAME).await.unwrap();
        // Time goes on when all wait: from now on the server receives a call at once.
        sleep(Duration::from_millis(1)).await;
        main(seen, environment, client).await
    })
}

/// Runs `main` as the only process.
pub(super) fn alone<T: Send + 'static, F: Future<Output = T> + 'static>(
    main: impl FnOnce(Kernel, Environment) -> F + Send + 'static,
) -> T {
    let kernel = Kernel::default();
    let seen = kernel.clone();
    kernel.run(Vec::new(), move |environment| main(seen, environment))
}

/// A client that owns a handle.
pub(super) fn client<C: FromClientHook>(handle: u32) -> C {
    C::new(crate::client::Remote::client(handle))
}
