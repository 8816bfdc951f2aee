//! After an outage: connections send again at once what the NIC, its driver or the cable took with it.
//!
//! What was under way when a session ended is lost: frames that the driver still held, and the peers' answers to frames that
//! had left. TCP notices by its retransmission timer, and smoltcp's runs for a second at least [RFC 6298 2.4]. But here the
//! moment of the loss is known, so when frames can be sent again, the timers that run are taken to have run out.
//!
//! Rejected: to send copies of the frames that the driver still held. They are no help when the answer was lost, take
//! memory, and come out of memory that a driver could write. Copies of acknowledgements alone, beside this, were tried
//! and changed nothing that could be measured.
//!
//! What a peer sent meanwhile is left to the peer's own timer. Repeated acknowledgements would hurry only peers without
//! selective acknowledgements [RFC 6675 2].

use core::time::Duration;

use ring::SharedMemory;
use smoltcp::{iface::Interface, socket::tcp::State};

use super::Stack;
use crate::{
    device::{LargestCut, Step},
    doorbell::Doorbell,
    network::Mtu,
    resolver::Resolver,
    tcp::buffers::SocketCell,
    time::instant,
};

/// The longest that a retransmission timer runs [RFC 6298 2.5]; smoltcp's `RTTE_MAX_RTO`.
const LONGEST_TIMER: Duration = Duration::from_secs(60);

impl<M: SharedMemory, D: Doorbell> Stack<M, D> {
    /// Has all connections send again, when they are served, what their peers have not acknowledged. Neighbours were
    /// forgotten, and are asked for before a peer needs them: the answer to a segment is lost while its neighbour is unknown.
    pub(super) fn recover(&mut self, now: Duration) {
        self.resolver = Resolver::default();
        for index in 0..self.connections.extent() {
            if let Some(id) = self.connections.id_at(index)
                && let Some(connection) = self.connections.get_mut(id)
            {
                let (peer, sizes) = (connection.key.peer_address, (self.mtu, self.largest_cut));
                run_out::<M>(&mut self.interface, sizes, &mut connection.cell, now);
                self.ask_for(peer, now);
            }
        }
    }
}

/// Lets the retransmission timer of a socket run out, if it runs.
///
/// smoltcp has no call for that. But it looks at the timer in each poll before it sends anything, and changes nothing else
/// in one in which nothing can be sent; so the socket is polled without a sender, at a time when the timer has run out. What
/// else would be over at that time is kept out of it: the patience with a peer, and TIME-WAIT. An aborted socket's RST is to
/// keep its place behind what was sent.
///
/// The connection starts slowly then, with one segment, as after any retransmission timeout [RFC 5681 3.1]; so when nothing
/// was lost, one segment more was sent.
fn run_out<M: SharedMemory>(
    interface: &mut Interface,
    (mtu, largest_cut): (Mtu, LargestCut),
    cell: &mut SocketCell,
    now: Duration,
) {
    let socket = cell.socket();
    if matches!(socket.state(), State::Closed | State::Listen | State::TimeWait) {
        return;
    }
    let timeout = socket.timeout();
    socket.set_timeout(None);
    let mut step = Step::<M> { frame: None, sender: None, mtu, largest_cut };
    let _nothing_was_sent = interface.poll_egress(instant(now + LONGEST_TIMER), &mut step, cell.sockets());
    cell.socket().set_timeout(timeout);
}
