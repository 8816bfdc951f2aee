//! All connections together, over any kind of byte stream and with the time as an argument.

mod handler;
mod stream;
mod table;

#[cfg(test)]
pub mod fake;
#[cfg(test)]
mod tests;

pub use handler::{Answer, Handler};
pub use stream::{ByteStream, Interest, Received, Written};
pub use table::{Server, Wake};
