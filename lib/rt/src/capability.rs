//! Capabilities on their way in and out of messages: which handle stands for which client.
use alloc::{boxed::Box, rc::Rc, vec::Vec};
use core::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use abi::MAXIMUM_CAPABILITIES;
use capnp::{
    Error,
    capability::Promise,
    private::{capability::ClientHook, layout::CapTable},
};

use crate::{client::Remote, runtime::runtime, server::Dispatch};

/// Brand of clients that own a handle; their `get_ptr` is the handle.
pub(crate) const REMOTE: usize = 0xca05_0001;
/// Brand of clients of this process's own objects; their `get_ptr` is the object's index.
pub(crate) const LOCAL: usize = 0xca05_0002;
/// Brand of clients that stand for a capability in an answer that may not have come yet.
pub(crate) const PROMISED: usize = 0xca05_0003;
/// Brand of clients whose calls all fail.
pub(crate) const BROKEN: usize = 0xca05_0004;

/// Whether the capabilities of a message can be sent.
pub(crate) enum Settled {
    /// All of them; this many.
    All(usize),
    /// One is a promise; it can be tried again when it is resolved.
    NotYet(Promise<(), Error>),
}

/// Finds the handles of a message's capabilities.
///
/// The clients keep the handles open, so they are valid as long as `capabilities` lives. Errors:
/// `failed` for too many, and for a client that is not of this runtime; what broke a broken one.
pub(crate) fn settle(
    capabilities: &CapTable,
    handles: &mut [u32; MAXIMUM_CAPABILITIES],
) -> Result<Settled, Error> {
    if capabilities.is_empty() {
        return Ok(Settled::All(0));
    }
    if capabilities.len() > MAXIMUM_CAPABILITIES {
        return Err(Error::failed(alloc::format!(
            "a message carries at most {MAXIMUM_CAPABILITIES} capabilities"
        )));
    }
    for (client, handle) in capabilities.iter().zip(handles.iter_mut()) {
        let Some(client) = client else {
            // It was set and then cleared: no pointer names it.
            *handle = abi::NULL_HANDLE;
            continue;
        };
        match handle_of(&**client)? {
            Some(found) => *handle = found,
            None => return Ok(Settled::NotYet(client.when_resolved())),
        }
    }
    Ok(Settled::All(capabilities.len()))
}

/// The handle behind a client; `None` for a promise that is not resolved.
pub(crate) fn handle_of(client: &dyn ClientHook) -> Result<Option<u32>, Error> {
    match client.get_brand() {
        // `get_ptr` of these is a handle, which has 32 bits.
        REMOTE => Ok(Some(client.get_ptr() as u32)),
        LOCAL => runtime().objects.facet(client.get_ptr()).map(Some),
        PROMISED => match client.get_resolved() {
            Some(resolved) => handle_of(&*resolved),
            None => Ok(None),
        },
        BROKEN => Err(why_broken(client)),
        _ => Err(Error::failed("a client of another runtime cannot be sent".into())),
    }
}

/// Where calls to a client go.
pub(crate) enum Destination {
    /// The object behind a handle.
    Remote(u32),
    /// An object of this process.
    Local(Rc<dyn Dispatch>),
    /// Not known yet.
    Promise,
}

/// Finds out where calls to `client` go. Errors: what broke a broken client.
pub(crate) fn destination(client: &dyn ClientHook) -> Result<Destination, Error> {
    match client.get_brand() {
        LOCAL => runtime().objects.object(client.get_ptr()).map(Destination::Local),
        PROMISED => match client.get_resolved() {
            Some(resolved) => destination(&*resolved),
            None => Ok(Destination::Promise),
        },
        _ => Ok(handle_of(client)?.map_or(Destination::Promise, Destination::Remote)),
    }
}

fn why_broken(client: &dyn ClientHook) -> Error {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(client.when_resolved()).poll(&mut context) {
        Poll::Ready(Err(error)) => error,
        Poll::Ready(Ok(())) | Poll::Pending => Error::failed("the capability is broken".into()),
    }
}

/// Clients that own received handles.
pub(crate) fn adopt(handles: &[u32]) -> CapTable {
    let mut capabilities = Vec::new();
    if !handles.is_empty() {
        capabilities.reserve_exact(handles.len());
        capabilities.extend(handles.iter().map(|handle| client(*handle)));
    }
    capabilities
}

fn client(handle: u32) -> Option<Box<dyn ClientHook>> {
    (handle != abi::NULL_HANDLE).then(|| Remote::client(handle))
}
