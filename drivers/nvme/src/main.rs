//! Driver process for one NVMe controller: grants "device" (PciFunction) and, if it is to know how many processors there
//! are, "system-info"; exports "disk" and "disk-N" for each namespace N (BlockDevice).
//!
//! | argument | values |
//! |---|---|
//! | disk | which namespace "disk" is: its number, or the name that the cloud gives it; the first one by default |
//! | queues | pairs of I/O queues that are wanted; by default one for each processor |
//! | interrupts | auto (default), one (vector), line, none (polling) |
//! | patience-seconds | how long a command may take before it is aborted; 30 by default |
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::{boxed::Box, format, rc::Rc};
use block::{Engine, Limits, PoolMaker, Service, View};
use capnp::Error;
use core::{future::Future, pin::Pin, time::Duration};
use device::{DmaRegion, InterruptChoice, Interrupts, pci};
use nvme::{Controller, Memory, Plan, Pool};
use schema::{
    device_capnp::{dma_pool, pci_function},
    system_capnp::system_info,
};

rt::program!(drive);

/// The BAR with the registers.
const REGISTERS: u8 = 0;

/// Pages of DMA memory: what the pairs need, and the clients' buffers. The process's quota is the real limit.
const POOL_PAGES: u32 = 1 << 15;

/// What one client gets at the most.
const DEPTH: u32 = 256;
const BUFFER_BYTES: u32 = 4 << 20;

/// While the controller comes up.
const POLL: Duration = Duration::from_millis(1);

async fn drive(environment: rt::Environment) -> Result<(), Error> {
    let function: pci_function::Client = environment.grant("device")?;
    let wanted = match number(&environment, "queues")? {
        Some(wanted) => wanted,
        None => processors(&environment).await?,
    };
    let choice = environment.argument("interrupts").unwrap_or("auto").parse::<InterruptChoice>()?;
    let interrupts = Interrupts::open(&function, choice, wanted.saturating_add(1)).await?;
    let plan = Plan {
        pairs: wanted,
        vectors: interrupts.count(),
        line: interrupts.count() > 0 && !interrupts.are_vectors(),
        patience: Duration::from_secs(number(&environment, "patience-seconds")?.unwrap_or(30).into()),
    }
    .for_pairs(wanted);
    let registers = pci::registers(&function, REGISTERS).await?;
    let dma = pci::dma_pool(&function, POOL_PAGES).await?;
    let (whole, _) = pci::allocate(&dma, Memory::pages(plan.pairs)).await?;
    let memory = Memory::new(&whole, plan.pairs);
    let memory = memory.ok_or_else(|| Error::failed("less memory than was asked for".into()))?;
    let mut controller = Controller::new(Box::new(registers), memory, plan, rt::now());
    pci::set_bus_master(&function).await?;
    let bell = rt::Signal::new().await?;
    interrupts.bind(&bell.signaller()).await?;
    while !controller.is_live() {
        controller.set_time(rt::now());
        controller.tick();
        if let Some(failure) = controller.failed() {
            return Err(Error::failed(format!("{failure}")));
        }
        rt::sleep(POLL).await;
    }
    log::info!(
        "{} {}, {} pairs of I/O queues, {interrupts}",
        controller.facts().model,
        controller.facts().firmware,
        controller.pairs()
    );
    let (namespaces, disks) = (controller.namespaces().to_vec(), controller.disks().to_vec());
    let limits = Limits::new(DEPTH, BUFFER_BYTES);
    let service = Service::new("nvme", controller, bell, interrupts, dma, Lists, limits);
    service.stop_in_the_end();
    let wanted = environment.argument("disk");
    let mut first = None;
    for (index, (disk, namespace)) in disks.iter().zip(&namespaces).enumerate() {
        let bytes = u128::from(disk.blocks) * u128::from(disk.block_bytes);
        log::info!(
            "namespace {namespace}: {} blocks of {} bytes, {} MiB, name {:?}",
            disk.blocks,
            disk.block_bytes,
            bytes >> 20,
            disk.identity.name
        );
        let number = format!("{namespace}");
        if wanted.is_none_or(|wanted| wanted == number || wanted == disk.identity.name) {
            first.get_or_insert((index, disk));
        }
        offer(&environment, &format!("disk-{namespace}"), block::serve(&service, View::whole(index, disk)))
            .await;
    }
    match first {
        Some((index, disk)) => {
            environment.export("disk", block::serve(&service, View::whole(index, disk))).await?;
        }
        None => log::warn!("the controller has no namespace {}", wanted.unwrap_or("at all")),
    }
    Err(service.run().await)
}

/// Exports what the manifest may name and need not.
async fn offer(environment: &rt::Environment, name: &str, disk: schema::block_capnp::block_device::Client) {
    if let Err(error) = environment.export(name, disk).await {
        log::debug!("{name} is not offered: {error}");
    }
}

fn number(environment: &rt::Environment, name: &str) -> Result<Option<u16>, Error> {
    let Some(value) = environment.argument(name) else { return Ok(None) };
    let number = value.parse().ok().filter(|number| *number > 0);
    number.map(Some).ok_or_else(|| Error::failed(format!("argument {name}={value} is no number from 1 on")))
}

/// How many processors the machine has, if this process may know.
async fn processors(environment: &rt::Environment) -> Result<u16, Error> {
    let Some(system) = environment.optional_grant::<system_info::Client>("system-info") else {
        return Ok(1);
    };
    let processors = system.summary_request().send().promise.await?.get()?.get_processors();
    Ok(u16::try_from(processors).unwrap_or(u16::MAX))
}

/// Makes the page lists of buffers.
struct Lists;

impl PoolMaker<Controller> for Lists {
    fn make<'a>(
        &'a self,
        pool: &'a dma_pool::Client,
        buffers: DmaRegion,
    ) -> Pin<Box<dyn Future<Output = Result<Rc<Pool>, Error>> + 'a>> {
        Box::pin(async move {
            let (tables, _) = pci::allocate(pool, Pool::table_pages(buffers.size())).await?;
            let pool = Pool::new(buffers, tables).map(Rc::new);
            pool.ok_or_else(|| Error::failed("less memory than was asked for".into()))
        })
    }
}
