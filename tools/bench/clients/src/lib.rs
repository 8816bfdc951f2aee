//! Clients of a measured machine: what they did, and how long it took.
//!
//! They are a crate of their own because they are optimized in every build: they share the host with what they measure.
#![forbid(unsafe_code)]

pub mod http;

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

/// How long one answer may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of an echo.
const ECHO: usize = 64;

/// Bytes that are read or written at once.
const CHUNK: usize = 128 << 10;

/// When a client stops.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After so many operations, or bytes.
    Count(u64),
    /// After so long.
    Time(Duration),
}

impl Until {
    /// Whether it is over after `count` operations since `start`.
    pub fn is_over(self, count: u64, start: Instant) -> bool {
        match self {
            Self::Count(most) => count >= most,
            Self::Time(time) => start.elapsed() >= time,
        }
    }
}

/// What a client did.
#[derive(Clone, Debug)]
pub struct Done {
    /// Operations, or bytes.
    pub count: u64,
    /// How long all of it took.
    pub time: Duration,
    /// How long each operation took, if that was measured.
    pub latencies: Vec<Duration>,
}

impl Done {
    /// Operations, or bytes, in a second.
    pub fn per_second(&self) -> f64 {
        self.count as f64 / self.time.as_secs_f64().max(f64::EPSILON)
    }

    /// The latency that half of the operations did not exceed.
    pub fn median_latency(&self) -> Option<Duration> {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }
}

/// Sends datagrams one at a time and waits for each to come back.
pub fn udp_echo(to: SocketAddr, until: Until) -> Result<Done> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(to)?;
    let mut answer = [0; 2 * ECHO];
    echo(until, |sent| {
        socket.send(sent)?;
        let length = socket.recv(&mut answer).context("no answer to a datagram")?;
        ensure!(answer.get(..length) == Some(sent), "a datagram came back as another");
        Ok(())
    })
}

/// The same through one TCP connection.
pub fn tcp_echo(to: SocketAddr, until: Until) -> Result<Done> {
    let mut socket = connect(to)?;
    let mut answer = [0; ECHO];
    echo(until, |sent| {
        socket.write_all(sent)?;
        socket.read_exact(&mut answer).context("no echo")?;
        ensure!(answer == sent, "bytes came back as others");
        Ok(())
    })
}

/// Repeats one echo with bytes that differ each time.
fn echo(until: Until, mut once: impl FnMut(&[u8]) -> Result<()>) -> Result<Done> {
    let (mut count, mut latencies, start) = (0_u64, Vec::new(), Instant::now());
    while !until.is_over(count, start) {
        let mut bytes = [0x5a; ECHO];
        bytes[..8].copy_from_slice(&count.to_le_bytes());
        let sent = Instant::now();
        once(&bytes)?;
        latencies.push(sent.elapsed());
        count += 1;
    }
    Ok(Done { count, time: start.elapsed(), latencies })
}

/// Sends bytes, and waits until the machine has taken them all: it closes then.
pub fn bulk_in(to: SocketAddr, until: Until) -> Result<Done> {
    let mut socket = connect(to)?;
    let chunk = vec![0x5a; CHUNK];
    let (mut count, start) = (0, Instant::now());
    while !until.is_over(count, start) {
        socket.write_all(&chunk)?;
        count += CHUNK as u64;
    }
    socket.shutdown(Shutdown::Write)?;
    ensure!(socket.read(&mut [0])? == 0, "the machine answers what it is to discard");
    Ok(Done { count, time: start.elapsed(), latencies: Vec::new() })
}

/// Takes bytes.
pub fn bulk_out(to: SocketAddr, until: Until) -> Result<Done> {
    let mut socket = connect(to)?;
    let mut chunk = vec![0; CHUNK];
    let (mut count, start) = (0, Instant::now());
    while !until.is_over(count, start) {
        let length = socket.read(&mut chunk)?;
        ensure!(length > 0, "the source ended");
        count += length as u64;
    }
    Ok(Done { count, time: start.elapsed(), latencies: Vec::new() })
}

fn connect(to: SocketAddr) -> Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&to, PATIENCE).with_context(|| to.to_string())?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}
