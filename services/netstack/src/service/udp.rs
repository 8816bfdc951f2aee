//! The interface `UdpSocket`.

use alloc::{rc::Rc, string::ToString};
use core::future::poll_fn;

use capnp::Error;
use schema::network_capnp::udp_socket;
use smoltcp::wire::Ipv4Address;

use super::{Released, Service};
use crate::{stack::SendError, table::Id, udp::Peer};

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
