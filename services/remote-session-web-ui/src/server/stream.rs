//! The byte stream under a connection.

/// What reading gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Nothing yet.
    Pending,
    /// The peer has finished its direction.
    End,
    /// The connection was reset, or whoever carries it is gone or out of order.
    Broken,
}

/// What writing gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// So many bytes; 0 when the stream is full.
    Bytes(usize),
    /// The connection was reset, or whoever carries it is gone or out of order.
    Broken,
}

/// What a connection sleeps for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Bytes to read.
    Readable,
    /// Room to write.
    Writable,
    /// Nothing: it has its next turn anyway.
    Nothing,
}

/// A connection's bytes in both directions. Nothing blocks; dropping it ends the connection.
pub trait ByteStream {
    /// Takes bytes that have arrived. `into` is not empty.
    fn read(&mut self, into: &mut [u8]) -> Received;

    /// Hands bytes over to be sent.
    fn write(&mut self, bytes: &[u8]) -> Written;

    /// Ends this side's direction behind what was written. Idempotent.
    fn finish(&mut self);

    /// Tells the peer of what was done, asks to be woken for `interest`, then looks again: false when it has come in the
    /// meantime.
    fn arm(&mut self, interest: Interest) -> bool;
}
