//! Calls between processes: what a server is sent, what a client is told, and what happens when either goes away.

use super::{Bench, NO_FIELDS, Request, Verdict, capability, fails, root, same, succeeded, text};
use crate::raw;
use abi::{Event, MessageInfo, Status};
use alloc::{format, rc::Rc, string::String, vec};
use capnp::{
    Error, ErrorKind,
    capability::{Client, FromClientHook},
    traits::HasTypeId,
};
use core::{cell::Cell, time::Duration};
use schema::{
    ipc_capnp::endpoint,
    process_capnp::own_process,
    supervisor_capnp::supervisor_control,
    test_capnp::echo::{self, Failure},
};

/// How long an answer may take that must come.
const PATIENCE: Duration = Duration::from_secs(5);

/// Ordinals in the schema.
const ECHO: u16 = 0;
const BLOB: u16 = 1;
const SAME: u16 = 5;

/// Interface of the server.
const INTERFACE: u64 = echo::Client::TYPE_ID;

fn request<'a>(bench: &Bench, method: u16, words: &'a [u64]) -> Request<'a> {
    Request {
        target: raw::handle(&bench.echo),
        interface: INTERFACE,
        // A few words.
        info: MessageInfo::new(method, words.len() as u16, 0),
        words,
        capabilities: &[],
    }
}

/// The server answers as ever.
async fn server_lives(bench: &Bench) -> Verdict {
    same(call(&bench.echo, 42).await.map_err(text)?, 42)
}

async fn call(client: &echo::Client, value: u64) -> Result<u64, Error> {
    let mut request = client.echo_request();
    request.get().set_value(value);
    Ok(request.send().promise.await?.get()?.get_value())
}

/// An interface that the server's object does not have.
pub async fn wrong_interface_of_server(bench: &Bench) -> Verdict {
    let request = Request { interface: own_process::Client::TYPE_ID, ..request(bench, ECHO, NO_FIELDS) };
    bench.refused(request, Status::Unimplemented, "").await?;
    server_lives(bench).await
}

/// A method that the server's interface does not have.
pub async fn unknown_method_of_server(bench: &Bench) -> Verdict {
    bench.refused(request(bench, 999, NO_FIELDS), Status::Unimplemented, "").await?;
    server_lives(bench).await
}

/// Pointers that lead out of the message that the server is sent.
pub async fn malformed_message_to_server(bench: &Bench) -> Verdict {
    let far_behind = root(0, 1) | 0x1000 << 2;
    let text_far_behind = [root(0, 1), 1 | 0x1000 << 2 | 2 << 32 | 8 << 35];
    let text_too_long = [root(0, 1), 1 | 2 << 32 | 0x1fff_ffff << 35];
    let far_pointer = [root(0, 1), 2 | 5 << 32];
    for words in [&[far_behind, 0][..], &text_far_behind, &text_too_long, &far_pointer] {
        bench.refused(request(bench, BLOB, words), Status::Failed, "").await?;
        server_lives(bench).await?;
    }
    Ok(())
}

/// A pointer to a capability that the message does not carry.
pub async fn capability_index_to_server(bench: &Bench) -> Verdict {
    for index in [0, 8, 0xffff_ffff] {
        bench.refused(request(bench, SAME, &[root(0, 1), capability(index)]), Status::Failed, "").await?;
        server_lives(bench).await?;
    }
    Ok(())
}

/// Each kind of error arrives as what it was sent as, with its reason.
pub async fn errors_keep_kind_and_reason(bench: &Bench) -> Verdict {
    let kinds = [
        (Failure::Failed, ErrorKind::Failed),
        (Failure::Overloaded, ErrorKind::Overloaded),
        (Failure::Disconnected, ErrorKind::Disconnected),
        (Failure::Unimplemented, ErrorKind::Unimplemented),
    ];
    for (failure, kind) in kinds {
        let mut request = bench.echo.fail_request();
        request.get().set_kind(failure);
        request.get().set_reason("because");
        fails(request.send().promise.await, kind, "because")?;
    }
    Ok(())
}

