//! Legacy I/O ports, by system calls.
use abi::Status;
use capnp::{Error, capability::FromClientHook};
use schema::device_capnp::io_port;

use crate::{capability, error, syscall};

/// A range of I/O ports; offsets count from its start.
///
/// Errors of all methods: `failed` for what is outside the range, or when the client is not (yet) the
/// kernel's object; `disconnected` when the range was revoked.
pub struct Ports {
    client: io_port::Client,
}

impl Ports {
    /// The range behind `client`.
    pub fn new(client: io_port::Client) -> Self {
        Self { client }
    }

    /// Reads one byte.
    pub fn read_u8(&self, offset: u16) -> Result<u8, Error> {
        // The kernel reads no more than the width.
        self.read(offset, 1).map(|value| value as u8)
    }

    /// Reads two bytes.
    pub fn read_u16(&self, offset: u16) -> Result<u16, Error> {
        // As in `read_u8`.
        self.read(offset, 2).map(|value| value as u16)
    }

    /// Reads four bytes.
    pub fn read_u32(&self, offset: u16) -> Result<u32, Error> {
        self.read(offset, 4)
    }

    /// Writes one byte.
    pub fn write_u8(&self, offset: u16, value: u8) -> Result<(), Error> {
        self.write(offset, 1, u32::from(value))
    }

    /// Writes two bytes.
    pub fn write_u16(&self, offset: u16, value: u16) -> Result<(), Error> {
        self.write(offset, 2, u32::from(value))
    }

    /// Writes four bytes.
    pub fn write_u32(&self, offset: u16, value: u32) -> Result<(), Error> {
        self.write(offset, 4, value)
    }

    fn read(&self, offset: u16, width: u8) -> Result<u32, Error> {
        syscall::port_read(self.handle()?, offset, width).map_err(|status| refused(status, offset, width))
    }

    fn write(&self, offset: u16, width: u8, value: u32) -> Result<(), Error> {
        syscall::port_write(self.handle()?, offset, width, value)
            .map_err(|status| refused(status, offset, width))
    }

    fn handle(&self) -> Result<u32, Error> {
        capability::handle_of(self.client.as_client_hook())?
            .ok_or_else(|| Error::failed("the range of ports has not been opened yet".into()))
    }
}

fn refused(status: Status, offset: u16, width: u8) -> Error {
    error::with_status(status, alloc::format!("port at offset {offset} of width {width}"))
}
