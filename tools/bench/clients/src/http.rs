//! The HTTP client: so many connections at once, each with one request under way, in one thread.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, connect, ipproto, socket_with, sockopt::set_tcp_nodelay},
};

use crate::{Done, Until};

/// How long nothing may happen.
const PATIENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// Bytes of the body.
const BODY: usize = 128;

/// What happens to a connection after its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// The next request goes through it too.
    KeepAlive,
    /// The server closes it, and the next request gets a new one.
    Never,
}

impl Reuse {
    const fn request(self) -> &'static [u8] {
        match self {
            Self::KeepAlive => b"GET /index.html HTTP/1.1\r\nHost: capos\r\n\r\n",
            Self::Never => b"GET /index.html HTTP/1.1\r\nHost: capos\r\nConnection: close\r\n\r\n",
        }
    }
}

/// One connection and the answer that it is to bring.
struct Exchange {
    socket: TcpStream,
    started: Instant,
    request: Request,
    answer: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    /// The connection is not up yet.
    Unsent,
    Sent,
}

/// Sends requests until it is over, `connections` at once.
///
/// The clock starts when each connection has brought an answer. They are made one after the other: QEMU's user network
/// lets hardly any wait to be accepted, and the host tries again only after a second.
pub fn requests(to: SocketAddr, connections: usize, reuse: Reuse, until: Until) -> Result<Done> {
    let mut exchanges = Vec::new();
    for _ in 0..connections {
        let mut exchange = [Exchange::open(to)?];
        loop {
            wait(&exchange)?;
            if exchange[0].go_on(to, reuse)?.is_some() {
                break;
            }
        }
        exchanges.extend(exchange);
    }
    let start = Instant::now();
    let (mut count, mut latencies) = (0, Vec::new());
    while !until.is_over(count, start) {
        let ready = wait(&exchanges)?;
        for (exchange, _) in exchanges.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            if let Some(latency) = exchange.go_on(to, reuse)? {
                latencies.push(latency);
                count += 1;
            }
        }
    }
    Ok(Done { count, time: start.elapsed(), latencies })
}

/// Which connections have something to do.
fn wait(exchanges: &[Exchange]) -> Result<Vec<bool>> {
    let mut waits: Vec<PollFd<'_>> = exchanges
        .iter()
        .map(|exchange| {
            let event = match exchange.request {
                Request::Unsent => PollFlags::OUT,
                Request::Sent => PollFlags::IN,
            };
            PollFd::new(&exchange.socket, event)
        })
        .collect();
    let ready = poll(&mut waits, Some(&PATIENCE))?;
    ensure!(ready > 0, "no answer to a request in {} s", PATIENCE.tv_sec);
    Ok(waits.iter().map(|wait| !wait.revents().is_empty()).collect())
}

impl Exchange {
    /// Starts to connect.
    fn open(to: SocketAddr) -> Result<Self> {
        let started = Instant::now();
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, Some(ipproto::TCP))?;
        set_tcp_nodelay(&socket, true)?;
        match connect(&socket, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error).with_context(|| to.to_string()),
        }
        Ok(Self {
            socket: socket.into(),
            started,
            request: Request::Unsent,
            answer: Vec::with_capacity(1024),
        })
    }

    /// Does the next step; how long the request took, if its answer is complete.
    fn go_on(&mut self, to: SocketAddr, reuse: Reuse) -> Result<Option<Duration>> {
        if self.request == Request::Unsent {
            self.send(reuse)?;
            return Ok(None);
        }
        let mut buffer = [0; 1024];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) if reuse == Reuse::Never && is_complete(&self.answer)? => {
                    let latency = self.started.elapsed();
                    *self = Self::open(to)?;
                    return Ok(Some(latency));
                }
                Ok(0) => bail!("the connection ended early"),
                Ok(length) => self.answer.extend_from_slice(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error).context("an answer"),
            }
            if reuse == Reuse::KeepAlive && is_complete(&self.answer)? {
                let latency = self.started.elapsed();
                self.answer.clear();
                self.started = Instant::now();
                self.send(reuse)?;
                return Ok(Some(latency));
            }
        }
    }

    /// Sends the request, which fits every socket's buffer.
    fn send(&mut self, reuse: Reuse) -> Result<()> {
        self.socket.write_all(reuse.request()).context("a request")?;
        self.request = Request::Sent;
        Ok(())
    }
}

/// Whether the whole answer is there, and the right one.
fn is_complete(answer: &[u8]) -> Result<bool> {
    const END: &[u8] = b"\r\n\r\n";
    let Some(head) = answer.windows(END.len()).position(|bytes| bytes == END) else { return Ok(false) };
    let body = answer.get(head + END.len()..).unwrap_or_default();
    if body.len() < BODY {
        return Ok(false);
    }
    ensure!(answer.starts_with(b"HTTP/1.1 200"), "an answer {:?}", String::from_utf8_lossy(answer));
    ensure!(body.len() == BODY && body.iter().all(|byte| b"x\n".contains(byte)), "another body");
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_with_its_body() {
        let mut answer = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        answer.extend([b'x'; BODY - 1]);
        assert!(!is_complete(&answer).expect("so far good"));
        answer.push(b'\n');
        assert!(is_complete(&answer).expect("good"));
        answer.push(b'\n');
        assert!(is_complete(&answer).is_err());
    }
}
