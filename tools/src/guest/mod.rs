//! A machine that runs while a test talks to it from outside.
//!
//! ```text
//!             stdout pipe ── COM1 ──> Log (lines, wait_for)
//!     or pseudo-terminal ── COM1 <─> Log, and Terminal (keys, screen)
//!   QEMU ──── unix socket ── COM2 <─> Channel (lines both ways, for test hooks in the guest)
//!             unix socket ── QMP  <─> Qmp
//!             127.0.0.1:n ── TCP  <─> whatever client the test runs
//! ```
//!
//! All waiting is for events, under one deadline. The machine is killed, through the handle of this very
//! process, when the [`Guest`] is dropped.

mod channel;
mod gdb;
mod log;
mod qmp;
mod screen;
mod terminal;
mod wire;

use std::{
    fs::File,
    io::{ErrorKind, Read},
    net::{SocketAddr, TcpListener},
    os::fd::AsFd,
    path::Path,
    process::{Child, ExitStatus, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::event::PollFlags;
use tempfile::TempDir;

pub use self::{
    channel::Channel,
    gdb::Gdb,
    qmp::Qmp,
    terminal::{MORE, PROMPT, Terminal, is_log},
};
use self::{
    channel::Listener,
    log::Log,
    terminal::{Display, Pair},
};
use crate::qemu::{FirstSerial, Forward, Machine};

/// What begins a line that ends every hope: the loader's and the kernel's last words.
const LAST_WORDS: [&str; 2] = ["capos loader:", "kernel panic"];

/// Lines of the log that a failed wait shows.
const SHOWN: usize = 12;

/// Between two looks at whether QEMU has ended, once its serial port was closed.
const STEP: Duration = Duration::from_millis(2);

/// A running machine.
pub struct Guest {
    child: Child,
    log: Arc<Log>,
    /// Lines of the log that waits have passed.
    seen: usize,
    forwards: Vec<Forward>,
    deadline: Instant,
    qmp: Listener,
    hook: Listener,
    _sockets: TempDir,
}

impl Guest {
    /// Starts a machine whose COM1 is also written to the file `log`. Every wait ends at `deadline`.
    /// `ports` are the guest's TCP ports to be reached from here.
    pub fn start(machine: Machine, ports: &[u16], log: &Path, deadline: Instant) -> Result<Self> {
        Self::launch(machine, ports, log, deadline, None)
    }

    /// As [`start`](Self::start), with a person at COM1.
    pub fn start_with_terminal(
        machine: Machine,
        ports: &[u16],
        log: &Path,
        deadline: Instant,
    ) -> Result<(Self, Terminal)> {
        let pair = Pair::open()?;
        let display = Arc::new(Display::default());
        let guest = Self::launch(machine, ports, log, deadline, Some((&pair, &display)))?;
        Ok((guest, Terminal::new(pair.master, display, deadline)?))
    }

    fn launch(
        mut machine: Machine,
        ports: &[u16],
        log: &Path,
        deadline: Instant,
        terminal: Option<(&Pair, &Arc<Display>)>,
    ) -> Result<Self> {
        let sockets = tempfile::Builder::new().prefix("capos-").tempdir()?;
        let qmp = Listener::bind(&sockets.path().join("qmp"), "QMP")?;
        let hook = Listener::bind(&sockets.path().join("com2"), "COM2")?;
        for guest in ports {
            machine.forwards.push(Forward { host: free_port()?, guest: *guest });
        }
        let mut command = machine.command()?;
        if machine.first_serial == FirstSerial::Present {
            // Ctrl-C is for the machine.
            command.args(["-chardev", "stdio,id=com1,signal=off", "-serial", "chardev:com1"]);
        } else {
            command.args(["-serial", "none"]);
        }
        command.args(["-chardev", &format!("socket,id=com2,path={}", hook.path())]);
        command.args(["-serial", "chardev:com2", "-chardev", &format!("socket,id=qmp,path={}", qmp.path())]);
        command.args(["-mon", "chardev=qmp,mode=control"]);
        let copy = create(log)?;
        let mut errors = copy.try_clone()?;
        std::io::Write::write_all(&mut errors, format!("# {command:?}\n").as_bytes())?;
        let (input, output) = match terminal {
            Some((pair, _)) => pair.stdio()?,
            None => (Stdio::null(), Stdio::piped()),
        };
        let mut child = command
            .stdin(input)
            .stdout(output)
            .stderr(errors)
            .spawn()
            .context("cannot start QEMU (Debian: apt-get install qemu-system-x86)")?;
        let log = Arc::new(Log::default());
        let writer = Arc::clone(&log);
        if let Some((pair, display)) = terminal {
            let (output, display) = (pair.master.try_clone()?, Arc::clone(display));
            thread::spawn(move || {
                read_all(output, copy, &writer, |bytes| display.add(bytes));
                display.close();
            });
        } else {
            let output = child.stdout.take().context("QEMU's output is a pipe")?;
            thread::spawn(move || read_all(output, copy, &writer, |_| {}));
        }
        Ok(Self { child, log, seen: 0, forwards: machine.forwards, deadline, qmp, hook, _sockets: sockets })
    }

    /// Ends every further wait at another time.
    pub fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// Waits for the next line that contains `text`, and returns it.
    pub fn wait_for(&mut self, text: &str) -> Result<String> {
        self.wait_until(&format!("a line with {text:?}"), |line| line.contains(text))
    }

    /// Waits for the next line that fits. Each line is looked at by one wait only.
    pub fn wait_until(&mut self, what: &str, mut fits: impl FnMut(&str) -> bool) -> Result<String> {
        loop {
            match self.log.line(self.seen, self.deadline) {
                log::Next::Line(line) => {
                    self.seen += 1;
                    if fits(&line) {
                        return Ok(line);
                    }
                    if LAST_WORDS.iter().any(|words| line.contains(words)) {
                        bail!("the machine gave up while waiting for {what}:\n{}", self.log.tail(SHOWN));
                    }
                }
                log::Next::Closed => bail!("QEMU ended while waiting for {what}:\n{}", self.log.tail(SHOWN)),
                log::Next::Late => bail!("no {what} in time; the log ends:\n{}", self.log.tail(SHOWN)),
            }
        }
    }

    /// Whether a line so far contains `text`.
    pub fn has_line(&self, text: &str) -> bool {
        self.log.lines().iter().any(|line| line.contains(text))
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.log.lines()
    }

    /// Where one of the guest's TCP ports is reached.
    pub fn address(&self, port: u16) -> Result<SocketAddr> {
        let forward = self.forwards.iter().find(|forward| forward.guest == port);
        let forward = forward.with_context(|| format!("port {port} is not forwarded"))?;
        Ok(SocketAddr::from(([127, 0, 0, 1], forward.host)))
    }

    /// QEMU's control socket; there is one.
    pub fn qmp(&mut self) -> Result<Qmp> {
        Qmp::new(self.qmp.accept(self.deadline)?)
    }

    /// The other end of COM2; there is one.
    pub fn hook(&mut self) -> Result<Channel> {
        self.hook.accept(self.deadline)
    }

    /// How QEMU ended, if it has.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until QEMU ends by itself.
    pub fn wait_exit(&mut self) -> Result<ExitStatus> {
        if !self.log.wait_closed(self.deadline) {
            bail!("the machine does not end; the log ends:\n{}", self.log.tail(SHOWN));
        }
        // The pipe closes a moment before the process can be reaped.
        while Instant::now() < self.deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(STEP);
        }
        bail!("QEMU closed its output and does not end")
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads to the end; that of a pseudo-terminal is an error.
fn read_all(mut output: impl Read + AsFd, mut copy: File, log: &Log, also: impl Fn(&[u8])) {
    let mut buffer = [0; 4096];
    // A pseudo-terminal does not wait by itself, since its other user must not.
    while wire::wait(&output, PollFlags::IN, None).is_ok() {
        let bytes = match output.read(&mut buffer) {
            Ok(length @ 1..) => buffer.get(..length).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Ok(0) | Err(_) => break,
        };
        // A copy that cannot be written must not hide what the machine says.
        let _ = std::io::Write::write_all(&mut copy, bytes);
        log.add(bytes);
        also(bytes);
    }
    log.close();
}

fn create(file: &Path) -> Result<File> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    File::create(file).with_context(|| file.display().to_string())
}

/// A TCP port of this machine that nobody uses.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
