//! Lines to and from one of QEMU's character devices.

use std::{
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result};

use super::wire::Wire;

/// The socket that QEMU connects to: it is there before QEMU is, so nobody has to try again.
pub struct Listener {
    path: PathBuf,
    name: &'static str,
    incoming: Receiver<std::io::Result<UnixStream>>,
}

impl Listener {
    /// Listens at `path`, for the device that errors call `name`.
    pub fn bind(path: &Path, name: &'static str) -> Result<Self> {
        let listener = UnixListener::bind(path).with_context(|| path.display().to_string())?;
        let (sender, incoming) = mpsc::channel();
        // The thread ends with the process if QEMU never connects.
        thread::spawn(move || sender.send(listener.accept().map(|(stream, _)| stream)));
        Ok(Self { path: path.to_owned(), name, incoming })
    }

    /// The socket's path, for QEMU.
    pub fn path(&self) -> impl std::fmt::Display + '_ {
        self.path.display()
    }

    /// The connection; it can be had once.
    pub fn accept(&self, deadline: Instant) -> Result<Channel> {
        let left = deadline.saturating_duration_since(Instant::now());
        let stream = self
            .incoming
            .recv_timeout(left)
            .with_context(|| format!("QEMU did not connect {}, or it is in use", self.name))??;
        Ok(Channel { wire: Wire::new(stream, self.name, deadline)?, rest: Vec::new() })
    }
}

/// Lines both ways.
pub struct Channel {
    wire: Wire,
    /// What came and was not looked at yet.
    rest: Vec<u8>,
}

impl Channel {
    /// Sends one line.
    pub fn send(&mut self, line: &str) -> Result<()> {
        self.wire.send(format!("{line}\n").as_bytes())
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
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned());
            }
            self.wire.receive(&mut self.rest)?;
        }
    }

    /// All waiting ends then, from now on.
    pub fn set_deadline(&mut self, deadline: Instant) {
        self.wire.set_deadline(deadline);
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
