//! Errors between the kernel's [`Status`] and [`capnp::Error`].
use alloc::string::String;

use abi::Status;
use capnp::{Error, ErrorKind};

/// The error for a status and its reason.
pub(crate) fn with_status(status: Status, reason: String) -> Error {
    let kind = match status {
        Status::Overloaded => ErrorKind::Overloaded,
        Status::Disconnected => ErrorKind::Disconnected,
        Status::Unimplemented => ErrorKind::Unimplemented,
        Status::Ok | Status::Failed => ErrorKind::Failed,
    };
    let mut error = Error::from_kind(kind);
    error.extra = reason;
    error
}

/// The status for an error: what is not one of the four kinds is a failure.
pub(crate) fn status_of(error: &Error) -> Status {
    match error.kind {
        ErrorKind::Overloaded => Status::Overloaded,
        ErrorKind::Disconnected => Status::Disconnected,
        ErrorKind::Unimplemented => Status::Unimplemented,
        _ => Status::Failed,
    }
}

/// The reason in words, to be sent with the status.
pub(crate) fn reason(error: &Error) -> String {
    match error.kind {
        ErrorKind::Failed | ErrorKind::Overloaded | ErrorKind::Disconnected | ErrorKind::Unimplemented => {
            error.extra.clone()
        }
        _ => alloc::format!("{error}"),
    }
}

/// The text in the words of an answer that is an error: UTF-8, padded with zero bytes.
pub(crate) fn text(words: &[u64]) -> String {
    let mut bytes = alloc::vec::Vec::with_capacity(size_of_val(words));
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}
