//! The server that the tests call.
use std::{future::pending, rc::Rc, time::Duration};

use capnp::{Error, capability::FromClientHook};
use schema::test_capnp::echo;

pub(super) use super::echo_server::{Counts, Echo};
use crate::{Environment, sleep, tests::kernel::Kernel};

/// Name under which the server is exported.
const NAME: &str = "echo";

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
