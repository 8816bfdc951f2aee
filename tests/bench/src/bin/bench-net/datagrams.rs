//! UDP echo [RFC 862].

use capnp::Error;
use schema::network_capnp::{network_manager, udp_socket};

use crate::marks::{Counted, Marks};

/// A socket on a port.
pub async fn bind(network: &network_manager::Client, port: u16) -> Result<udp_socket::Client, Error> {
    let mut request = network.bind_udp_request();
    request.get().set_port(port);
    request.send().promise.await?.get()?.get_socket()
}

/// Sends every datagram back, for ever.
pub async fn echo(socket: udp_socket::Client) -> Result<(), Error> {
    let mut marks = Marks::new(Counted::Datagrams);
    let mut receiving = socket.receive_request().send().promise;
    loop {
        let received = receiving.await?;
        let datagram = received.get()?;
        let mut request = socket.send_request();
        let mut answer = request.get();
        answer.set_address(datagram.get_address());
        answer.set_port(datagram.get_port());
        answer.set_data(datagram.get_data()?);
        let sent = request.send().promise;
        receiving = socket.receive_request().send().promise;
        // A datagram that finds no room is lost, as datagrams are.
        if let Err(error) = sent.await
            && error.kind != capnp::ErrorKind::Overloaded
        {
            return Err(error);
        }
        marks.add(1);
    }
}
