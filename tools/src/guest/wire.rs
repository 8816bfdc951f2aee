//! Bytes to and from QEMU: no read and no write lasts longer than a deadline, nor than QEMU.

use std::{
    fs::File,
    io::{self, ErrorKind, Read, Write as _},
    os::fd::{AsFd, OwnedFd},
    time::Instant,
};

use anyhow::{Context as _, Error, Result};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
};

/// Most bytes that an error shows of what was not written.
const SHOWN: usize = 60;

/// One end of a socket or a pseudo-terminal.
pub struct Wire {
    file: File,
    /// What is at the other end, for errors.
    name: &'static str,
    deadline: Instant,
}

impl Wire {
    /// Takes a descriptor, which no longer waits by itself: whoever shares it waits by [`wait`], too.
    pub fn new(descriptor: impl Into<OwnedFd>, name: &'static str, deadline: Instant) -> Result<Self> {
        let file = File::from(descriptor.into());
        fcntl_setfl(&file, fcntl_getfl(&file)? | OFlags::NONBLOCK)?;
        Ok(Self { file, name, deadline })
    }

    /// All waiting ends then, from now on.
    pub fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// Writes all bytes, and waits as long as they are not taken.
    ///
    /// Errors: QEMU has ended; the deadline came first.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = self.retry(PollFlags::OUT, |file| file.write(rest)).map_err(|error| {
                let shown = bytes.get(..SHOWN).unwrap_or(bytes);
                let taken = bytes.len() - rest.len();
                explain(error).context(format!(
                    "{:?} could not be written to {}, which took {taken} of {} bytes",
                    String::from_utf8_lossy(shown),
                    self.name,
                    bytes.len()
                ))
            })?;
            rest = rest.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// Waits for bytes, and adds them to `bytes`.
    ///
    /// Errors: QEMU has ended; the deadline came first.
    pub fn receive(&mut self, bytes: &mut Vec<u8>) -> Result<()> {
        let mut buffer = [0; 4096];
        let result = match self.read(&mut buffer) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            result => result,
        };
        let length = result.map_err(explain).with_context(|| format!("while reading from {}", self.name))?;
        bytes.extend_from_slice(buffer.get(..length).unwrap_or_default());
        Ok(())
    }

    fn retry<T>(
        &mut self,
        event: PollFlags,
        mut attempt: impl FnMut(&mut File) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            let happened = wait(&self.file, event, Some(self.deadline))?;
            if happened.is_empty() || Instant::now() >= self.deadline {
                return Err(ErrorKind::TimedOut.into());
            }
            // A pseudo-terminal keeps what is written for an end that is gone.
            if event == PollFlags::OUT && happened.contains(PollFlags::HUP) {
                return Err(ErrorKind::BrokenPipe.into());
            }
            match attempt(&mut self.file) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                result => return result,
            }
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.retry(PollFlags::IN, |file| file.read(buffer))
    }
}

/// What an error means here.
fn explain(error: io::Error) -> Error {
    const ENDED: &str = "QEMU has ended";
    match error.kind() {
        ErrorKind::TimedOut => Error::msg("the time limit is over"),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => Error::msg(ENDED),
        // The end of a pseudo-terminal.
        _ if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => Error::msg(ENDED),
        _ => error.into(),
    }
}

/// Waits until a descriptor can be read or written, or its other end is gone: says which, and nothing when the deadline came
/// first.
pub fn wait(descriptor: impl AsFd, event: PollFlags, deadline: Option<Instant>) -> io::Result<PollFlags> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = left.map(Timespec::try_from).transpose().map_err(io::Error::other)?;
        let mut waited = [PollFd::new(&descriptor, event)];
        match poll(&mut waited, left.as_ref()) {
            Err(Errno::INTR) => {}
            result => return Ok(result.map(|_| waited[0].revents())?),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixStream, thread, time::Duration};

    use super::{super::terminal::Pair, *};

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(50)
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    /// More than sockets and pseudo-terminals keep.
    const MUCH: usize = 4 << 20;

    fn failure(wire: &mut Wire, bytes: &[u8]) -> String {
        format!("{:#}", wire.send(bytes).expect_err("nobody reads"))
    }

    #[test]
    fn a_write_that_nobody_takes_ends_at_the_deadline() {
        let (near, _far) = UnixStream::pair().expect("a socket");
        let pair = Pair::open().expect("a pseudo-terminal");
        for descriptor in [OwnedFd::from(near), pair.master.into()] {
            let mut wire = Wire::new(descriptor, "COM1", soon()).expect("a wire");
            let error = failure(&mut wire, &vec![b'x'; MUCH]);
            assert!(error.starts_with("\"xxx") && error.contains("to COM1, which took "), "{error}");
            assert!(error.ends_with(" of 4194304 bytes: the time limit is over"), "{error}");
        }
    }

    #[test]
    fn a_write_ends_with_the_other_side() {
        let (near, far) = UnixStream::pair().expect("a socket");
        let Pair { master, slave } = Pair::open().expect("a pseudo-terminal");
        for (descriptor, other) in [(OwnedFd::from(near), OwnedFd::from(far)), (master.into(), slave)] {
            let mut wire = Wire::new(descriptor, "COM2", later()).expect("a wire");
            let end = thread::spawn(move || {
                thread::sleep(Duration::from_millis(20));
                drop(other);
            });
            let error = failure(&mut wire, &vec![b'x'; MUCH]);
            assert!(error.ends_with("bytes: QEMU has ended"), "{error}");
            end.join().expect("the other side ends");
            let error = failure(&mut wire, b"kill diag\n");
            assert_eq!(
                error,
                "\"kill diag\\n\" could not be written to COM2, which took 0 of 10 bytes: QEMU has ended"
            );
        }
    }

    #[test]
    fn a_read_ends_with_the_other_side_or_at_the_deadline() {
        let (near, far) = UnixStream::pair().expect("a socket");
        let mut wire = Wire::new(near, "COM2", soon()).expect("a wire");
        let mut bytes = Vec::new();
        let mut read = |wire: &mut Wire| wire.receive(&mut bytes).map_err(|error| format!("{error:#}"));
        assert_eq!(read(&mut wire), Err("while reading from COM2: the time limit is over".into()));
        wire.set_deadline(later());
        (&far).write_all(b"ok\n").expect("room");
        assert_eq!(read(&mut wire), Ok(()));
        drop(far);
        assert_eq!(read(&mut wire), Err("while reading from COM2: QEMU has ended".into()));
        assert_eq!(bytes, b"ok\n");
    }
}
