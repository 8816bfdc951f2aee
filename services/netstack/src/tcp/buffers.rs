//! Memory of TCP connections: two sizes, and a store of sockets that are used again.
//!
//! The first connections get buffers that fill a fast path; when those are all in use, further ones get small buffers, so
//! that many idle connections cost little. What one connection costs, in KiB:
//!
//! | size | receive buffer | send buffer | stream to client | stream from client | together | connections | all |
//! |---|---|---|---|---|---|---|---|
//! | large | 64 | 128 | 64 | 64 | 324 | 24 | 7776 |
//! | small | 4 | 8 | 4 | 8 | 28 | 168 | 4704 |
//!
//! (with one page for each stream, whose header does not fit beside powers of two). A listener keeps the memory of some streams
//! for its next connections, see `service::stream_memory`. Smaller buffers make stack, client and peer wait for each other in
//! bulk transfers: with half of all these a large connection took 1.4 times as long.
//!
//! The window that a peer sees is the receive buffer: while the client keeps reading it is emptied at once, and when
//! the client stalls it fills and the window closes. It is a little less than what can be told without scaling: a NIC that merges
//! segments needs buffers of its size (see [`ring::frame`]).
//!
//! A socket's buffers are cleared by the allocator and never again: smoltcp only reads what it wrote in the same
//! connection, and no other process sees them. Sockets are kept for the next connection because clearing 192 KiB would cost more
//! than all the rest of a short connection.

use alloc::{vec, vec::Vec};

use ring::stream::StreamLayout;
use smoltcp::{
    iface::{SocketHandle, SocketSet, SocketStorage},
    socket::{
        Socket,
        tcp::{self, CongestionControl},
    },
};

use crate::{limits, time::span};

/// How much memory a connection has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// For connections that shall be fast.
    Large,
    /// For all others.
    Small,
}

impl Size {
    /// Bytes of smoltcp's receive buffer.
    const fn receive_bytes(self) -> usize {
        match self {
            Self::Large => ring::frame::LARGEST_WINDOW as usize,
            Self::Small => 4 << 10,
        }
    }

    /// Bytes of smoltcp's send buffer.
    const fn send_bytes(self) -> usize {
        match self {
            Self::Large => 128 << 10,
            Self::Small => 8 << 10,
        }
    }

    /// The byte rings shared with the client.
    pub const fn stream_layout(self) -> StreamLayout {
        let layout = match self {
            Self::Large => StreamLayout::new(64 << 10, 64 << 10),
            Self::Small => StreamLayout::new(4 << 10, 8 << 10),
        };
        match layout {
            Ok(layout) => layout,
            Err(_) => panic!("the capacities are powers of two in range"),
        }
    }
}

// Drivers whose device merges segments rely on it; see `Nic.open`.
const _: () = assert!(Size::Large.receive_bytes() <= ring::frame::LARGEST_WINDOW as usize);

// Evaluated when the crate is built, so the panic above cannot happen later.
const _: StreamLayout = Size::Large.stream_layout();
const _: StreamLayout = Size::Small.stream_layout();

/// One smoltcp socket on a socket set of its own, so that polling touches no other.
pub struct SocketCell {
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    size: Size,
}

impl SocketCell {
    /// Allocates one; `None` when there is not memory enough.
    fn new(size: Size) -> Option<Self> {
        let socket = tcp::Socket::new(
            tcp::SocketBuffer::new(buffer(size.receive_bytes())?),
            tcp::SocketBuffer::new(buffer(size.send_bytes())?),
        );
        let mut sockets = SocketSet::new(vec![SocketStorage::EMPTY]);
        let handle = sockets.add(socket);
        Some(Self { sockets, handle, size })
    }

    /// Whether its buffers are of the larger size, of which there are few.
    pub fn is_large(&self) -> bool {
        matches!(self.size, Size::Large)
    }

