//! A TCP connection of the network stack as a byte stream.

use alloc::sync::Arc;

use crate::server::{ByteStream, Interest, Received, Written};
use capnp::Error;
use ring::Sleep;
use ring::stream::{End, ReaderState, StreamWants, open};
use rt::{
    Doorbell,
    memory::{Mapping, Protection},
};
use schema::{
    ipc_capnp::signaller,
    memory_capnp::memory_object,
    network_capnp::{tcp_listener, tcp_socket},
};

/// Most pages of a stream that are mapped: far more than the rings that the stack makes, and a bound on what a
/// broken one can make this process spend on page tables.
const MAXIMUM_PAGES: u32 = 256;

/// Both rings of one connection. Dropping it before [`finish`](ByteStream::finish) resets the connection.
pub struct Stream {
    end: End<Mapping>,
    doorbell: Doorbell,
    _socket: tcp_socket::Client,
}

impl Stream {
    /// The next connection of a listener, which rings `doorbell`.
    pub async fn accept(listener: &tcp_listener::Client, doorbell: signaller::Client) -> Result<Self, Error> {
        let mut request = listener.accept_request();
        request.get().set_doorbell(doorbell);
        let response = request.send().promise.await?;
        let accepted = response.get()?;
        let (memory, pages) = (accepted.get_stream()?, accepted.get_pages());
        Self::open(accepted.get_socket()?, &memory, pages, accepted.get_doorbell()?).await
    }

    /// Maps the stream of an accepted connection.
    async fn open(
        socket: tcp_socket::Client,
        memory: &memory_object::Client,
        pages: u32,
        doorbell: signaller::Client,
    ) -> Result<Self, Error> {
        if pages > MAXIMUM_PAGES {
            return Err(Error::failed(alloc::format!("a stream of {pages} pages")));
        }
        let mapping = Mapping::new(memory, 0, pages, Protection::ReadWrite).await?;
        // One thread uses it; the rings count references atomically because other programs have more.
        #[expect(clippy::arc_with_non_send_sync)]
        let end = open(&Arc::new(mapping)).map_err(|error| Error::failed(alloc::format!("{error}")))?;
        Ok(Self { end, doorbell: doorbell.into(), _socket: socket })
    }

    #[inline]
    fn tell_peer(&mut self) {
        if self.end.must_ring() {
            self.doorbell.ring();
        }
    }
}

impl ByteStream for Stream {
    #[inline]
    fn read(&mut self, into: &mut [u8]) -> Received {
        match self.end.reader.read(into) {
            Ok(0) => match self.end.reader.state() {
                Ok(ReaderState::Open) => Received::Pending,
                Ok(ReaderState::AtEnd) => Received::End,
                Err(_) => Received::Broken,
            },
            Ok(count) => Received::Bytes(count),
            Err(_) => Received::Broken,
        }
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Written {
        self.end.writer.write(bytes).map_or(Written::Broken, Written::Bytes)
    }

    fn finish(&mut self) {
        self.end.writer.finish();
        self.tell_peer();
    }

    #[inline]
    fn arm(&mut self, interest: Interest) -> bool {
        // The one place where a turn ends that has moved bytes.
        self.tell_peer();
        let wants = match interest {
            Interest::Readable => StreamWants::Bytes,
            Interest::Writable => StreamWants::Space,
            Interest::Nothing => return true,
        };
        self.end.arm(wants) == Sleep::Allowed
    }
}
