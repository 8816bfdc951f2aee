//! Stands between a driver and its PCI function, and spoils descriptors, registers and interrupts when it is told to.
//!
//! Grants "inventory" (PciInventory); exports "device" (PciFunction) for the driver and "injector" (FaultInjector) for the
//! test. Arguments: `kind` (virtio-net, virtio-disk, nvme), and which function: `class` and `devices`, hexadecimal.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::rc::Rc;
use capnp::Error;
use schema::{device_capnp::pci_function, test_capnp::fault_injector};
use testing::injector::{Front, Injector, Rule};

rt::program!(run);

async fn run(environment: rt::Environment) -> Result<(), Error> {
    let front = Front::new(Rule::new(&environment)?, environment.grant("inventory")?);
    environment.export("device", rt::serve::<pci_function::Client, _>(Rc::clone(&front))).await?;
    let injector = rt::serve::<fault_injector::Client, _>(Rc::new(Injector(front)));
    environment.export("injector", injector).await?;
    core::future::pending().await
}