/// An object of this process, called by the other one, which hands it back as the same object.
pub async fn capabilities_both_ways(bench: &Bench) -> Verdict {
    let counter = Rc::new(Counter { calls: Cell::new(0) });
    let local: echo::Client = rt::serve(Rc::clone(&counter));
    let mut request = bench.echo.call_back_request();
    request.get().set_echo(local.clone());
    request.get().set_value(7);
    let answer = request.send().promise.await.map_err(text)?;
    same(answer.get().map_err(text)?.get_value(), 8)?;
    let mut request = bench.echo.same_request();
    request.get().set_echo(local);
    let answer = request.send().promise.await.map_err(text)?;
    let back = answer.get().and_then(|answer| answer.get_echo()).map_err(text)?;
    same(call(&back, 1).await.map_err(text)?, 2)?;
    same(counter.calls.get(), 2)
}

struct Counter {
    calls: Cell<u32>,
}

impl echo::Server for Counter {
    async fn echo(
        self: Rc<Self>,
        params: echo::EchoParams,
        mut results: echo::EchoResults,
    ) -> Result<(), Error> {
        self.calls.set(self.calls.get() + 1);
        results.get().set_value(params.get()?.get_value() + 1);
        Ok(())
    }
}

/// What fits a message goes there and back; one word more is an error.
pub async fn largest_message(bench: &Bench) -> Verdict {
    // Root pointer and list pointer take two words.
    let most = (abi::MAXIMUM_WORDS - 2) * 8;
    let bytes = vec![0x5a; most + 1];
    let full = bytes.get(..most).unwrap_or_default();
    let mut request = bench.echo.blob_request();
    request.get().set_data(full);
    let answer = request.send().promise.await.map_err(text)?;
    same(answer.get().and_then(|answer| answer.get_data()).map_err(text)? == full, true)?;
    let mut request = bench.echo.blob_request();
    request.get().set_data(&bytes);
    fails(request.send().promise.await, ErrorKind::Failed, "")?;
    server_lives(bench).await
}

