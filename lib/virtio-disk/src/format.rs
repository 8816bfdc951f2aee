//! What a kind of disk says and understands.

use block::{Command, Disk, Status};

/// Which part of a command is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The command itself.
    Whole,
    /// The flush behind a write that must be durable.
    Flush,
}

/// What goes with a request's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Nothing.
    None,
    /// The device fills the client's data.
    Fill,
    /// The device reads the client's data.
    Send,
    /// The device reads so many bytes that the driver wrote behind the header.
    Extra(u32),
    /// The device reads so many zeroes; at most a page.
    Zeroes(u32),
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The request is over.
    Over(Status),
    /// It is to be asked for again.
    Again,
}

/// One kind of disk.
pub trait Format {
    /// Bytes of a request's header; at most [`crate::REQUEST_BYTES`].
    const REQUEST: u32;
    /// Bytes of an answer; at most [`crate::RESPONSE_BYTES`].
    const RESPONSE: u32;
    /// Whether the answer comes before data that the device writes.
    const RESPONSE_FIRST: bool;

    /// The disks.
    fn disks(&self) -> &[Disk];

    /// Writes a request: its header, and what the driver itself sends behind it. Errors: the answer at once.
    fn encode(
        &self,
        disk: usize,
        command: &Command,
        step: Step,
        header: &mut [u8],
        extra: &mut [u8],
    ) -> Result<Payload, Status>;

    /// Reads an answer.
    fn decode(&self, response: &[u8]) -> Outcome;
}
