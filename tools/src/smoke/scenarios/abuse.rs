//! Clients that do not keep to HTTP, or to good manners, against the live page.

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::live::{self, Response};
use crate::{
    qemu::{Machine, Nic},
    smoke::Scenario,
};

/// How long any answer may take, and longer than the server waits for a request's end.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long /healthz may take while others misbehave.
const SOON: Duration = Duration::from_secs(5);

/// Connections without a request.
const IDLE: usize = 200;

/// A request that is wrong and the status that says so; 0: it is enough that the connection ends.
const WRONG: [(&str, &[u8], u16); 14] = [
    ("no HTTP", b"hello\r\n\r\n", 400),
    ("no path", b"GET\r\n\r\n", 400),
    ("no version", b"GET /healthz\r\n\r\n", 400),
    ("another version", b"GET /healthz HTTP/3.7\r\nHost: a\r\n\r\n", 505),
    ("binary", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ("no host", b"GET /healthz HTTP/1.1\r\n\r\n", 400),
    ("two hosts", b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("a space before the colon", b"GET /healthz HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    ("a folded line", b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", 400),
    ("a wrong length", b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
    ("two lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    (
        "length and coding",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("too much content", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", 413),
    ("unknown coding", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: rot13, chunked\r\n\r\n", 501),
];

/// One thing that a client does to the page at an address.
type Step = fn(SocketAddr) -> Result<()>;

/// Everything against one system, so that what one leaves behind shows in the next.
pub fn scenarios() -> Vec<Scenario> {
    vec![Scenario::new("abuse-http", "a client that misbehaves harms nobody else", 300, |context| {
        let mut machine = Machine::new(context.direct("manifests/default.capnp")?);
        machine.nic = Some(Nic::Modern);
        let (guest, address) = live::start(context, machine)?;
        let steps: [(&str, Step); 8] = [
            ("malformed requests", malformed),
            ("methods and variants of /healthz", variants),
            ("an over-long header", long_header),
            ("an over-long request line", long_line),
            ("keep-alive", keep_alive),
            ("pipelining", pipelining),
            ("half-closed and reset connections", closed),
            ("a header that never ends and 200 idle connections", endless_and_idle),
        ];
        for (name, step) in steps {
            step(address).with_context(|| name)?;
            healthy(address).with_context(|| format!("after {name}"))?;
        }
        let died =
            guest.lines().into_iter().find(|line| line.contains("process ") && line.contains("restarting"));
        ensure!(died.is_none(), "a process died: {died:?}");
        Ok(())
    })]
}

fn healthy(address: SocketAddr) -> Result<()> {
    live::ensure_health(&live::get(address, "/healthz", SOON)?)
}

fn ask(address: SocketAddr, request: &[u8]) -> Result<Response> {
    let bytes = live::exchange(address, request, PATIENCE)?;
    Ok(Response::parse(&bytes).with_context(|| String::from_utf8_lossy(&bytes).into_owned())?.0)
}

fn malformed(address: SocketAddr) -> Result<()> {
    for (name, request, status) in WRONG {
        let response = ask(address, request).with_context(|| name)?;
        ensure!(response.status == status, "{name}: status {}", response.status);
        ensure!(response.header("connection") == Some("close"), "{name}: the connection is kept");
    }
    Ok(())
}

fn variants(address: SocketAddr) -> Result<()> {
    for method in ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get", "BREW"] {
        let request = format!(
            "{method} /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        let bytes = live::exchange(address, request.as_bytes(), PATIENCE)?;
        ensure!(bytes.starts_with(b"HTTP/1.1 404 "), "{method}: {}", String::from_utf8_lossy(&bytes));
    }
    for path in [
        "/healthz/",
        "/healthz?",
        "/healthz?a=b",
        "/Healthz",
        "//healthz",
        "/healthz/x",
        "/%68ealthz",
        "/nothing",
    ] {
        let response = live::get(address, path, PATIENCE)?;
        ensure!(response.status == 404, "{path}: status {}", response.status);
    }
    Ok(())
}

fn long_header(address: SocketAddr) -> Result<()> {
    let mut request = b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
    request.resize(64 << 10, b'x');
    request.extend(b"\r\n\r\n");
    let response = ask(address, &request)?;
    ensure!(response.status == 431, "one long field: status {}", response.status);
    let mut request = b"GET /healthz HTTP/1.1\r\nHost: a\r\n".to_vec();
    for number in 0..500 {
        request.extend(format!("X{number}: 1\r\n").bytes());
    }
    request.extend(b"\r\n");
    let response = ask(address, &request)?;
    ensure!(response.status == 431, "many fields: status {}", response.status);
    Ok(())
}

fn long_line(address: SocketAddr) -> Result<()> {
    let mut request = b"GET /".to_vec();
    request.resize(20_000, b'a');
    request.extend(b" HTTP/1.1\r\nHost: a\r\n\r\n");
    let response = ask(address, &request)?;
    ensure!(response.status == 414, "status {}", response.status);
    Ok(())
}

fn keep_alive(address: SocketAddr) -> Result<()> {
    let mut stream = live::connect(address, PATIENCE)?;
    let mut bytes = Vec::new();
    for number in 0..20 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")?;
        let response = read_one(&mut stream, &mut bytes).with_context(|| format!("request {number}"))?;
        live::ensure_health(&response)?;
    }
    // A client of the old version does not keep the connection unless it says so.
    let bytes = live::exchange(address, b"GET /healthz HTTP/1.0\r\n\r\n", PATIENCE)?;
    live::ensure_health(&Response::parse(&bytes)?.0)
}

/// The next response of a connection that stays open; `bytes` holds what was read too far.
fn read_one(stream: &mut std::net::TcpStream, bytes: &mut Vec<u8>) -> Result<Response> {
    let mut buffer = [0; 4096];
    loop {
        if let Ok((response, rest)) = Response::parse(bytes) {
            let rest = rest.to_vec();
            *bytes = rest;
            return Ok(response);
        }
        let length = stream.read(&mut buffer)?;
        ensure!(length > 0, "the connection was closed");
        bytes.extend_from_slice(buffer.get(..length).unwrap_or_default());
    }
}

fn pipelining(address: SocketAddr) -> Result<()> {
    const COUNT: usize = 50;
    let mut requests = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n".repeat(COUNT - 1).into_bytes();
    requests.extend(b"GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let bytes = live::exchange(address, &requests, PATIENCE)?;
    let mut rest = &bytes[..];
    for number in 1..COUNT {
        let (response, behind) = Response::parse(rest).with_context(|| format!("answer {number}"))?;
        live::ensure_health(&response)?;
        rest = behind;
    }
    let (last, rest) = Response::parse(rest)?;
    ensure!(last.status == 404 && rest.is_empty(), "the last answer is {}", last.status);
    Ok(())
}

fn closed(address: SocketAddr) -> Result<()> {
    for _ in 0..50 {
        // Closed with a request half sent.
        let mut stream = live::connect(address, PATIENCE)?;
        stream.write_all(b"GET / HTTP/1.1\r\nHo")?;
    }
    for _ in 0..20 {
        // Closed with an answer on its way.
        let mut stream = live::connect(address, PATIENCE)?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
    }
    // Closed for sending only: the answer still comes.
    let mut stream = live::connect(address, PATIENCE)?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")?;
    stream.shutdown(std::net::Shutdown::Write)?;
    live::ensure_health(&Response::parse(&live::read_to_end(&mut stream)?)?.0)
}

/// While one client's header never ends and 200 others say nothing, the rest is served.
fn endless_and_idle(address: SocketAddr) -> Result<()> {
    let mut endless = live::connect(address, Duration::from_millis(250))?;
    endless.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n")?;
    let idle = (0..IDLE).map(|_| live::connect(address, PATIENCE)).collect::<Result<Vec<_>>>()?;
    for _ in 0..5 {
        healthy(address)?;
    }
    let started = Instant::now();
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    // A field every quarter of a second; the reads' time limit is the clock.
    while started.elapsed() < PATIENCE {
        if endless.write_all(b"X: 1\r\n").is_err() {
            break;
        }
        match endless.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => healthy(address)?,
            Err(_) => break,
        }
    }
    ensure!(started.elapsed() < PATIENCE, "the header without an end is still being read");
    let text = String::from_utf8_lossy(&answer);
    ensure!(answer.is_empty() || text.starts_with("HTTP/1.1 408 "), "the endless header got {text:?}");
    drop(idle);
    Ok(())
}
