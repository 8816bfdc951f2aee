//! Why the kernel refuses a request.

use abi::Status;

/// One of Cap'n Proto's four kinds of errors and a short reason for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// The kind; never [`Status::Ok`].
    pub status: Status,
    /// What was wrong.
    pub reason: &'static str,
}

impl Error {
    /// The request is wrong or cannot be done.
    pub const fn failed(reason: &'static str) -> Self {
        Self { status: Status::Failed, reason }
    }

    /// A limit has been reached.
    pub const fn overloaded(reason: &'static str) -> Self {
        Self { status: Status::Overloaded, reason }
    }

    /// Who would answer is gone, or the capability was revoked.
    pub const fn disconnected(reason: &'static str) -> Self {
        Self { status: Status::Disconnected, reason }
    }

    /// There is no such interface or method.
    pub const fn unimplemented(reason: &'static str) -> Self {
        Self { status: Status::Unimplemented, reason }
    }

    /// The handle names nothing.
    pub const BAD_HANDLE: Self = Self::failed("bad handle");
    /// The handle names another kind of object than the operation is for.
    pub const WRONG_OBJECT: Self = Self::failed("the capability is of the wrong kind");
    /// The handle table is full.
    pub const HANDLES_FULL: Self = Self::overloaded("handle quota used up");
    /// The message cannot be read.
    pub const BAD_MESSAGE: Self = Self::failed("malformed message");
    /// The server is gone.
    pub const SERVER_GONE: Self = Self::disconnected("the server has gone");
    /// The facet was revoked.
    pub const REVOKED: Self = Self::disconnected("the capability was revoked");
    /// The interface has no such method.
    pub const NO_METHOD: Self = Self::unimplemented("no such method");
}

impl From<capnp::Error> for Error {
    fn from(_: capnp::Error) -> Self {
        Self::BAD_MESSAGE
    }
}

impl From<capnp::NotInSchema> for Error {
    fn from(_: capnp::NotInSchema) -> Self {
        Self::failed("unknown enumerant")
    }
}
