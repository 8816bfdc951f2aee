//! Checks of the kernel from inside, one file for each area.
#![forbid(unsafe_code)]

mod child;
pub mod evidence;
pub mod machine;
pub mod memory;
pub mod messages;
pub mod outside;
pub mod servers;

use crate::raw::{Answer, Call};
use abi::{MessageInfo, Status};
use alloc::{format, string::String};
use capnp::{Error, ErrorKind};
use core::fmt::Debug;
use rt::Environment;
use schema::{memory_capnp::address_space, process_capnp::own_process, test_capnp::echo};

/// What a check that failed saw.
pub type Verdict = Result<(), String>;

/// Where the message buffer of [`Bench::call`] lies: the runtime maps nothing there.
const BUFFER: u64 = 0x2700_0000_0000;

/// Addresses that a check may map at: the runtime maps nothing there.
pub const FREE: u64 = 0x2600_0000_0000;

/// What all checks use.
pub struct Bench {
    /// The process's surroundings.
    pub environment: Environment,
    /// Its rights over itself.
    pub own: own_process::Client,
    /// Its memory.
    pub space: address_space::Client,
    /// A server in another process.
    pub echo: echo::Client,
    /// A Call without the runtime between.
    pub call: Call,
}

impl Bench {
    /// Everything that the manifest grants for checks.
    pub async fn new(environment: Environment) -> Result<Self, Error> {
        let own = environment.own_process();
        let space = own.address_space_request().send().promise.await?.get()?.get_space()?;
        let echo = environment.grant("echo")?;
        let call = Call::new(&own, BUFFER).await?;
        Ok(Self { environment, own, space, echo, call })
    }

    /// Makes a raw call that must be refused.
    pub async fn refused(&self, request: Request<'_>, status: Status, reason: &str) -> Verdict {
        let Request { target, interface, info, words, capabilities } = request;
        let answer = self.call.call(target, interface, info, words, capabilities).await;
        if answer.status == status && answer.reason.contains(reason) {
            Ok(())
        } else {
            Err(format!("{:?} {:?}", answer.status, answer.reason))
        }
    }
}

/// A raw call.
pub struct Request<'a> {
    /// Handle that is called.
    pub target: u32,
    /// Interface.
    pub interface: u64,
    /// Method and counts.
    pub info: MessageInfo,
    /// Segment.
    pub words: &'a [u64],
    /// Handles.
    pub capabilities: &'a [u32],
}

/// A struct pointer to what follows directly: words of data, and pointers.
pub const fn root(data: u64, pointers: u64) -> u64 {
    data << 32 | pointers << 48
}

/// A struct without fields.
pub const NO_FIELDS: &[u64] = &[root(0, 0)];

/// A pointer to the capability with this index.
pub const fn capability(index: u64) -> u64 {
    3 | index << 32
}

/// Whether a result is an error of this kind whose reason contains `reason`.
pub fn fails<T>(result: Result<T, Error>, kind: ErrorKind, reason: &str) -> Verdict {
    match result {
        Ok(_) => Err("it succeeded".into()),
        Err(error) if error.kind == kind && error.extra.contains(reason) => Ok(()),
        Err(error) => Err(format!("{error}")),
    }
}

/// Whether two values are the same.
pub fn same<T: PartialEq + Debug>(seen: T, wanted: T) -> Verdict {
    if seen == wanted { Ok(()) } else { Err(format!("{seen:?} in place of {wanted:?}")) }
}

/// The text of an error that a check did not expect.
pub fn text(error: Error) -> String {
    format!("{error}")
}

/// Whether a raw call succeeded.
pub fn succeeded(answer: &Answer) -> Verdict {
    if answer.status == Status::Ok { Ok(()) } else { Err(format!("{answer:?}")) }
}
