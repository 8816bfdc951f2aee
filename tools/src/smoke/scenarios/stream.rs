//! One TCP connection, both ways, through a driver that is killed again and again.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use crate::{
    guest::Channel,
    qemu::{Machine, Nic},
    smoke::{Context, Scenario},
};

/// The server's port in the guest (`tests/programs/src/bin/stream-server.rs`).
pub const PORT: u16 = 9000;

/// What each kill waits for: so many bytes more from the guest than at the last. Far more than all buffers on the way hold,
/// so that the driver of each life has carried some.
const DOWN_STEP: u64 = 1 << 20;

/// Bytes that go up for each step down. Few, since QEMU's user network repeats what was lost after a second and more: the
/// download sets the pace.
const UP_STEP: u64 = 16 << 10;

/// Bytes that go up in one write.
const UP_PART: usize = 4096;

/// Between two looks at how far the bytes are.
const LOOK: Duration = Duration::from_millis(1);

/// More kills than usual, by this variable of the environment.
const KILLS: &str = "KILLS";

/// A card, how often its driver is killed, and how many seconds that may take.
const CASES: [(Nic, u64, u64); 2] = [(Nic::Modern, 10, 120), (Nic::Legacy, 5, 120)];

/// One scenario for each kind of card.
pub fn scenarios() -> Vec<Scenario> {
    let wanted = std::env::var(KILLS).ok().and_then(|kills| kills.parse::<u64>().ok());
    CASES
        .into_iter()
        .map(|(nic, kills, seconds)| {
            let kills = wanted.unwrap_or(kills);
            Scenario::new(
                format!("recovery-stream-{}", nic.name()),
                "one connection lives through a driver that is killed again and again, and all bytes are right",
                seconds + 3 * kills,
                move |context| survive(context, nic, kills),
            )
        })
        .collect()
}

/// What follows from a seed: the sequence of `tests/programs/src/stream.rs`.
pub struct Sequence {
    base: u64,
    position: u64,
}

impl Sequence {
    /// From its start.
    pub fn new(seed: u64) -> Self {
        Self { base: seed.wrapping_mul(0xd129_0d3b_ef4a_1f35), position: 0 }
    }

    /// Bytes that were taken.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next byte.
    fn byte(&mut self) -> u8 {
        let (index, place) = (self.position / 8, self.position % 8);
        let value = self.base.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        self.position += 1;
        ((value ^ value >> 29) >> (8 * place)) as u8
    }

    /// The next bytes.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }
}

/// One connection's request.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// What its bytes follow from.
    pub seed: u64,
    /// Bytes from the guest.
    pub down: u64,
    /// Bytes to the guest.
    pub up: u64,
}

impl Request {
    /// Sends it on a new connection.
    pub fn open(&self, address: SocketAddr, patience: Duration) -> Result<TcpStream> {
        let mut stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        for word in [self.seed, self.down, self.up] {
            stream.write_all(&word.to_le_bytes())?;
        }
        Ok(stream)
    }
}

fn survive(context: &mut Context, nic: Nic, kills: u64) -> Result<()> {
    let mut machine = Machine::new(context.direct("manifests/tests/stream.capnp")?);
    machine.nic = Some(nic);
    let mut guest = context.start(machine, &[PORT])?;
    let mut hook = guest.hook()?;
    hook.wait_for("hook ready")?;
    guest.wait_for("stream: listening")?;
    let request = Request { seed: 0x5eed, down: (kills + 1) * DOWN_STEP, up: (kills + 1) * UP_STEP };
    let patience = context.deadline().saturating_duration_since(Instant::now());
    let stream = request.open(guest.address(PORT)?, patience)?;
    let down = Direction::start(stream.try_clone()?, move |stream, moved| download(stream, request, moved));
    let pace = Arc::clone(&down.moved);
    let up = Direction::start(stream, move |stream, _| upload(stream, request, &pace));
    for kill in 1..=kills {
        down.wait_until(kill * DOWN_STEP, context.deadline()).context("the download")?;
        hook.order("kill virtio-net")?;
        // What was on its way may be enough for the next step: each kill is to hit a life of its own.
        wait_for_life(&mut hook, kill, context.deadline())?;
    }
    up.end().context("the upload")?;
    let (got, said) = down.end().context("the download")?;
    ensure!(got == expected(request.seed, request.down), "the hash of what came down is wrong");
    ensure!(said == expected(request.seed + 1, request.up), "the guest's hash of what went up is wrong");
    println!(
        "  one connection, {kills} kills, {} KiB down and {} KiB up",
        request.down >> 10,
        request.up >> 10
    );
    Ok(())
}

