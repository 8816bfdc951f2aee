//! The interfaces `TcpListener` and `TcpSocket`.

use alloc::{format, rc::Rc};
use core::{cell::RefCell, future::poll_fn};

use capnp::Error;
use ring::stream;
use schema::{
    ipc_capnp::signaller,
    memory_capnp::memory_object,
    network_capnp::{tcp_listener, tcp_socket},
};

use super::{
    Released, Service,
    bell::ClientBell,
    memory::pages,
    stream_memory::{Kept, StreamMemory},
};
use crate::table::Id;

/// Makes a listener's capability; the listener ends with it.
pub fn serve_listener(service: &Rc<Service>, id: Id) -> tcp_listener::Client {
    rt::serve(Rc::new(Listener { service: Rc::clone(service), id, kept: Rc::default() }))
}

/// Makes a connection's capability.
pub fn serve_socket(claim: Claim) -> tcp_socket::Client {
    rt::serve(Rc::new(Socket { claim }))
}

/// The responsibility for a connection: dropping it lets go of the connection.
pub struct Claim {
    service: Rc<Service>,
    id: Id,
    /// The memory of its stream, once that was made.
    memory: RefCell<Option<StreamMemory>>,
    /// Where that goes afterwards, for a listener's connection.
    kept: Option<Rc<Kept>>,
}

/// What a client gets of an open stream.
struct Opened {
    memory: memory_object::Client,
    /// Pages of the memory.
    pages: u32,
    /// What the client is to ring.
    doorbell: signaller::Client,
}

impl Claim {
    /// Takes a connection over from the stack.
    pub fn new(service: &Rc<Service>, id: Id) -> Self {
        Self { service: Rc::clone(service), id, memory: RefCell::default(), kept: None }
    }

    /// Makes the connection's stream.
    async fn open(&self, doorbell: signaller::Client) -> Result<Opened, Error> {
        let layout = self
            .service
            .stack
            .borrow()
            .stream_layout(self.id)
            .ok_or_else(|| Error::failed("the connection is gone, or open already".into()))?;
        let stream = match &self.kept {
            Some(kept) => kept.take(layout).await,
            None => StreamMemory::new(layout).await,
        }?;
        let end = stream::create(&stream.mapping, layout)
            .map_err(|error| Error::failed(format!("the stream: {error}")))?;
        if !self.service.stack.borrow_mut().attach(self.id, end, ClientBell(doorbell.into())) {
            return Err(Error::failed("the connection is gone, or was opened meanwhile".into()));
        }
        self.service.kick();
        let memory = stream.memory.clone();
        self.memory.replace(Some(stream));
        let doorbell = self.service.streams.signaller(self.id)?;
        Ok(Opened { memory, pages: pages(layout.bytes()), doorbell })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let (Some(kept), Some(memory)) = (&self.kept, self.memory.take()) {
            kept.put(memory);
        }
        self.service.let_go(Released::Connection(self.id));
    }
}

struct Listener {
    service: Rc<Service>,
    id: Id,
    /// Memory for streams of its connections.
    kept: Rc<Kept>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.service.let_go(Released::Listener(self.id));
    }
}

impl tcp_listener::Server for Listener {
    async fn accept(
        self: Rc<Self>,
        params: tcp_listener::AcceptParams,
        mut results: tcp_listener::AcceptResults,
    ) -> Result<(), Error> {
        let doorbell = params.get()?.get_doorbell()?;
        let (service, listener, kept) = (Rc::clone(&self.service), self.id, Rc::clone(&self.kept));
        // A call of a client that died must not keep its listener, and so the port.
        drop(self);
        let id = poll_fn(|context| service.stack.borrow_mut().poll_accept(listener, context))
            .await
            .ok_or_else(|| Error::disconnected("the listener is gone".into()))?;
        let mut claim = Claim::new(&service, id);
        claim.kept = Some(kept);
        let info = service.stack.borrow().connection_info(id);
        let key = info.ok_or_else(|| Error::failed("the connection is gone".into()))?.key;
        let opened = claim.open(doorbell).await?;
        let mut answer = results.get();
        answer.set_socket(serve_socket(claim));
        answer.set_stream(opened.memory);
        answer.set_pages(opened.pages);
        answer.set_doorbell(opened.doorbell);
        answer.set_peer_address(key.peer_address.to_bits());
        answer.set_peer_port(key.peer_port);
        Ok(())
    }
}

struct Socket {
    claim: Claim,
}

impl tcp_socket::Server for Socket {
    async fn open(
        self: Rc<Self>,
        params: tcp_socket::OpenParams,
        mut results: tcp_socket::OpenResults,
    ) -> Result<(), Error> {
        let opened = self.claim.open(params.get()?.get_doorbell()?).await?;
        let mut answer = results.get();
        answer.set_stream(opened.memory);
        answer.set_pages(opened.pages);
        answer.set_doorbell(opened.doorbell);
        Ok(())
    }

    async fn info(
        self: Rc<Self>,
        _: tcp_socket::InfoParams,
        mut results: tcp_socket::InfoResults,
    ) -> Result<(), Error> {
        let info = self.claim.service.stack.borrow().connection_info(self.claim.id);
        let info = info.ok_or_else(|| Error::failed("the connection is gone".into()))?;
        let mut answer = results.get();
        answer.set_local_address(info.local_address.to_bits());
        answer.set_local_port(info.key.local_port);
        answer.set_peer_address(info.key.peer_address.to_bits());
        answer.set_peer_port(info.key.peer_port);
        answer.set_state(&info.state[..]);
        Ok(())
    }

    async fn abort(
        self: Rc<Self>,
        _: tcp_socket::AbortParams,
        _: tcp_socket::AbortResults,
    ) -> Result<(), Error> {
        self.claim.service.stack.borrow_mut().abort(self.claim.id, rt::now());
        self.claim.service.kick();
        Ok(())
    }
}
