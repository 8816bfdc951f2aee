//! Intel's IOMMU, "VT-d": which memory a function's DMA reaches, and which interrupts it may raise. [VT-d-4.1]
//!
//! Section numbers are those of "Intel Virtualization Technology for Directed I/O", revision 4.1 (D51397-016).
//! Legacy mode is used: a root table, a context table for each bus, and second-level tables for each domain.
//!
//! ```text
//!   requester id --root table--> context table --context entry--> second-level tables --> memory
//!   interrupt message ---------> interrupt remapping table -----> processor and vector
//! ```
//!
//! Who is not in the tables reaches nothing: translation is on from boot, and a context entry exists as long as a claim.
//! Each wait on a unit has a deadline. What cannot be isolated is said by [`Coverage`].

mod capability;
mod domain;
mod fault;
mod interrupt;
mod invalidation;
mod scope;
mod tables;
#[cfg(test)]
mod tests;
mod unit;

pub use capability::{Caching, Capability, Interrupts, ProtectedMemory, Refusal};
pub use domain::{BusAddress, Domain, DomainError};
pub use fault::{Access, Fault, FaultKind};
pub use interrupt::{Extended, InterruptSource, Route, interrupt_entry};
pub use scope::{Coverage, coverage, io_apic_source};
pub use tables::{ENTRIES, Levels, Table, TableMemory};
pub use unit::{Clock, Completeness, Unit, UnitError};
