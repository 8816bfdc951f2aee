//! Doorbells of drivers and clients.

use crate::doorbell::Doorbell;

/// A signaller as a doorbell.
pub struct ClientBell(pub rt::Doorbell);

impl Doorbell for ClientBell {
    #[inline]
    fn ring(&self) {
        self.0.ring();
    }
}
