//! QEMU's debugger port, as far as tests need it: bytes of the running machine are changed, as a bug would have them.

use std::{io::Read as _, os::unix::net::UnixStream, path::Path, time::Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::wire::Wire;

/// Longest packet that is read.
const MAXIMUM_PACKET: usize = 4096;

/// A connection to the debugger port. The machine is stopped as long as it lasts.
pub struct Gdb(Wire);

impl Gdb {
    /// Connects to the port, which is open once the machine runs.
    pub fn connect(path: &Path, deadline: Instant) -> Result<Self> {
        let stream = UnixStream::connect(path).context("QEMU's debugger port")?;
        Ok(Self(Wire::new(stream, "QEMU's debugger port", deadline)?))
    }

    /// Writes bytes at a virtual address, whatever protection it has.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Result<()> {
        let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let answer = self.ask(&format!("M{address:x},{:x}:{hexadecimal}", bytes.len()))?;
        ensure!(answer == "OK", "the debugger port refused to write: {answer:?}");
        Ok(())
    }

    /// Lets the machine go on, and leaves.
    pub fn detach(mut self) -> Result<()> {
        let answer = self.ask("D")?;
        ensure!(answer == "OK", "the debugger port did not let go: {answer:?}");
        Ok(())
    }

    /// One request and its answer; what the port says by itself, that the machine has stopped, is passed over. [GDB manual, E.1: `$` data `#` checksum, acknowledged by `+`]
    fn ask(&mut self, request: &str) -> Result<String> {
        let sum = request.bytes().fold(0_u8, u8::wrapping_add);
        self.0.send(format!("${request}#{sum:02x}").as_bytes())?;
        loop {
            let answer = self.receive()?;
            if !answer.starts_with(['S', 'T']) {
                return Ok(answer);
            }
        }
    }

    fn receive(&mut self) -> Result<String> {
        let mut answer = Vec::new();
        let mut byte = [0];
        while answer.len() < MAXIMUM_PACKET {
            self.0.read_exact(&mut byte).context("QEMU's debugger port does not answer")?;
            match byte {
                [b'+'] if answer.is_empty() => {}
                [b'$'] => answer.clear(),
                [b'#'] => {
                    self.0.read_exact(&mut [0; 2])?;
                    self.0.send(b"+")?;
                    return Ok(String::from_utf8_lossy(&answer).into_owned());
                }
                [other] => answer.push(other),
            }
        }
        bail!("an answer without end")
    }
}
