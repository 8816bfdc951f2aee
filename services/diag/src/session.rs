//! A session of the console: keys in, text out.

use alloc::{collections::VecDeque, string::String, vec::Vec};
use capnp::Error;
use diag::keys::{Key, Keys};
use schema::console_capnp::{console, console_session};

/// Most bytes of one call of `write`.
const MAXIMUM_WRITE: usize = 1024;

/// What comes from the terminal.
pub enum Input {
    /// A key.
    Key(Key),
    /// So many bytes came too fast.
    Lost(u64),
}

/// One session.
pub struct Session {
    client: console_session::Client,
    keys: Keys,
    pending: VecDeque<u8>,
}

impl Session {
    /// Opens one, which ends the one before.
    ///
    /// Errors: those of `Console.open`.
    pub async fn open(console: &console::Client) -> Result<Self, Error> {
        let client = console.open_request().send().promise.await?.get()?.get_session()?;
        Ok(Self { client, keys: Keys::new(), pending: VecDeque::new() })
    }

    /// Whether there is more input at once.
    pub fn has_more(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Waits for input.
    ///
    /// Errors: those of `ConsoleSession.read`.
    pub async fn next(&mut self) -> Result<Input, Error> {
        loop {
            while let Some(byte) = self.pending.pop_front() {
                if let Some(key) = self.keys.decode(byte) {
                    return Ok(Input::Key(key));
                }
            }
            let answer = self.client.read_request().send().promise.await?;
            let answer = answer.get()?;
            self.pending.extend(answer.get_data()?);
            if answer.get_dropped() > 0 {
                // They were lost before these bytes, which are not for a sequence that began before.
                self.keys = Keys::new();
                return Ok(Input::Lost(answer.get_dropped()));
            }
        }
    }

    /// Shows the line that is being edited.
    ///
    /// Errors: those of `ConsoleSession.setLine`.
    pub async fn set_line(&self, text: &str, cursor: usize) -> Result<(), Error> {
        let mut request = self.client.set_line_request();
        request.get().set_text(text);
        request.get().set_cursor(u16::try_from(cursor).unwrap_or(u16::MAX));
        request.send().promise.await.map(drop)
    }

    /// Leaves the line that was edited on the screen.
    ///
    /// Errors: those of `ConsoleSession.endLine`.
    pub async fn end_line(&self) -> Result<(), Error> {
        self.client.end_line_request().send().promise.await.map(drop)
    }

    /// Writes lines.
    ///
    /// Errors: those of `ConsoleSession.write`.
    pub async fn write_lines(&self, lines: impl IntoIterator<Item = String>) -> Result<(), Error> {
        let mut bytes = Vec::new();
        for line in lines {
            bytes.extend_from_slice(line.as_bytes());
            bytes.push(b'\n');
        }
        for part in bytes.chunks(MAXIMUM_WRITE) {
            self.write(part).await?;
        }
        Ok(())
    }

    /// Writes at most [`MAXIMUM_WRITE`] bytes.
    ///
    /// Errors: those of `ConsoleSession.write`.
    pub async fn write(&self, bytes: &[u8]) -> Result<(), Error> {
        let mut request = self.client.write_request();
        request.get().set_data(bytes);
        request.send().promise.await.map(drop)
    }
}
