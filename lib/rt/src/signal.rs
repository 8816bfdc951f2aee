//! Bits of this thread's notification.
use capnp::Error;
use schema::ipc_capnp::signaller;

/// One bit of this thread's notification; freed on drop.
pub struct Signal {
    bit: u32,
}

impl Signal {
    /// Takes a free bit. Errors: `overloaded` when none is left.
    pub async fn new() -> Result<Self, Error> {
        unimplemented!()
    }

    /// The capability that sets this bit; to be handed out.
    pub fn signaller(&self) -> signaller::Client {
        let _ = self.bit;
        unimplemented!()
    }

    /// Completes when the bit was set since the last wait.
    pub async fn wait(&self) {
        unimplemented!()
    }

    /// Whether the bit was set since the last wait; takes it.
    pub fn try_take(&self) -> bool {
        unimplemented!()
    }
}

/// Sets the bits of a signaller by the system call, without a message.
pub fn ring_doorbell(_signaller: &signaller::Client) {
    unimplemented!()
}
