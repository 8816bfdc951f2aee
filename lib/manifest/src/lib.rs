//! Boot manifests as checked values: the rules that each must keep, and the picture of who holds what.
//!
//! A manifest arrives as a Cap'n Proto message of `schema/manifest.capnp` and is believed nothing: [`read`] decodes
//! it within fixed [`limits`], then checks every rule, and returns either a [`Manifest`] whose references all
//! resolve or the list of every [`Problem`] with the entry and the value it lies in. The host tool does
//! this before a manifest is packed; init does the same again at boot and fails closed.
//!
//! ```text
//!   message --decode--> Manifest --rules--> Manifest --graph--> SVG
//!              |                    |
//!              +----- problems -----+
//! ```
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod decode;
pub mod graph;
pub mod limits;
mod model;
mod problem;
mod rules;

pub use decode::{decode, message};
pub use model::{
    Argument, DeviceMatch, DmaMode, Entry, Export, Fate, Grant, KernelObject, Manifest, PortRange, Presence,
    Quotas, RestartKind, RestartPolicy, Source, SupervisorPart,
};
pub use problem::{Fault, Place, Problem};
pub use rules::{Surroundings, check};

use alloc::vec::Vec;
use schema::manifest_capnp;

/// Decodes a manifest and checks every rule.
///
/// # Errors
/// Everything that is wrong with it, in the manifest's order. A message that cannot be decoded in full is not checked further.
pub fn read(
    reader: manifest_capnp::manifest::Reader<'_>,
    surroundings: &Surroundings<'_>,
) -> Result<Manifest, Vec<Problem>> {
    let manifest = decode(reader)?;
    let problems = check(&manifest, surroundings);
    if problems.is_empty() { Ok(manifest) } else { Err(problems) }
}

/// [`read`] for a message with a segment table, as `capnp eval --binary` prints it.
///
/// # Errors
/// As for [`read`].
pub fn read_message(bytes: &[u8], surroundings: &Surroundings<'_>) -> Result<Manifest, Vec<Problem>> {
    let malformed = |error: capnp::Error| alloc::vec![Problem::of_manifest(Fault::malformed(&error))];
    let reader = message(bytes).map_err(malformed)?;
    read(reader.get_root().map_err(malformed)?, surroundings)
}
