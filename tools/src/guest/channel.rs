//! Lines to and from one of QEMU's character devices.

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// The socket that QEMU connects to: it is there before QEMU is, so nobody has to try again.
pub struct Listener {
    path: PathBuf,
    incoming: Receiver<std::io::Result<UnixStream>>,
}

impl Listener {
    /// Listens at `path`.
    pub fn bind(path: &Path) -> Result<Self> {
        let listener = UnixListener::bind(path).with_context(|| path.display().to_string())?;
        let (sender, incoming) = mpsc::channel();
        // The thread ends with the process if QEMU never connects.
        thread::spawn(move || sender.send(listener.accept().map(|(stream, _)| stream)));
        Ok(Self { path: path.to_owned(), incoming })
    }

    /// The socket's path, for QEMU.
    pub fn path(&self) -> impl std::fmt::Display + '_ {
        self.path.display()
    }

    /// The connection; it can be had once.
    pub fn accept(&self, deadline: Instant) -> Result<Channel> {
        let left = deadline.saturating_duration_since(Instant::now());
        let stream =
            self.incoming.recv_timeout(left).context("QEMU did not connect, or the channel is in use")??;
        Ok(Channel { reader: BufReader::new(stream.try_clone()?), stream, deadline, rest: Vec::new() })
    }
}

/// Lines both ways.
pub struct Channel {
    reader: BufReader<UnixStream>,
    stream: UnixStream,
    deadline: Instant,
    /// The start of a line whose end has not come yet.
    rest: Vec<u8>,
}

impl Channel {
    /// Sends one line.
    pub fn send(&mut self, line: &str) -> Result<()> {
        self.stream.write_all(format!("{line}\n").as_bytes())?;
        Ok(())
    }

    /// Gives the test hook in the guest an order; its answer, without the `ok`.
    pub fn order(&mut self, order: &str) -> Result<String> {
        self.send(order)?;
        let answer = self.receive()?;
        let answer = answer.strip_prefix("ok").with_context(|| format!("{order}: {answer}"))?;
        Ok(answer.trim().to_owned())
    }

    /// Waits for the next line.
    pub fn receive(&mut self) -> Result<String> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        // Zero would mean no limit.
        self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match self.reader.read_until(b'\n', &mut self.rest) {
            Ok(0) => bail!("the channel was closed"),
            Ok(_) => {
                let line = std::mem::take(&mut self.rest);
                Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!("no line came in time")
            }
            Err(error) => Err(error.into()),
        }
    }

    /// All waiting ends then, from now on.
    pub fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// Waits for the next line that contains `text`.
    pub fn wait_for(&mut self, text: &str) -> Result<String> {
        loop {
            let line = self.receive().with_context(|| format!("while waiting for {text:?}"))?;
            if line.contains(text) {
                return Ok(line);
            }
        }
    }
}
