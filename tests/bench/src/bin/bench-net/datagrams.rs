//! UDP echo [RFC 862].

use alloc::{sync::Arc, vec};

use capnp::Error;
use ring::{
    Sleep,
    datagram::{self, Datagrams},
};
use rt::{
    Doorbell, Signal,
    memory::{Mapping, Protection},
};
use schema::network_capnp::{network_manager, udp_socket};

use crate::marks::{Counted, Marks};

/// Most pages of the rings that are mapped.
const MAXIMUM_PAGES: u32 = 256;

/// Longest datagram on a network with any MTU that the stack has.
const LONGEST: usize = 9216;

/// A socket with its rings.
pub struct Socket {
    rings: Datagrams<Mapping>,
    stack: Doorbell,
    doorbell: Signal,
    _socket: udp_socket::Client,
}

/// A socket on a port.
pub async fn bind(network: &network_manager::Client, port: u16) -> Result<Socket, Error> {
    let mut request = network.bind_udp_request();
    request.get().set_port(port);
    let socket = request.send().promise.await?.get()?.get_socket()?;
    let doorbell = Signal::new().await?;
    let mut request = socket.open_request();
    request.get().set_doorbell(doorbell.signaller());
    let response = request.send().promise.await?;
    let opened = response.get()?;
    let memory = opened.get_datagrams()?;
    let pages = opened.get_pages().min(MAXIMUM_PAGES);
    let mapping = Mapping::new(&memory, 0, pages, Protection::ReadWrite).await?;
    // One thread uses it; the rings count references atomically because other programs have more.
    #[expect(clippy::arc_with_non_send_sync)]
    let rings = datagram::open(&Arc::new(mapping)).map_err(failed)?;
    Ok(Socket { rings, stack: opened.get_doorbell()?.into(), doorbell, _socket: socket })
}

/// Sends every datagram back, for ever.
pub async fn echo(mut socket: Socket) -> Result<(), Error> {
    let mut marks = Marks::new(Counted::Datagrams);
    let mut data = vec![0; LONGEST];
    loop {
        while let Some(head) = socket.rings.receive(&mut data).map_err(failed)? {
            let data = data.get(..head.length.into()).unwrap_or_default();
            // A datagram that finds no room is lost, as datagrams are.
            let _sent = socket.rings.send(head.address, head.port, data).map_err(failed)?;
            marks.add(1);
        }
        if socket.rings.must_ring() {
            socket.stack.ring();
        }
        if socket.rings.arm() == Sleep::Allowed {
            socket.doorbell.wait().await;
        }
    }
}

fn failed(error: impl core::fmt::Display) -> Error {
    Error::failed(alloc::format!("{error}"))
}
