//! Driver process for one virtio block device: grants "device" (PciFunction), exports "disk" (BlockDevice).
//!
//! | argument | values |
//! |---|---|
//! | transport | auto (default), modern, legacy |
//! | interrupts | auto (default), one (vector), line |
//! | patience-seconds | how long a request may take before the device is reset; 30 by default |
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::{format, string::String};
use capnp::Error;
use virtio::pci::DeviceKind;
use virtio_blk::{
    BlockFormat, choose, read_disk,
    spec::{QUEUE, SERIAL_BYTES, STATUS_BYTES, status},
};
use virtio_disk::{Reply, ResponseOrder, exchange, open, serve};

rt::program!(drive);

async fn drive(environment: rt::Environment) -> Result<(), Error> {
    let kind = DeviceKind::BLOCK;
    let (mut hardware, bound) = open(&environment, kind, "virtio-blk", QUEUE, choose).await?;
    let header = BlockFormat::identify();
    let Reply { answer, data } =
        exchange(&mut hardware, &header, STATUS_BYTES, SERIAL_BYTES, ResponseOrder::Last).await?;
    // A device without a serial number refuses, or answers with nothing.
    let bytes = if answer == [status::OK] { data.as_slice() } else { &[] };
    let printable = bytes.iter().filter(|byte| (0x21..0x7f).contains(*byte)).map(|byte| char::from(*byte));
    let serial: String = printable.collect();
    let disk = read_disk(hardware.transport(), hardware.features(), serial);
    let disk = disk.map_err(|error| Error::failed(format!("{error}")))?;
    serve(&environment, hardware, bound, BlockFormat::new(disk)).await
}