    /// The socket.
    pub fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// The socket, to look at.
    #[inline]
    pub fn socket_ref(&self) -> &tcp::Socket<'static> {
        self.sockets.get(self.handle)
    }

    /// The set to poll the interface with.
    pub fn sockets(&mut self) -> &mut SocketSet<'static> {
        &mut self.sockets
    }

    /// The set, to look at.
    pub fn sockets_ref(&self) -> &SocketSet<'static> {
        &self.sockets
    }

    /// How much memory it has.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Sets what differs between a handshake and an open connection, and what smoltcp does not set back itself.
    ///
    /// Nagle's algorithm is off: clients hand bytes over in batches through the stream, so small segments are rare, and with a
    /// peer that delays its ACKs Nagle would hold the end of each answer back for up to 200 ms. ACKs are
    /// delayed by smoltcp's 10 ms at most, so that an answer that comes at once carries them.
    fn prepare(&mut self) {
        // Out and in again: the set remembers which neighbour the last connection waited for.
        let socket = self.sockets.remove(self.handle);
        self.handle = match socket {
            Socket::Tcp(socket) => self.sockets.add(socket),
            // A cell holds nothing else.
            _ => self.handle,
        };
        let socket = self.socket();
        socket.set_nagle_enabled(false);
        socket.set_congestion_control(CongestionControl::Reno);
        socket.set_timeout(Some(span(limits::HANDSHAKE_TIMEOUT)));
        // Before the connection: smoltcp probes one that is idle at once when this is set.
        socket.set_keep_alive(Some(span(limits::KEEP_ALIVE)));
    }
}

fn buffer(bytes: usize) -> Option<Vec<u8>> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(bytes).ok()?;
    buffer.resize(bytes, 0);
    Some(buffer)
}

/// Makes sockets and takes them back.
pub struct Store {
    large_in_use: usize,
    large: Vec<SocketCell>,
    small: Vec<SocketCell>,
}

impl Store {
    /// Large sockets that can be in use at a time.
    pub const LARGE: usize = 24;
    /// Small sockets that are kept while unused; more are freed.
    const KEPT_SMALL: usize = 32;

    /// An empty store.
    pub fn new() -> Self {
        Self { large_in_use: 0, large: Vec::new(), small: Vec::new() }
    }

    /// Takes a closed socket, large as long as there are any. `None` when there is not memory enough.
    pub fn take(&mut self) -> Option<SocketCell> {
        let mut cell = if self.large_in_use < Self::LARGE {
            let cell = self.large.pop().or_else(|| SocketCell::new(Size::Large))?;
            self.large_in_use += 1;
            cell
        } else {
            self.small.pop().or_else(|| SocketCell::new(Size::Small))?
        };
        cell.prepare();
        Some(cell)
    }

    /// Whether all large sockets are in use.
    pub fn is_out_of_large(&self) -> bool {
        self.large_in_use >= Self::LARGE
    }

    /// Takes a socket back, whatever state it is in.
    pub fn give_back(&mut self, mut cell: SocketCell) {
        // A socket that is closed forgets its peer at the next `listen` or `connect`, before it is polled again.
        cell.socket().abort();
        match cell.size {
            Size::Large => {
                self.large_in_use = self.large_in_use.saturating_sub(1);
                self.large.push(cell);
            }
            Size::Small if self.small.len() < Self::KEPT_SMALL => self.small.push(cell),
            Size::Small => {}
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_sockets_are_bounded_and_come_back() {
        let mut store = Store::new();
        let mut cells: Vec<_> = (0..Store::LARGE + 1).map(|_| store.take().unwrap()).collect();
        assert_eq!(cells.pop().unwrap().size(), Size::Small);
        assert!(cells.iter().all(|cell| cell.size() == Size::Large));
        store.give_back(cells.pop().unwrap());
        assert_eq!(store.take().unwrap().size(), Size::Large);
    }

    #[test]
    fn a_used_socket_listens_again() {
        let mut store = Store::new();
        let mut cell = store.take().unwrap();
        cell.socket().listen(80).unwrap();
        store.give_back(cell);
        let mut cell = store.take().unwrap();
        assert!(cell.socket().listen(81).is_ok());
    }
}
