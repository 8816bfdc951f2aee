//! Service process for the GPT partitions of one disk: grants "disk" (BlockDevice); exports "partition-N" for each, and
//! each under its own name where that can be one (BlockDevice).
//!
//! The process ends when the disk's driver does, and reads the table again when it is started again.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::{format, vec, vec::Vec};
use block::client::Session;
use capnp::Error;
use partitions::{ENTRIES_BYTES, Partition, entries, export_name, header};
use schema::block_capnp::block_device;

rt::program!(run);

async fn run(environment: rt::Environment) -> Result<(), Error> {
    let disk: block_device::Client = environment.reacquire("disk").await?;
    let mut session = Session::open(&disk, 2, ENTRIES_BYTES).await?;
    let partitions = find(&mut session).await?;
    for partition in &partitions {
        log::info!(
            "partition {}: {} blocks from {}, name {:?}",
            partition.number,
            partition.count,
            partition.first,
            partition.name
        );
        let mut request = disk.partition_request();
        request.get().set_first(partition.first);
        request.get().set_count(partition.count);
        let part = request.send().promise.await?.get()?.get_device()?;
        let number = format!("partition-{}", partition.number);
        for name in [Some(number.as_str()), export_name(partition)].into_iter().flatten() {
            // What the manifest need not name.
            if let Err(error) = environment.export(name, part.clone()).await {
                log::debug!("{name} is not offered: {error}");
            }
        }
    }
    // Nothing is asked for any more: this returns when the driver is gone.
    session.wait().await
}

/// The partitions of a disk, by its first table or, if that is bad, by its second; none if both are.
async fn find(session: &mut Session) -> Result<Vec<Partition>, Error> {
    let last = session.info().blocks.saturating_sub(1);
    let first = match table(session, 1).await? {
        Ok(partitions) => return Ok(partitions),
        Err(error) => error,
    };
    match table(session, last).await? {
        Ok(partitions) => {
            log::warn!("the first partition table is bad ({first}): the second one is used");
            Ok(partitions)
        }
        Err(second) => {
            // Trying again would find the same: who needs a partition waits for another disk.
            log::warn!("no partitions: first table: {first}; second table: {second}");
            Ok(Vec::new())
        }
    }
}

/// The partitions by the table whose header stands in block `place`. The inner error is why it is bad.
async fn table(
    session: &mut Session,
    place: u64,
) -> Result<Result<Vec<Partition>, partitions::TableError>, Error> {
    let (blocks, block_bytes) = (session.info().blocks, session.info().block_bytes);
    let mut bytes = vec![0; block_bytes as usize];
    session.read(place, &mut bytes).await?;
    let found = match header(&bytes, place, blocks, block_bytes) {
        Ok(found) => found,
        Err(error) => return Ok(Err(error)),
    };
    let mut bytes = vec![0; found.entries_bytes as usize];
    session.read(found.entries_block, &mut bytes).await?;
    Ok(entries(&bytes, &found))
}
