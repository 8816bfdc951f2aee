//! Moving the bytes of one connection between smoltcp's buffers and the stream shared with the client: one copy each way.

use ring::{
    PeerFault, SharedMemory,
    stream::{End, ReaderState, StreamError, StreamWants},
};
use smoltcp::socket::tcp::{RecvError, Socket, State};

/// What the client has said of its own direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientDirection {
    /// It may write more, or has written what smoltcp has no room for yet.
    Open,
    /// It finished, and everything that it wrote is in smoltcp's hands, followed by a FIN.
    Finished,
    /// It reset the connection.
    Reset,
}

/// Whether [`to_client`] would find anything: bytes, or the end of them.
pub fn has_received(socket: &Socket<'_>) -> bool {
    socket.can_recv() || !socket.may_recv()
}

/// Moves received bytes, and then the end of them, to the client. An error is the client's fault, and the connection
/// is to be reset.
pub fn to_client<M: SharedMemory>(socket: &mut Socket<'_>, end: &mut End<M>) -> Result<(), PeerFault> {
    while has_received(socket) {
        let moved = socket.recv(|bytes| match end.writer.write(bytes) {
            Ok(count) => (count, Ok(count)),
            // Nobody reads any more. Taken all the same, so that the other direction and the end still get through.
            Err(StreamError::Stopped | StreamError::Finished | StreamError::Reset) => {
                (bytes.len(), Ok(bytes.len()))
            }
            Err(StreamError::Peer(fault)) => (0, Err(fault)),
        });
        match moved {
            // The ring is full.
            Ok(Ok(0)) => break,
            Ok(Ok(_)) => {}
            Ok(Err(fault)) => return Err(fault),
            Err(RecvError::Finished) => {
                end.writer.finish();
                break;
            }
            Err(RecvError::InvalidState) => {
                end.writer.reset();
                break;
            }
        }
    }
    Ok(())
}

/// Moves the client's bytes, and then the end of them, to the peer. Errors as for [`to_client`].
pub fn from_client<M: SharedMemory>(
    socket: &mut Socket<'_>,
    end: &mut End<M>,
) -> Result<ClientDirection, PeerFault> {
    let state = loop {
        if !socket.can_send() || end.reader.available() == Ok(0) {
            break end.reader.state();
        }
        let moved = end.reader.read_with(|bytes| {
            let count = socket.send_slice(bytes).unwrap_or(0);
            (count, count)
        });
        match moved {
            Ok(0) => break end.reader.state(),
            Ok(_) => {}
            Err(error) => break Err(error),
        }
    };
    let direction = match state {
        Ok(ReaderState::Open) => ClientDirection::Open,
        Ok(ReaderState::AtEnd) => {
            socket.close();
            ClientDirection::Finished
        }
        // What was there when we stopped reading does not matter any more.
        Err(StreamError::Stopped | StreamError::Finished) => ClientDirection::Finished,
        Err(StreamError::Reset) => {
            socket.abort();
            ClientDirection::Reset
        }
        Err(StreamError::Peer(fault)) => return Err(fault),
    };
    if matches!(socket.state(), State::Closed | State::TimeWait) && direction == ClientDirection::Open {
        end.reader.stop();
    }
    Ok(direction)
}

/// What the stack waits for on the client's side; `None` when nothing that the client does can matter.
pub fn wants(socket: &Socket<'_>, direction: ClientDirection) -> Option<StreamWants> {
    // Bytes that wait for room in smoltcp's buffer are fetched when an ACK makes some.
    let bytes = direction == ClientDirection::Open && socket.can_send();
    let space = socket.recv_queue() != 0;
    match (bytes, space) {
        (true, true) => Some(StreamWants::BytesOrSpace),
        (true, false) => Some(StreamWants::Bytes),
        (false, true) => Some(StreamWants::Space),
        (false, false) => None,
    }
}