/// Waits until the driver runs again after so many kills.
fn wait_for_life(hook: &mut Channel, kills: u64, deadline: Instant) -> Result<()> {
    let life = format!("virtio-net=running/{kills}/");
    while !hook.order("status")?.contains(&life) {
        ensure!(Instant::now() < deadline, "the driver does not run again after {kills} kills");
        thread::sleep(LOOK);
    }
    Ok(())
}

type Hash = [u8; 32];

fn expected(seed: u64, bytes: u64) -> Hash {
    let (mut hash, mut sequence) = (Sha256::new(), Sequence::new(seed));
    while sequence.position() < bytes {
        let left = usize::try_from(bytes - sequence.position()).unwrap_or(usize::MAX);
        hash.update(sequence.take(left.min(64 << 10)));
    }
    hash.finalize().into()
}

/// Reads all, and to the end: the hash of the bytes, and the one that the server sent behind them.
fn download(stream: &mut TcpStream, request: Request, moved: &AtomicU64) -> Result<(Hash, Hash)> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut left = request.down;
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = stream.read(buffer.get_mut(..wanted).unwrap_or_default())?;
        ensure!(count > 0, "the connection ended {left} bytes too early");
        hash.update(buffer.get(..count).unwrap_or_default());
        left -= count as u64;
        moved.fetch_add(count as u64, Ordering::Relaxed);
    }
    let mut said = Hash::default();
    stream.read_exact(&mut said)?;
    ensure!(stream.read(&mut buffer)? == 0, "something is behind the end");
    stream.shutdown(Shutdown::Write)?;
    Ok((hash.finalize().into(), said))
}

/// Writes all, as far as the download has come.
fn upload(stream: &mut TcpStream, request: Request, pace: &AtomicU64) -> Result<()> {
    let mut sequence = Sequence::new(request.seed + 1);
    while sequence.position() < request.up {
        let due = pace.load(Ordering::Relaxed) / DOWN_STEP * UP_STEP + UP_STEP;
        if sequence.position() >= due {
            thread::sleep(LOOK);
            continue;
        }
        let left = usize::try_from(request.up - sequence.position()).unwrap_or(usize::MAX);
        stream.write_all(&sequence.take(left.min(UP_PART)))?;
    }
    Ok(())
}

/// One direction of a connection, in a thread of its own.
struct Direction<T> {
    moved: Arc<AtomicU64>,
    thread: JoinHandle<Result<T>>,
}

impl<T: Send + 'static> Direction<T> {
    fn start(
        mut stream: TcpStream,
        run: impl FnOnce(&mut TcpStream, &AtomicU64) -> Result<T> + Send + 'static,
    ) -> Self {
        let moved = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&moved);
        Self { moved, thread: thread::spawn(move || run(&mut stream, &counted)) }
    }

    fn wait_until(&self, bytes: u64, deadline: Instant) -> Result<()> {
        while self.moved.load(Ordering::Relaxed) < bytes {
            ensure!(Instant::now() < deadline, "it stopped at {} bytes", self.moved.load(Ordering::Relaxed));
            if self.thread.is_finished() {
                // Its own reason is told by `end`.
                break;
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    fn end(self) -> Result<T> {
        match self.thread.join() {
            Ok(result) => result,
            Err(_) => bail!("the client panicked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_goes_on_where_it_stopped() {
        let (mut whole, mut parts) = (Sequence::new(7), Sequence::new(7));
        let together = [parts.take(3), parts.take(13), parts.take(1)].concat();
        assert_eq!(whole.take(17), together);
        assert_ne!(Sequence::new(8).take(17), together);
    }
}