/// The server learns when the last copy of an object is gone.
pub async fn objects_are_released(bench: &Bench) -> Verdict {
    let before = objects(bench).await?;
    let mut children = vec![];
    for _ in 0..10 {
        let answer = bench.echo.child_request().send().promise.await.map_err(text)?;
        children.push(answer.get().and_then(|answer| answer.get_echo()).map_err(text)?);
    }
    same(objects(bench).await?, before + 10)?;
    drop(children);
    let start = rt::now();
    while objects(bench).await? != before {
        if rt::now() - start > PATIENCE {
            return Err(format!("{} objects are left", objects(bench).await? - before));
        }
        rt::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

async fn objects(bench: &Bench) -> Result<u32, String> {
    let answer = bench.echo.objects_request().send().promise.await.map_err(text)?;
    Ok(answer.get().map_err(text)?.get_count())
}

/// Dropping the promise of a call frees it at once: many more can be dropped than can be in flight.
pub async fn cancelled_calls(bench: &Bench) -> Verdict {
    let handles = handles(bench).await?;
    for _ in 0..40 {
        let never = bench.echo.never_request().send().promise;
        if rt::timeout(Duration::from_millis(1), never).await.is_ok() {
            return Err("a call was answered that never is".into());
        }
    }
    server_lives(bench).await?;
    let now = self::handles(bench).await?;
    if now > handles + 1 { Err(format!("{handles} handles became {now}")) } else { Ok(()) }
}

async fn handles(bench: &Bench) -> Result<u16, String> {
    let answer = bench.own.usage_request().send().promise.await.map_err(text)?;
    Ok(answer.get().and_then(|answer| answer.get_usage()).map_err(text)?.get_handles())
}

/// An endpoint of its own, and a facet of it.
async fn facet(bench: &Bench, badge: u64) -> Result<(endpoint::Client, Client), String> {
    let answer = bench.own.endpoint_request().send().promise.await.map_err(text)?;
    let endpoint = answer.get().and_then(|answer| answer.get_endpoint()).map_err(text)?;
    let facet = mint(&endpoint, badge).await?;
    Ok((endpoint, facet))
}

async fn mint(endpoint: &endpoint::Client, badge: u64) -> Result<Client, String> {
    let mut request = endpoint.mint_request();
    request.get().set_badge(badge);
    let answer = request.send().promise.await.map_err(text)?;
    answer.get().and_then(|answer| answer.get_facet().get_as_capability()).map_err(text)
}

fn call_facet(facet: &Client) -> Request<'static> {
    Request {
        target: facet.hook.get_ptr() as u32,
        interface: INTERFACE,
        info: MessageInfo::new(ECHO, 1, 0),
        words: NO_FIELDS,
        capabilities: &[],
    }
}

/// Every copy of a revoked facet fails, calls that wait included.
pub async fn revoked_facet(bench: &Bench) -> Verdict {
    let (endpoint, facet) = facet(bench, 5).await?;
    let waiting = call_facet(&facet);
    bench.call.submit(waiting.target, waiting.interface, waiting.info, waiting.words, &[]);
    same(bench.call.answer(), None)?;
    let mut request = endpoint.revoke_request();
    request.get().set_badge(5);
    request.send().promise.await.map_err(text)?;
    let answer = bench.call.answer().ok_or("the call that waited still waits")?;
    same(answer.status, Status::Disconnected)?;
    bench.refused(call_facet(&facet), Status::Disconnected, "the capability was revoked").await?;
    // Other facets of the endpoint do not.
    let other = mint(&endpoint, 6).await?;
    let alive = call_facet(&other);
    bench.call.submit(alive.target, alive.interface, alive.info, alive.words, &[]);
    same(bench.call.answer(), None)?;
    // With its endpoint the call that waits ends.
    drop(endpoint);
    same(bench.call.answer().map(|answer| answer.status), Some(Status::Disconnected))
}

/// The endpoint hears of the last copy's end.
pub async fn released_facet(bench: &Bench) -> Verdict {
    let (endpoint, facet) = facet(bench, 77).await?;
    let handle = raw::handle(&endpoint);
    same(raw::poll(handle).0, Some(Event::Timeout))?;
    drop(facet);
    same(raw::poll(handle), (Some(Event::Released), 77))?;
    same(raw::poll(handle).0, Some(Event::Timeout))
}

/// A facet whose endpoint was closed.
pub async fn closed_endpoint(bench: &Bench) -> Verdict {
    let (endpoint, facet) = facet(bench, 1).await?;
    drop(endpoint);
    bench.refused(call_facet(&facet), Status::Disconnected, "").await
}

/// A server that is killed while a call is in flight; afterwards its successor can be had.
pub async fn server_death(bench: &Bench) -> Verdict {
    let control: supervisor_control::Client = bench.environment.grant("control").map_err(text)?;
    let never = bench.echo.never_request().send().promise;
    // It is in flight once another call has come back.
    server_lives(bench).await?;
    let mut request = control.kill_request();
    request.get().set_name("test-echo");
    request.send().promise.await.map_err(text)?;
    match rt::timeout(PATIENCE, never).await {
        Ok(result) => fails(result, ErrorKind::Disconnected, "")?,
        Err(_) => return Err("the call is not answered".into()),
    }
    fails(call(&bench.echo, 1).await, ErrorKind::Disconnected, "")?;
    let next: echo::Client = match rt::timeout(PATIENCE, bench.environment.reacquire("echo")).await {
        Ok(next) => next.map_err(text)?,
        Err(_) => return Err("the server does not come back".into()),
    };
    same(call(&next, 2).await.map_err(text)?, 2)?;
    let target = next.as_client_hook().get_ptr() as u32;
    let answer = bench.call.call(target, INTERFACE, MessageInfo::new(ECHO, 1, 0), &[root(0, 0)], &[]).await;
    succeeded(&answer)
}
