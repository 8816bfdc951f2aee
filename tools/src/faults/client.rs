//! The client outside: one endless connection to the guest's stream server, every byte of it checked.

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Result, ensure};

use crate::smoke::stream::{Request, Sequence};

/// Bytes of a connection that nobody lives to see the end of.
const ENDLESS: u64 = u64::MAX / 4;

/// How long a connection may stand still before the client gives it up.
const PATIENCE: Duration = Duration::from_secs(240);

/// Between connections, and between two parts that go up.
const PAUSE: Duration = Duration::from_millis(20);

/// Bytes of a part that goes up.
const PART: usize = 1024;

/// What the end of a connection means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Something that was promised is broken.
    Failure,
    /// The other end died; another connection is made.
    Expected,
}

/// The client, in threads of its own.
pub struct Client {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl Shared {
    fn fail(&self, why: String) {
        if let Ok(mut failure) = self.failure.lock() {
            failure.get_or_insert(why);
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Client {
    /// Connects, and begins.
    pub fn start(address: SocketAddr, seed: u64, ending: Ending) -> Self {
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            while !own.stopped() {
                match converse(address, seed, &own) {
                    Ok(()) => {}
                    Err(_) if own.stopped() => {}
                    Err(error)
                        if error.downcast_ref::<WrongByte>().is_some() || ending == Ending::Failure =>
                    {
                        own.fail(format!("the client: {error:#}"));
                        return;
                    }
                    Err(_) => thread::sleep(PAUSE),
                }
            }
        });
        Self { shared, thread: Some(thread) }
    }

    /// What went wrong, if something did.
    pub fn failure(&self) -> Option<String> {
        self.shared.failure.lock().ok()?.clone()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of it was told by its message.
            let _ = thread.join();
        }
    }
}

/// A byte that is not what the seed says.
#[derive(Debug)]
struct WrongByte(u64);

impl std::fmt::Display for WrongByte {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "a byte from {} on is wrong", self.0)
    }
}

impl std::error::Error for WrongByte {}

fn converse(address: SocketAddr, seed: u64, shared: &Shared) -> Result<()> {
    let request = Request { seed, down: ENDLESS, up: ENDLESS };
    let mut stream = request.open(address, PATIENCE)?;
    // Looks up now and then whether it is to stop.
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut up = stream.try_clone()?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let over = &over;
        scope.spawn(move || {
            let mut sequence = Sequence::new(seed.wrapping_add(1));
            while !shared.stopped() && !over.load(Ordering::Relaxed) {
                // The reading half tells why.
                if up.write_all(&sequence.take(PART)).is_err() {
                    return;
                }
                thread::sleep(PAUSE);
            }
        });
        let mut sequence = Sequence::new(seed);
        let mut buffer = vec![0; 64 << 10];
        let result = loop {
            if shared.stopped() {
                break Ok(());
            }
            match stream.read(&mut buffer) {
                Ok(0) => break Err(anyhow::anyhow!("the connection was closed")),
                Ok(count) => {
                    if let Err(error) = check(&mut sequence, buffer.get(..count).unwrap_or_default()) {
                        break Err(error);
                    }
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) => {}
                Err(error) => break Err(error.into()),
            }
        };
        over.store(true, Ordering::Relaxed);
        let _ = stream.shutdown(std::net::Shutdown::Both);
        result
    })
}

fn check(sequence: &mut Sequence, bytes: &[u8]) -> Result<()> {
    let start = sequence.position();
    ensure!(sequence.take(bytes.len()) == bytes, WrongByte(start));
    Ok(())
}
