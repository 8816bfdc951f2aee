//! Calls to the kernel objects that the runtime itself needs, without waiting and without the heap.
//!
//! Kernel objects answer at once, so these are the synchronous system call, on the thread's message
//! buffer. Their parameters are encoded here by hand: they are needed before there is a heap, and by the heap.
//! The tests compare each with what the generated code writes.
use abi::{MessageInfo, Status};
use capnp::{Error, traits::HasTypeId};
use schema::{
    ipc_capnp::{endpoint, notification},
    memory_capnp::{Protection, address_space},
    process_capnp::own_process,
    system_capnp::log_writer,
};

use crate::{buffer::Buffer, error, runtime::runtime, syscall};

/// Longest text that [`log()`] writes.
pub(crate) const MAXIMUM_LINE: usize = 1024;

/// One method of a kernel object, and its parameters' shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Method {
    pub interface: u64,
    pub ordinal: u16,
}

macro_rules! method {
    ($interface:ident, $ordinal:literal) => {
        Method { interface: $interface::Client::TYPE_ID, ordinal: $ordinal }
    };
}

pub(crate) const OWN_ENDPOINT: Method = method!(own_process, 0);
pub(crate) const OWN_NOTIFICATION: Method = method!(own_process, 1);
pub(crate) const OWN_CALL: Method = method!(own_process, 2);
pub(crate) const OWN_MEMORY: Method = method!(own_process, 3);
pub(crate) const OWN_ADDRESS_SPACE: Method = method!(own_process, 4);
pub(crate) const MAP: Method = method!(address_space, 0);
pub(crate) const UNMAP: Method = method!(address_space, 1);
pub(crate) const MINT: Method = method!(endpoint, 0);
pub(crate) const SIGNALLER: Method = method!(notification, 0);
pub(crate) const WRITE_LINE: Method = method!(log_writer, 0);

/// A struct pointer to what follows it directly.
const fn root(data: u64, pointers: u64) -> u64 {
    data << 32 | pointers << 48
}

/// Parameters without fields.
pub(crate) const fn no_fields() -> [u64; 1] {
    [root(0, 0)]
}

/// Parameters of `memory (pages :UInt32)`.
pub(crate) const fn memory_fields(pages: u32) -> [u64; 2] {
    [root(1, 0), pages as u64]
}

/// Parameters of `map (memory :AnyPointer, offset :UInt32, pages :UInt32, address :UInt64,
/// protection :Protection)`; the memory is the first capability.
pub(crate) fn map_fields(offset: u32, pages: u32, address: u64, protection: Protection) -> [u64; 5] {
    const FIRST_CAPABILITY: u64 = 3;
    let counts = u64::from(offset) | u64::from(pages) << 32;
    [root(3, 1), counts, address, u64::from(protection as u16), FIRST_CAPABILITY]
}

/// Parameters of one `UInt64`: `unmap`, `mint` and `signaller`.
pub(crate) const fn word_field(value: u64) -> [u64; 2] {
    [root(1, 0), value]
}

/// Parameters of `call (bits :UInt64, buffer :UInt64)`.
pub(crate) const fn call_fields(bits: u64, buffer: u64) -> [u64; 3] {
    [root(2, 0), bits, buffer]
}

/// Words of the parameters of `write (text :Text)`, before the text itself.
pub(crate) fn text_fields(bytes: usize) -> [u64; 2] {
    const LIST: u64 = 1;
    const BYTES: u64 = 2;
    // The text ends with a zero byte that counts.
    [root(0, 1), LIST | BYTES << 32 | (bytes as u64 + 1) << 35]
}

/// New zeroed memory, as a handle.
pub(crate) fn memory(pages: u32) -> Result<u32, Error> {
    invoke(runtime().own_process.get(), OWN_MEMORY, &memory_fields(pages), &[])
}

/// Maps memory into this process.
pub(crate) fn map(
    memory: u32,
    offset: u32,
    pages: u32,
    address: u64,
    protection: Protection,
) -> Result<(), Error> {
    let fields = map_fields(offset, pages, address, protection);
    invoke(address_space()?, MAP, &fields, &[memory]).map(drop)
}

