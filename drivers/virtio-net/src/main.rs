//! Driver process for one virtio network device: grants "device" (PciFunction), exports "nic" (Nic).
//!
//! | argument | values |
//! |---|---|
//! | transport | auto (default), modern, legacy |
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::{format, rc::Rc};
use capnp::Error;
use schema::device_capnp::{dma_pool, pci_function};
use virtio::{
    Interrupts, Transport,
    pci::{self, DeviceKind, TransportChoice},
};
use virtio_net::{Device, Driver, Needs, interrupts::Bells, reset, server};

rt::program!(drive);

async fn drive(environment: rt::Environment) -> Result<(), Error> {
    let function: pci_function::Client = environment.grant("device")?;
    let choice = transport_choice(environment.argument("transport"))?;
    // Interrupts come first, since MSI-X moves a legacy device's registers; they stay masked until the device is reset.
    let interrupts = Interrupts::open(&function).await?;
    let mut transport = pci::open(&function, DeviceKind::NETWORK, choice).await?;
    reset(&mut transport).await?;
    let kind = if transport.requires_legacy_layout() { "legacy" } else { "modern" };
    let needs = Needs::of(&mut transport);
    let pool = dma_pool(&function, needs.total()).await?;
    pci::arena(&pool, needs.arena).await?;
    let (headers, _) = pci::buffers(&pool, needs.headers).await?;
    let plan = interrupts.plan();
    let device = Device::new(transport, plan, headers);
    set_bus_master(&function).await?;
    let driver = Driver::new(device, Bells::new(interrupts).await?, &pool).await?;
    let status = driver.status();
    let [a, b, c, d, e, f] = status.mac;
    log::info!("{kind}, {plan}, {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}, MTU {}", status.mtu);
    let ending = Rc::clone(&driver);
    rt::health::at_stop(async move { ending.stop().await });
    environment.export("nic", server::serve(&driver)).await?;
    rt::spawn(Rc::clone(&driver).watch());
    Err(rt::apart(async move { driver.run().await }).await)
}

fn transport_choice(argument: Option<&str>) -> Result<TransportChoice, Error> {
    match argument {
        None | Some("auto") => Ok(TransportChoice::Auto),
        Some("modern") => Ok(TransportChoice::Modern),
        Some("legacy") => Ok(TransportChoice::Legacy),
        Some(other) => {
            Err(Error::failed(format!("argument transport={other} is none of auto, modern, legacy")))
        }
    }
}

async fn dma_pool(function: &pci_function::Client, pages: u32) -> Result<dma_pool::Client, Error> {
    let mut request = function.dma_pool_request();
    request.get().set_maximum_pages(pages);
    request.send().promise.await?.get()?.get_pool()
}

async fn set_bus_master(function: &pci_function::Client) -> Result<(), Error> {
    let mut request = function.set_bus_master_request();
    request.get().set_enabled(true);
    request.send().promise.await?;
    Ok(())
}
