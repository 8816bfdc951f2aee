//! What is done with the bytes of a connection.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{TcpStream, UdpSocket},
};

use anyhow::Result;

use crate::mark::Marks;

/// Bytes that are moved at once.
const CHUNK: usize = 64 << 10;

/// Bytes of the body.
const BODY: usize = 128;

/// What a port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// HTTP: any request is answered by the same 128 bytes.
    Http,
    /// Bytes go back.
    Echo,
    /// They are dropped.
    Discard,
    /// None are read; others are sent.
    Source,
}

/// Whether a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// When there is more.
    Wait,
    /// It is over.
    Close,
}

/// What all connections share.
pub struct Services {
    chunk: Vec<u8>,
    keep_alive: Vec<u8>,
    close: Vec<u8>,
    requests: Marks<48>,
    datagrams: Marks<49>,
    received: Marks<50>,
    sent: Marks<51>,
    echoes: Marks<52>,
}

impl Services {
    /// Ready to serve.
    pub fn new() -> Self {
        let answer = |connection: &str| {
            let mut answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: no-store\r\n\
                 X-Content-Type-Options: nosniff\r\n{connection}Content-Length: {BODY}\r\n\r\n"
            )
            .into_bytes();
            answer.extend([b'x'; BODY - 1]);
            answer.push(b'\n');
            answer
        };
        Self {
            chunk: vec![b'x'; CHUNK],
            keep_alive: answer(""),
            close: answer("Connection: close\r\n"),
            requests: Marks::default(),
            datagrams: Marks::default(),
            received: Marks::default(),
            sent: Marks::default(),
            echoes: Marks::default(),
        }
    }

    /// Does what a connection is ready for.
    pub fn serve(&mut self, service: Service, socket: &mut TcpStream) -> Next {
        let done = match service {
            Service::Http => self.http(socket),
            Service::Echo => self.echo(socket),
            Service::Discard => self.discard(socket),
            Service::Source => self.source(socket),
        };
        match done {
            Ok(next) => next,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Next::Wait,
            // The client has gone away.
            Err(_) => Next::Close,
        }
    }

    /// Requests arrive whole: the clients send one at a time, in one segment.
    fn http(&mut self, socket: &mut TcpStream) -> std::io::Result<Next> {
        let length = socket.read(&mut self.chunk)?;
        let request = self.chunk.get(..length).unwrap_or_default();
        if request.is_empty() {
            return Ok(Next::Close);
        }
        self.requests.operation();
        const CLOSE: &[u8] = b"Connection: close";
        if request.windows(CLOSE.len()).any(|bytes| bytes == CLOSE) {
            socket.write_all(&self.close)?;
            return Ok(Next::Close);
        }
        socket.write_all(&self.keep_alive)?;
        Ok(Next::Wait)
    }

    fn echo(&mut self, socket: &mut TcpStream) -> std::io::Result<Next> {
        let length = socket.read(&mut self.chunk)?;
        if length == 0 {
            return Ok(Next::Close);
        }
        // So few bytes always fit.
        socket.write_all(self.chunk.get(..length).unwrap_or_default())?;
        self.echoes.operation();
        Ok(Next::Wait)
    }

    fn discard(&mut self, socket: &mut TcpStream) -> std::io::Result<Next> {
        let length = socket.read(&mut self.chunk)?;
        self.received.bytes(length);
        Ok(if length == 0 { Next::Close } else { Next::Wait })
    }

    fn source(&mut self, socket: &mut TcpStream) -> std::io::Result<Next> {
        let length = socket.write(&self.chunk)?;
        self.sent.bytes(length);
        Ok(Next::Wait)
    }

    /// Sends a datagram back.
    pub fn datagram(&mut self, socket: &UdpSocket) -> Result<()> {
        let (length, from) = match socket.recv_from(&mut self.chunk) {
            Ok(received) => received,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        socket.send_to(self.chunk.get(..length).unwrap_or_default(), from)?;
        self.datagrams.operation();
        Ok(())
    }
}
