//! The interface `UdpSocket`.

use alloc::{format, rc::Rc, string::ToString};
use core::future::poll_fn;

use capnp::Error;
use ring::{datagram, stream::StreamLayout};
use schema::network_capnp::udp_socket;
use smoltcp::wire::Ipv4Address;

use super::{
    Released, Service,
    bell::ClientBell,
    memory::{map, pages},
};
use crate::{limits::DATAGRAM_BYTES, stack::SendError, table::Id, udp::Peer};

/// The rings of a socket: [`crate::limits::DATAGRAM_BYTES`] each way.
const RINGS: StreamLayout = match StreamLayout::new(DATAGRAM_BYTES as u32, DATAGRAM_BYTES as u32) {
    Ok(layout) => layout,
    Err(_) => panic!("a power of two in range"),
};

/// Makes a UDP socket's capability; the socket ends with it.
pub fn serve(service: &Rc<Service>, id: Id) -> udp_socket::Client {
    rt::serve(Rc::new(Socket { service: Rc::clone(service), id }))
}

struct Socket {
    service: Rc<Service>,
    id: Id,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.service.let_go(Released::Datagrams(self.id));
    }
}

impl udp_socket::Server for Socket {
    async fn send(
        self: Rc<Self>,
        params: udp_socket::SendParams,
        _: udp_socket::SendResults,
    ) -> Result<(), Error> {
        let params = params.get()?;
        let to = Peer { address: Ipv4Address::from_bits(params.get_address()), port: params.get_port() };
        let sent = self.service.stack.borrow_mut().send_datagram(self.id, to, params.get_data()?);
        sent.map_err(|error| match error {
            SendError::Full => Error::overloaded(error.to_string()),
            _ => Error::failed(error.to_string()),
        })?;
        self.service.kick();
        Ok(())
    }

    async fn receive(
        self: Rc<Self>,
        _: udp_socket::ReceiveParams,
        mut results: udp_socket::ReceiveResults,
    ) -> Result<(), Error> {
        let (service, id) = (Rc::clone(&self.service), self.id);
        // A call of a client that died must not keep its socket.
        drop(self);
        poll_fn(|context| {
            service.stack.borrow_mut().poll_datagram(id, context, |peer, data| {
                let mut answer = results.get();
                answer.set_address(peer.address.to_bits());
                answer.set_port(peer.port);
                answer.set_data(data);
            })
        })
        .await
        .ok_or_else(|| Error::disconnected("the socket is gone".into()))
    }

    async fn open(
        self: Rc<Self>,
        params: udp_socket::OpenParams,
        mut results: udp_socket::OpenResults,
    ) -> Result<(), Error> {
        let refused = || Error::failed("the socket is gone, or open already".into());
        if !self.service.stack.borrow().can_open(self.id) {
            return Err(refused());
        }
        let memory = rt::memory::allocate(pages(RINGS.bytes())).await?;
        let mapping = map(&memory, RINGS.bytes()).await?;
        let end = datagram::create(&mapping, RINGS)
            .map_err(|error| Error::failed(format!("the datagrams' rings: {error}")))?;
        let doorbell = ClientBell(params.get()?.get_doorbell()?.into());
        if !self.service.stack.borrow_mut().open(self.id, end, doorbell) {
            return Err(refused());
        }
        self.service.kick();
        let mut answer = results.get();
        answer.set_datagrams(memory);
        answer.set_pages(pages(RINGS.bytes()));
        answer.set_doorbell(self.service.streams.signaller(self.id)?);
        Ok(())
    }

    async fn info(
        self: Rc<Self>,
        _: udp_socket::InfoParams,
        mut results: udp_socket::InfoResults,
    ) -> Result<(), Error> {
        let (port, dropped) = self
            .service
            .stack
            .borrow()
            .datagram_info(self.id)
            .ok_or_else(|| Error::disconnected("the socket is gone".into()))?;
        let mut answer = results.get();
        answer.set_local_port(port);
        answer.set_dropped(dropped);
        Ok(())
    }
}
