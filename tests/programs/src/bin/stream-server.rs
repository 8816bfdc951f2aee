//! Streams bytes both ways on TCP port 9000, so that a client can see whether one connection lives through what happens
//! to the driver of the card.
//!
//! A client sends 24 bytes first, little-endian: a seed, how many bytes it wants, how many it will send. The server sends
//! what follows from the seed, and takes what follows from the seed and 1. When both are done it sends the SHA-256 of
//! what it got, and closes. What it gets wrong is logged as `stream: FAILED`, and ends the connection.
//!
//! | argument | meaning |
//! |---|---|
//! | pause-microseconds | after each turn of at most 64 KiB; 0 by default |
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::{format, rc::Rc, sync::Arc, vec};
use capnp::{Error, ErrorKind};
use core::{
    cell::Cell,
    convert::Infallible,
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
    time::Duration,
};
use ring::{
    Sleep,
    stream::{End, ReaderState, StreamWants, open},
};
use rt::{
    Doorbell, Environment, Signal,
    memory::{Mapping, Protection},
};
use schema::network_capnp::{network_manager, tcp_listener, tcp_socket};
use sha2::{Digest as _, Sha256};
use tasks::Event;
use testing::{progress::Progress, stream::Sequence};

rt::program!(run);

const PORT: u16 = 9000;

/// Connections that may wait.
const BACKLOG: u16 = 4;

/// Bytes of a request.
const REQUEST: usize = 24;

/// Bytes that are moved each way before others have their turn.
const TURN: u64 = 64 << 10;

/// Most pages of a stream.
const MAXIMUM_PAGES: u32 = 256;

/// Before another try.
const PAUSE: Duration = Duration::from_millis(20);

async fn run(environment: Environment) -> Result<(), Error> {
    let pause = environment.argument("pause-microseconds").map_or(Ok(0), str::parse);
    let pause = pause.map_err(|_| Error::failed("pause-microseconds is no number".into()))?;
    let pause = Duration::from_micros(pause);
    let progress = Progress::new();
    progress.export(&environment).await;
    let mut network: network_manager::Client = environment.grant("network")?;
    loop {
        let Err(error) = listen(&network, &progress, pause).await;
        log::warn!("stream: no more connections: {error}");
        rt::sleep(PAUSE).await;
        if error.kind == ErrorKind::Disconnected {
            network = environment.reacquire("network").await?;
        }
    }
}

async fn listen(
    network: &network_manager::Client,
    progress: &Rc<Progress<2>>,
    pause: Duration,
) -> Result<Infallible, Error> {
    let mut request = network.listen_tcp_request();
    request.get().set_port(PORT);
    request.get().set_backlog(BACKLOG);
    let listener = request.send().promise.await?.get()?.get_listener()?;
    log::info!("stream: listening on port {PORT}");
    // Connections end with their network stack: nobody rings for one whose other end is gone.
    let stack = Rc::new(Stack::default());
    let _gone = Gone(Rc::clone(&stack));
    loop {
        let connection = Connection::accept(&listener).await?;
        let (progress, stack) = (Rc::clone(progress), Rc::clone(&stack));
        progress.begin_session();
        rt::spawn(async move {
            let mut serve = pin!(connection.serve(&progress, pause));
            let mut gone = pin!(stack.changed.until(|| stack.gone.get().then_some(())));
            let ended = poll_fn(|context| match serve.as_mut().poll(context) {
                Poll::Ready(result) => Poll::Ready(result),
                Poll::Pending => gone
                    .as_mut()
                    .poll(context)
                    .map(|()| Err(Error::disconnected("the network stack is gone".into()))),
            });
            match ended.await {
                Ok(()) => log::info!("stream: done"),
                Err(error) => log::warn!("stream: ended: {error}"),
            }
        });
    }
}

/// The network stack that connections came from.
#[derive(Default)]
struct Stack {
    gone: Cell<bool>,
    changed: Event,
}

/// Says that a stack is gone, when it is dropped.
struct Gone(Rc<Stack>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.gone.set(true);
        self.0.changed.notify();
    }
}

/// One connection. Dropping it resets what was not finished.
struct Connection {
    end: End<Mapping>,
    bell: Signal,
    doorbell: Doorbell,
    _socket: tcp_socket::Client,
}

