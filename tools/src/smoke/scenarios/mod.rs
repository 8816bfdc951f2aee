//! All scenarios, one file for each kind.

mod abuse;
mod block;
pub mod block_kill;
mod block_partitions;
mod block_stall;
mod block_virtio;
mod boot;
mod campaign;
mod cloud;
mod diag;
mod disk;
mod faults;
mod gce;
mod hangs;
mod image;
mod inside;
mod iommu;
mod live;
mod loader;
mod machines;
mod net;
mod page;
mod panic;
mod ping;
mod provenance;
mod recovery;
mod shutdown;
pub mod stream;
mod uart;
mod wire;

use super::Scenario;

/// Every scenario, in the order in which they run.
pub fn all() -> Vec<Scenario> {
    [
        loader::scenarios(),
        boot::scenarios(),
        disk::scenarios(),
        cloud::scenarios(),
        provenance::scenarios(),
        net::scenarios(),
        ping::scenarios(),
        uart::scenarios(),
        diag::scenarios(),
        recovery::scenarios(),
        hangs::scenarios(),
        shutdown::scenarios(),
        stream::scenarios(),
        campaign::scenarios(),
        faults::scenarios(),
        panic::scenarios(),
        inside::scenarios(),
        iommu::scenarios(),
        abuse::scenarios(),
        page::scenarios(),
        block::scenarios(),
        block_partitions::scenarios(),
        block_kill::scenarios(),
        block_stall::scenarios(),
        machines::scenarios(),
        gce::scenarios(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