/// Removes a mapping.
pub(crate) fn unmap(address: u64) -> Result<(), Error> {
    invoke(address_space()?, UNMAP, &word_field(address), &[]).map(drop)
}

/// A Call whose page is mapped at `buffer` and whose completion sets `bits`.
pub(crate) fn call(bits: u64, buffer: u64) -> Result<u32, Error> {
    invoke(runtime().own_process.get(), OWN_CALL, &call_fields(bits, buffer), &[])
}

/// A new endpoint.
pub(crate) fn endpoint() -> Result<u32, Error> {
    invoke(runtime().own_process.get(), OWN_ENDPOINT, &no_fields(), &[])
}

/// A facet of an endpoint.
pub(crate) fn mint(endpoint: u32, badge: u64) -> Result<u32, Error> {
    invoke(endpoint, MINT, &word_field(badge), &[])
}

/// A signaller of bits of this thread's notification.
pub(crate) fn signaller(bits: u64) -> Result<u32, Error> {
    let mut notification = runtime().notification.get();
    if notification == abi::NULL_HANDLE {
        notification = invoke(runtime().own_process.get(), OWN_NOTIFICATION, &no_fields(), &[])?;
        runtime().notification.set(notification);
    }
    invoke(notification, SIGNALLER, &word_field(bits), &[])
}

fn address_space() -> Result<u32, Error> {
    let known = runtime().address_space.get();
    if known != abi::NULL_HANDLE {
        return Ok(known);
    }
    let space = invoke(runtime().own_process.get(), OWN_ADDRESS_SPACE, &no_fields(), &[])?;
    runtime().address_space.set(space);
    Ok(space)
}

/// Writes one line to the log, if there is one; at most [`MAXIMUM_LINE`] bytes.
pub(crate) fn log(text: &str) {
    let (writer, Some(buffer)) = (runtime().log_writer.get(), runtime().buffer.get()) else { return };
    if writer == abi::NULL_HANDLE {
        return;
    }
    runtime().pending.flush();
    let text = &text[..text.floor_char_boundary(MAXIMUM_LINE)];
    let fields = text_fields(text.len());
    buffer.write_words(0, &fields);
    let mut words = fields.len();
    // One chunk more than the text has, for the zero byte behind it.
    for start in (0..=text.len()).step_by(size_of::<u64>()) {
        let mut word = [0; size_of::<u64>()];
        for (to, from) in word.iter_mut().zip(text.as_bytes()[start..].iter()) {
            *to = *from;
        }
        buffer.write_words(words, &[u64::from_le_bytes(word)]);
        words += 1;
    }
    // A line that cannot be written is lost: there is nowhere else to say so.
    syscall::call(writer, WRITE_LINE.interface, MessageInfo::new(WRITE_LINE.ordinal, words as u16, 0));
}

/// Calls a kernel object; the answer's first capability, or 0 when it has none.
fn invoke(target: u32, method: Method, words: &[u64], capabilities: &[u32]) -> Result<u32, Error> {
    // What is held back goes first, and its message may lie in the buffer.
    runtime().pending.flush();
    let Some(buffer) = runtime().buffer.get() else {
        return Err(Error::failed("the process has no message buffer yet".into()));
    };
    exchange(buffer, target, method, words, capabilities)
        .map_err(|(status, length)| error::with_status(status, error::text(&buffer.read_words(length))))
}

/// [`invoke`] without the heap: an error is its status and the length of the reason in the buffer.
pub(crate) fn exchange(
    buffer: Buffer,
    target: u32,
    method: Method,
    words: &[u64],
    capabilities: &[u32],
) -> Result<u32, (Status, usize)> {
    buffer.write_words(0, words);
    buffer.set_capabilities(capabilities);
    // Both counts are a few.
    let info = MessageInfo::new(method.ordinal, words.len() as u16, capabilities.len() as u8);
    match syscall::call(target, method.interface, info) {
        (Status::Ok, answer) if answer.capabilities() > 0 => Ok(buffer.capabilities()[0]),
        (Status::Ok, _) => Ok(abi::NULL_HANDLE),
        (status, answer) => Err((status, answer.words())),
    }
}
