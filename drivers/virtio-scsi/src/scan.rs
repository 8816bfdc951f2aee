//! Finds the disks behind a host: each target is asked for its units, each unit what it is.

use crate::{
    answer::{Answer, Verdict},
    command::{self, Cdb, Unit, header},
    facts::{self, MAXIMUM_UNITS},
    format::Target,
    spec::{ANSWER_BYTES, config, page},
};
use alloc::vec::Vec;
use block::{Disk, Identity, Status};
use capnp::Error;
use core::time::Duration;
use virtio_disk::{Hardware, Reply, ResponseOrder, exchange};

/// The largest transfer, whatever host and unit say.
const MAXIMUM_BYTES: u32 = 1 << 20;

/// How often a unit is asked again that has something else to say, and how long it is left alone between.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(10);

/// The most blocks of one write of zeroes where the unit does not say.
const MAXIMUM_SAME: u32 = 1 << 16;

/// All disks of a host, by target and number.
pub async fn disks(hardware: &mut Hardware) -> Result<Vec<Target>, Error> {
    // A target is named by one byte [VIRTIO-1.2 5.6.6.1].
    let last = hardware.transport().config_u16(config::MAXIMUM_TARGET).unwrap_or(0).min(255) as u8;
    let sectors = hardware.transport().config_u16(config::MAXIMUM_SECTORS).unwrap_or(0);
    let largest = match u32::from(sectors) * 512 {
        0 => MAXIMUM_BYTES,
        bytes => bytes.min(MAXIMUM_BYTES),
    };
    let mut found = Vec::new();
    for target in 0..=last {
        for unit in units(hardware, target).await? {
            if found.len() == MAXIMUM_UNITS {
                log::warn!("there are more disks than are served");
                return Ok(found);
            }
            if let Some(disk) = disk(hardware, unit, largest).await? {
                found.push(Target { unit, disk });
            }
        }
    }
    Ok(found)
}

/// The units of a target; none where there is no target.
async fn units(hardware: &mut Hardware, target: u8) -> Result<Vec<Unit>, Error> {
    const BYTES: u32 = 512;
    let first = Unit { target, number: 0 };
    match ask(hardware, first, &command::report_units(BYTES), BYTES).await? {
        Ok(list) => Ok(facts::units(target, &list)),
        Err(Verdict::NoTarget) => Ok(Vec::new()),
        // An old target: its first unit may be there.
        Err(_) => Ok([first].into()),
    }
}

/// What a unit is, if it is a disk.
async fn disk(hardware: &mut Hardware, unit: Unit, largest: u32) -> Result<Option<Disk>, Error> {
    let Ok(page) = ask(hardware, unit, &command::inquiry(36), 36).await? else { return Ok(None) };
    let Some((model, firmware)) = facts::inquiry(&page) else { return Ok(None) };
    let capacity = match ask(hardware, unit, &command::read_capacity_16(32), 32).await? {
        Ok(bytes) => facts::capacity(&bytes),
        Err(_) => {
            let short = ask(hardware, unit, &command::read_capacity_10(), 8).await?;
            short.ok().and_then(|bytes| facts::capacity(&bytes))
        }
    };
    let Some(capacity) = capacity else {
        log::warn!("{unit:?} is not used: it has no blocks, or of a strange size");
        return Ok(None);
    };
    let product = |page| command::product_data(page, 64);
    // What a unit does not say is unlimited, or not there.
    let limits = ask(hardware, unit, &product(page::LIMITS), 64).await?.unwrap_or_default();
    let limits = facts::limits(&limits);
    let provisioning = ask(hardware, unit, &product(page::PROVISIONING), 64).await?.unwrap_or_default();
    let serial = ask(hardware, unit, &product(page::SERIAL), 64).await?.unwrap_or_default();
    let modes = ask(hardware, unit, &command::all_modes(), 192).await?.unwrap_or_default();
    let (access, forced_unit_access, write_cache) = facts::mode(&modes);
    let most = largest / capacity.block_bytes;
    let some = |limit: u32, otherwise: u32| if limit == 0 { otherwise } else { limit };
    let discards = capacity.provisioned && facts::provisioning(&provisioning);
    let same = u32::try_from(limits.same).unwrap_or(u32::MAX);
    Ok(Some(Disk {
        block_bytes: capacity.block_bytes,
        blocks: capacity.blocks,
        maximum_blocks: most.min(some(limits.transfer, most)).max(1),
        maximum_discard: if discards { some(limits.unmap, u32::MAX) } else { 0 },
        // The one block of zeroes that is sent lies in a page.
        maximum_zero: if capacity.block_bytes > 4096 {
            0
        } else {
            some(same, MAXIMUM_SAME).min(MAXIMUM_SAME)
        },
        access,
        write_cache,
        forced_unit_access,
        identity: Identity { model, serial: facts::serial(&serial), firmware, ..Identity::default() },
    }))
}

/// Asks a unit for so many bytes, again while it has something else to say. The inner error is why it does not answer.
async fn ask(
    hardware: &mut Hardware,
    unit: Unit,
    cdb: &Cdb,
    bytes: u32,
) -> Result<Result<Vec<u8>, Verdict>, Error> {
    for _ in 0..TRIES {
        let header = header(unit, cdb);
        let Reply { answer, data } =
            exchange(hardware, &header, ANSWER_BYTES, bytes, ResponseOrder::First).await?;
        match Answer::new(&answer).verdict() {
            Verdict::Done => return Ok(Ok(data)),
            Verdict::Again => rt::sleep(PAUSE).await,
            other => return Ok(Err(other)),
        }
    }
    Ok(Err(Verdict::Failed(Status::Device)))
}
