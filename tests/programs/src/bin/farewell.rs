//! Takes leave of its peer: who sent it a datagram, on UDP port 9001, gets that back, and 16 more when this process is asked to
//! end, of a byte each that counts from 0.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::rc::Rc;
use capnp::Error;
use core::cell::Cell;
use schema::network_capnp::{network_manager, udp_socket};

rt::program!(run);

const PORT: u16 = 9001;

/// Datagrams at the end.
const LAST: u8 = 16;

async fn run(environment: rt::Environment) -> Result<(), Error> {
    let network: network_manager::Client = environment.grant("network")?;
    let mut request = network.bind_udp_request();
    request.get().set_port(PORT);
    let socket = request.send().promise.await?.get()?.get_socket()?;
    let peer = Rc::new(Cell::new(None));
    let (last, known) = (socket.clone(), Rc::clone(&peer));
    rt::health::at_stop(async move {
        let Some(peer) = known.get() else { return };
        for number in 0..LAST {
            if let Err(error) = send(&last, peer, &[number]).await {
                log::error!("farewell: FAILED: {error}");
            }
        }
    });
    log::info!("farewell: waiting");
    loop {
        let answer = socket.receive_request().send().promise.await?;
        let datagram = answer.get()?;
        let from = (datagram.get_address(), datagram.get_port());
        send(&socket, from, datagram.get_data()?).await?;
        peer.set(Some(from));
    }
}

async fn send(socket: &udp_socket::Client, (address, port): (u32, u16), data: &[u8]) -> Result<(), Error> {
    let mut request = socket.send_request();
    let mut fields = request.get();
    fields.set_address(address);
    fields.set_port(port);
    fields.set_data(data);
    request.send().promise.await.map(drop)
}
