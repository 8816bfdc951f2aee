//! All scenarios, one file for each kind.

mod boot;
mod disk;
mod loader;
mod net;

use super::Scenario;

/// Every scenario, in the order in which they run.
pub fn all() -> Vec<Scenario> {
    [loader::scenarios(), boot::scenarios(), disk::scenarios(), net::scenarios()].into_iter().flatten().collect()
}