impl Connection {
    async fn accept(listener: &tcp_listener::Client) -> Result<Self, Error> {
        let bell = Signal::new().await?;
        let mut request = listener.accept_request();
        request.get().set_doorbell(bell.signaller());
        let response = request.send().promise.await?;
        let accepted = response.get()?;
        let memory = accepted.get_stream()?;
        let pages = accepted.get_pages();
        if pages > MAXIMUM_PAGES {
            return Err(Error::failed(format!("a stream of {pages} pages")));
        }
        let mapping = Mapping::new(&memory, 0, pages, Protection::ReadWrite).await?;
        // One thread uses it; the rings count references atomically because other programs have more.
        #[expect(clippy::arc_with_non_send_sync)]
        let end = open(&Arc::new(mapping)).map_err(|error| Error::failed(format!("{error}")))?;
        Ok(Self { end, bell, doorbell: accepted.get_doorbell()?.into(), _socket: accepted.get_socket()? })
    }

    /// Rings the peer for what was moved, and sleeps until there is more to do.
    async fn rest(&mut self, wants: StreamWants) {
        if self.end.must_ring() {
            self.doorbell.ring();
        }
        if self.end.arm(wants) == Sleep::Allowed {
            self.bell.wait().await;
        }
    }

    /// Reads the whole request.
    async fn request(&mut self) -> Result<[u64; 3], Error> {
        let mut bytes = [0; REQUEST];
        let mut length = 0;
        while length < REQUEST {
            let count = self.end.reader.read(bytes.get_mut(length..).unwrap_or_default()).map_err(broken)?;
            length += count;
            if count == 0 {
                if self.end.reader.state().map_err(broken)? == ReaderState::AtEnd {
                    return Err(Error::failed("no whole request".into()));
                }
                self.rest(StreamWants::Bytes).await;
            }
        }
        let (words, _) = bytes.as_chunks::<8>();
        match words {
            [seed, down, up] => Ok([seed, down, up].map(|word| u64::from_le_bytes(*word))),
            _ => Err(Error::failed("no whole request".into())),
        }
    }

    async fn serve(mut self, progress: &Progress<2>, pause: Duration) -> Result<(), Error> {
        let [seed, down, up] = self.request().await?;
        let (mut sent, mut got) = (Sequence::new(seed), Sequence::new(seed.wrapping_add(1)));
        let mut hash = Sha256::new();
        let mut part = vec![0; 4096];
        while sent.position() < down || got.position() < up {
            let before = [sent.position(), got.position()];
            let turn = sent.position().saturating_add(TURN).min(down);
            while sent.position() < turn {
                let left = turn - sent.position();
                let count = self.end.writer.write_with(|space| {
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(space.len());
                    sent.fill(space.get_mut(..length).unwrap_or_default());
                    (length, length)
                });
                if count.map_err(broken)? == 0 {
                    break;
                }
            }
            let turn = got.position().saturating_add(TURN).min(up);
            while got.position() < turn {
                let left = usize::try_from(turn - got.position()).unwrap_or(usize::MAX).min(part.len());
                let bytes = part.get_mut(..left).unwrap_or_default();
                let count = self.end.reader.read(bytes).map_err(broken)?;
                let bytes = bytes.get_mut(..count).unwrap_or_default();
                if let Err(place) = got.check(bytes) {
                    let why = format!("stream: FAILED: a byte from {place} on is wrong");
                    log::error!("{why}");
                    progress.fail(&why);
                    return Err(Error::failed(why));
                }
                hash.update(bytes);
                if count == 0 {
                    break;
                }
            }
            let moved = [sent.position() - before[0], got.position() - before[1]];
            progress.add(moved);
            if got.position() < up && self.end.reader.state().map_err(broken)? == ReaderState::AtEnd {
                return Err(Error::failed("the client ended too early".into()));
            }
            if moved == [0, 0] {
                let wants = match (got.position() < up, sent.position() < down) {
                    (true, true) => StreamWants::BytesOrSpace,
                    (true, false) => StreamWants::Bytes,
                    (false, _) => StreamWants::Space,
                };
                self.rest(wants).await;
            } else {
                if self.end.must_ring() {
                    self.doorbell.ring();
                }
                if pause.is_zero() { rt::yield_now().await } else { rt::sleep(pause).await }
            }
        }
        self.finish(&hash.finalize()).await
    }

    /// Sends the last bytes, and waits until the peer has closed too.
    async fn finish(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let count = self.end.writer.write(bytes).map_err(broken)?;
            bytes = bytes.get(count..).unwrap_or_default();
            if count == 0 {
                self.rest(StreamWants::Space).await;
            }
        }
        self.end.writer.finish();
        while self.end.reader.state().map_err(broken)? != ReaderState::AtEnd {
            // What comes behind the end is nobody's.
            let mut rest = [0; 64];
            if self.end.reader.read(&mut rest).map_err(broken)? == 0 {
                self.rest(StreamWants::Bytes).await;
            }
        }
        if self.end.must_ring() {
            self.doorbell.ring();
        }
        Ok(())
    }
}

fn broken(error: ring::stream::StreamError) -> Error {
    Error::failed(format!("{error}"))
}
