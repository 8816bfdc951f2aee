//! The server: all ports and connections in one thread.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, OwnedFd},
};

use anyhow::{Context as _, Result};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::service::{Next, Service, Services};

/// The TCP ports.
const PORTS: [(u16, Service); 4] =
    [(8080, Service::Http), (7, Service::Echo), (9, Service::Discard), (19, Service::Source)];

/// The port of UDP echo.
const DATAGRAMS: u16 = 7;

/// Events that are taken at once.
const EVENTS: usize = 64;

/// Something that can be ready.
enum Socket {
    Listener(TcpListener, Service),
    Connection(TcpStream, Service),
    Datagrams(UdpSocket),
}

/// All sockets, each under the number that its events carry.
struct Server {
    epoll: OwnedFd,
    sockets: Vec<Option<Socket>>,
    free: Vec<usize>,
    services: Services,
}

/// Serves for ever.
pub fn serve() -> Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut server = Server { epoll, sockets: Vec::new(), free: Vec::new(), services: Services::new() };
    for (port, service) in PORTS {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).with_context(|| port.to_string())?;
        listener.set_nonblocking(true)?;
        server.add(Socket::Listener(listener, service))?;
    }
    let datagrams = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, DATAGRAMS))?;
    datagrams.set_nonblocking(true)?;
    server.add(Socket::Datagrams(datagrams))?;
    println!("NET-READY");
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        events.clear();
        epoll::wait(&server.epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            server.handle(event)?;
        }
    }
}

impl Server {
    fn add(&mut self, socket: Socket) -> Result<()> {
        let index = self.free.pop().unwrap_or_else(|| {
            self.sockets.push(None);
            self.sockets.len() - 1
        });
        let flags = match &socket {
            Socket::Connection(_, Service::Source) => EventFlags::OUT | EventFlags::RDHUP,
            _ => EventFlags::IN,
        };
        epoll::add(&self.epoll, socket.as_fd(), EventData::new_u64(index as u64), flags)?;
        self.sockets[index] = Some(socket);
        Ok(())
    }

    fn handle(&mut self, event: &Event) -> Result<()> {
        let index = event.data.u64() as usize;
        let Some(Some(socket)) = self.sockets.get_mut(index) else { return Ok(()) };
        match socket {
            Socket::Listener(listener, service) => {
                let service = *service;
                // The client may have gone away meanwhile.
                if let Ok((connection, _)) = listener.accept() {
                    connection.set_nonblocking(true)?;
                    connection.set_nodelay(true)?;
                    self.add(Socket::Connection(connection, service))?;
                }
            }
            Socket::Datagrams(socket) => self.services.datagram(socket)?,
            Socket::Connection(connection, service) => {
                let flags = event.flags;
                let gone = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
                let next = if gone && *service == Service::Source {
                    Next::Close
                } else {
                    self.services.serve(*service, connection)
                };
                if next == Next::Close {
                    // A closed socket leaves the set by itself.
                    self.sockets[index] = None;
                    self.free.push(index);
                }
            }
        }
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Self::Listener(listener, _) => listener.as_fd(),
            Self::Connection(connection, _) => connection.as_fd(),
            Self::Datagrams(socket) => socket.as_fd(),
        }
    }
}
