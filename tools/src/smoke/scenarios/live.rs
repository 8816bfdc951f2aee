//! The live system as its clients see it: a small HTTP client that is not polite, and what /healthz must answer.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{guest::Guest, qemu::Machine, smoke::Context};

/// The page's port in the guest.
pub const PORT: u16 = 8080;

/// The answer of /healthz, to the byte.
const HEALTH: &str = r#"{"ok":true,"service":"remote-session-web-ui"}"#;

/// How long one attempt may take while the system may be down. QEMU's user network accepts a connection that its guest
/// does not answer, and tries again ever less often: a new attempt is quicker.
const ATTEMPT: Duration = Duration::from_millis(400);

/// Between attempts that were refused at once.
const PAUSE: Duration = Duration::from_millis(5);

/// Boots the machine and waits until its page answers.
pub fn start(context: &Context, machine: Machine) -> Result<(Guest, SocketAddr)> {
    let mut guest = context.start(machine, &[PORT])?;
    let address = guest.address(PORT)?;
    guest.wait_for("capos: ")?;
    wait_healthy(address, context.deadline())?;
    Ok((guest, address))
}

/// An answer, as it came.
#[derive(Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header fields, their names in small letters.
    pub headers: Vec<(String, String)>,
    /// Content.
    pub body: Vec<u8>,
}

impl Response {
    /// The first response in `bytes`, and what is behind it.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8])> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").context("no end of the head")?;
        let (head, rest) = bytes.split_at(end);
        let rest = rest.get(4..).unwrap_or_default();
        let head = std::str::from_utf8(head).context("the head is not text")?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
        let status = status.and_then(|line| line.get(..3)).context("no status line")?.parse()?;
        let mut headers = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':').with_context(|| format!("header line {line:?}"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut response = Self { status, headers, body: Vec::new() };
        let length = response.header("content-length").map_or(Ok(0), str::parse)?;
        let (body, rest) = rest.split_at_checked(length).context("the content was cut off")?;
        response.body = body.to_owned();
        Ok((response, rest))
    }

    /// The value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Connects, with the same limit for each step that follows.
pub fn connect(address: SocketAddr, limit: Duration) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    Ok(stream)
}

/// All that comes until the server closes the connection.
pub fn read_to_end(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        // A server that refuses the rest of a request may reset; what it said before counts.
        Err(error) if error.kind() == ErrorKind::ConnectionReset && !bytes.is_empty() => Ok(bytes),
        Err(error) => Err(error.into()),
    }
}

/// Sends bytes on a connection of their own and reads to its end.
pub fn exchange(address: SocketAddr, request: &[u8], limit: Duration) -> Result<Vec<u8>> {
    let mut stream = connect(address, limit)?;
    // The server may have answered and closed before it was given all.
    let _ = stream.write_all(request);
    read_to_end(&mut stream)
}

/// Gets a path on a connection of its own.
pub fn get(address: SocketAddr, path: &str, limit: Duration) -> Result<Response> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: capos\r\nConnection: close\r\n\r\n");
    let bytes = exchange(address, request.as_bytes(), limit)?;
    let (response, rest) = Response::parse(&bytes)?;
    ensure!(rest.is_empty(), "{} bytes behind the response", rest.len());
    Ok(response)
}

/// Whether this is what /healthz must answer.
pub fn ensure_health(response: &Response) -> Result<()> {
    ensure!(response.status == 200, "/healthz: status {}", response.status);
    ensure!(response.body == HEALTH.as_bytes(), "/healthz: {:?}", String::from_utf8_lossy(&response.body));
    let header = |name| response.header(name).unwrap_or("missing");
    ensure!(header("content-type") == "application/json", "Content-Type: {}", header("content-type"));
    ensure!(header("cache-control") == "no-store", "Cache-Control: {}", header("cache-control"));
    Ok(())
}

/// Tries until /healthz answers.
pub fn wait_healthy(address: SocketAddr, deadline: Instant) -> Result<()> {
    let mut last = None;
    while Instant::now() < deadline {
        match get(address, "/healthz", ATTEMPT) {
            Ok(response) => return ensure_health(&response),
            Err(error) => last = Some(error),
        }
        thread::sleep(PAUSE);
    }
    match last {
        Some(error) => Err(error.context("/healthz does not answer")),
        None => bail!("no time left to ask /healthz"),
    }
}
