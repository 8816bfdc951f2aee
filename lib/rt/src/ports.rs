//! Legacy I/O ports, by system calls.
use capnp::Error;
use schema::device_capnp::io_port;

/// A range of I/O ports; offsets count from its start.
pub struct Ports {
    client: io_port::Client,
}

impl Ports {
    /// The range behind `client`.
    pub fn new(client: io_port::Client) -> Self {
        Self { client }
    }

    /// Reads one byte.
    pub fn read_u8(&self, _offset: u16) -> Result<u8, Error> {
        let _ = &self.client;
        unimplemented!()
    }

    /// Reads two bytes.
    pub fn read_u16(&self, _offset: u16) -> Result<u16, Error> {
        unimplemented!()
    }

    /// Reads four bytes.
    pub fn read_u32(&self, _offset: u16) -> Result<u32, Error> {
        unimplemented!()
    }

    /// Writes one byte.
    pub fn write_u8(&self, _offset: u16, _value: u8) -> Result<(), Error> {
        unimplemented!()
    }

    /// Writes two bytes.
    pub fn write_u16(&self, _offset: u16, _value: u16) -> Result<(), Error> {
        unimplemented!()
    }

    /// Writes four bytes.
    pub fn write_u32(&self, _offset: u16, _value: u32) -> Result<(), Error> {
        unimplemented!()
    }
}
