//! From a granted function to a running driver.

use crate::{
    engine::VirtioDisk,
    format::Format,
    hardware::{Choose, Hardware, Headers, Plan, Reply, ResponseOrder},
};
use alloc::{boxed::Box, format, rc::Rc};
use block::{Engine, Limits, PoolMaker, Service, View};
use capnp::Error;
use core::{future::Future, pin::Pin, time::Duration};
use device::{DmaRegion, InterruptChoice, Interrupts, pci};
use schema::device_capnp::{dma_pool, pci_function};
use virtio::{
    DmaMemory, NO_VECTOR, Transport,
    pci::{DeviceKind, TransportChoice},
};

/// Pages of DMA memory at the most; the process's quota is the real limit.
const POOL_PAGES: u32 = 1 << 15;

/// What one client gets at the most.
const DEPTH: u32 = 128;
const BUFFER_BYTES: u32 = 4 << 20;

/// How long a device may take to reset.
const RESET_ATTEMPTS: u32 = 1000;
const RESET_PAUSE: Duration = Duration::from_millis(1);

/// How long one question before there are disks may take, and between two looks for its answer.
const QUESTION: Duration = Duration::from_secs(10);
const QUESTION_PAUSE: Duration = Duration::from_micros(50);

/// What goes with a device that is up: its interrupts and memory.
pub struct Bound {
    interrupts: Interrupts,
    bell: rt::Signal,
    dma: dma_pool::Client,
    function: &'static str,
}

fn failed(error: impl core::fmt::Display) -> Error {
    Error::failed(format!("{error}"))
}

/// Opens the granted device of a kind and brings it up, with queue `queue` for requests.
///
/// Arguments of the process: `transport` is auto (default), modern or legacy; `interrupts` auto (default), one or line.
pub async fn open(
    environment: &rt::Environment,
    kind: DeviceKind,
    name: &'static str,
    queue: u16,
    choose: Choose,
) -> Result<(Hardware, Bound), Error> {
    let function: pci_function::Client = environment.grant("device")?;
    let choice = match environment.argument("transport") {
        None | Some("auto") => TransportChoice::Auto,
        Some("modern") => TransportChoice::Modern,
        Some("legacy") => TransportChoice::Legacy,
        Some(other) => {
            return Err(failed(format_args!("argument transport={other} is none of auto, modern, legacy")));
        }
    };
    let wanted = environment.argument("interrupts").unwrap_or("auto").parse::<InterruptChoice>()?;
    // Interrupts come first, since MSI-X moves a legacy device's registers; they stay masked until they are bound.
    let interrupts = Interrupts::open(&function, wanted, 2).await?;
    let mut transport = virtio::pci::open(&function, kind, choice).await?;
    virtio::begin_reset(&mut transport);
    for _ in 0..RESET_ATTEMPTS {
        if virtio::is_reset(&transport) {
            break;
        }
        rt::sleep(RESET_PAUSE).await;
    }
    let (config_vector, queue_vector) = match (interrupts.are_vectors(), interrupts.count()) {
        (false, _) | (true, 0) => (NO_VECTOR, NO_VECTOR),
        (true, 1) => (0, 0),
        (true, _) => (0, 1),
    };
    let plan = Plan { queue, config_vector, queue_vector, line: !interrupts.are_vectors() };
    let size = u16::try_from(transport.max_queue_size(queue)).unwrap_or(u16::MAX);
    let arena = u32::try_from(virtio::arena_pages(size)).unwrap_or(u32::MAX);
    let dma = pci::dma_pool(&function, POOL_PAGES).await?;
    virtio::pci::arena(&dma, arena).await?;
    let (region, _) = pci::allocate(&dma, Headers::PAGES).await?;
    let headers = Headers::new(region).ok_or_else(|| failed("less memory than was asked for"))?;
    let kind = if transport.requires_legacy_layout() { "legacy" } else { "modern" };
    let mut hardware = Hardware::new(transport, plan, choose, headers);
    pci::set_bus_master(&function).await?;
    hardware.start().map_err(failed)?;
    let bell = rt::Signal::new().await?;
    interrupts.bind(&bell.signaller()).await?;
    log::info!("{kind}, {interrupts}, a queue of {} requests", hardware.slots());
    Ok((hardware, Bound { interrupts, bell, dma, function: name }))
}

/// Asks a device one thing, before there are disks: the answer and `wanted` bytes of data.
pub async fn exchange(
    hardware: &mut Hardware,
    header: &[u8],
    response: u32,
    wanted: u32,
    order: ResponseOrder,
) -> Result<Reply, Error> {
    hardware.ask(header, response, wanted, order).map_err(|error| failed(format_args!("{error:?}")))?;
    let until = rt::now() + QUESTION;
    loop {
        if let Some(answer) = hardware.answer(response, wanted).map_err(failed)? {
            return Ok(answer);
        }
        if rt::now() > until {
            return Err(failed("the device does not answer"));
        }
        rt::sleep(QUESTION_PAUSE).await;
    }
}

/// Serves the disks of a format: exports "disk-N" for each, counted from 1, and "disk" for the first. Returns when the
/// device is lost.
///
/// Argument of the process: `patience-seconds` is how long a command may take before the device is reset; 30 by default.
pub async fn serve<F: Format + 'static>(
    environment: &rt::Environment,
    hardware: Hardware,
    bound: Bound,
    format: F,
) -> Result<(), Error> {
    let patience = match environment.argument("patience-seconds") {
        None => 30,
        Some(value) => value.parse::<u16>().map_err(|_| failed("patience-seconds is no number"))?,
    };
    let engine = VirtioDisk::new(hardware, format, Duration::from_secs(patience.into()));
    let disks = engine.disks().to_vec();
    let limits = Limits::new(DEPTH, BUFFER_BYTES);
    let Bound { interrupts, bell, dma, function } = bound;
    // What was asked before may have left an interrupt behind, and a line with it masked.
    interrupts.acknowledge();
    let service = Service::new(function, engine, bell, interrupts, dma, Windows, limits);
    service.stop_in_the_end();
    for (index, disk) in disks.iter().enumerate() {
        let bytes = u128::from(disk.blocks) * u128::from(disk.block_bytes);
        log::info!(
            "disk {}: {} blocks of {} bytes, {} MiB, {:?}",
            index + 1,
            disk.blocks,
            disk.block_bytes,
            bytes >> 20,
            disk.identity.model
        );
        let view = View::whole(index, disk);
        let name = format!("disk-{}", index + 1);
        // What the manifest need not name.
        if let Err(error) = environment.export(&name, block::serve(&service, view)).await {
            log::debug!("{name} is not offered: {error}");
        }
        if index == 0 {
            environment.export("disk", block::serve(&service, view)).await?;
        }
    }
    if disks.is_empty() {
        log::warn!("the device has no disks");
    }
    Err(service.run().await)
}

/// Makes buffers known as memory of the process's queues.
struct Windows;

impl<F: Format> PoolMaker<VirtioDisk<F>> for Windows {
    fn make<'a>(
        &'a self,
        _: &'a dma_pool::Client,
        buffers: DmaRegion,
    ) -> Pin<Box<dyn Future<Output = Result<Rc<DmaMemory>, Error>> + 'a>> {
        let bus = buffers.bus();
        let memory = DmaMemory::new(buffers, bus).map_err(|error| failed(format_args!("{error:?}")));
        Box::pin(core::future::ready(memory.map(Rc::new)))
    }
}
