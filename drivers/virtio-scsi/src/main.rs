//! Driver process for one virtio SCSI host: grants "device" (PciFunction), exports "disk-N" for each disk, counted from 1
//! by target and unit, and "disk" for the first (BlockDevice).
//!
//! | argument | values |
//! |---|---|
//! | transport | auto (default), modern, legacy |
//! | interrupts | auto (default), one (vector), line |
//! | patience-seconds | how long a request may take before the host is reset; 30 by default |
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use capnp::Error;
use virtio::pci::DeviceKind;
use virtio_disk::{open, serve};
use virtio_scsi::{ScsiFormat, choose, scan, spec::QUEUE};

rt::program!(drive);

async fn drive(environment: rt::Environment) -> Result<(), Error> {
    let (mut hardware, bound) = open(&environment, DeviceKind::SCSI, "virtio-scsi", QUEUE, choose).await?;
    let targets = scan::disks(&mut hardware).await?;
    serve(&environment, hardware, bound, ScsiFormat::new(targets)).await
}
