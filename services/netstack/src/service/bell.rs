//! Doorbells of drivers and clients.

use schema::ipc_capnp::signaller;

use crate::doorbell::Doorbell;

/// A signaller as a doorbell.
pub struct ClientBell(pub signaller::Client);

impl Doorbell for ClientBell {
    fn ring(&self) {
        rt::ring_doorbell(&self.0);
    }
}
