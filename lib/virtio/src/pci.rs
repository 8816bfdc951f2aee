//! Opening the transport of a claimed PCI function.

use crate::{
    capability::{CAPABILITY_BYTES, LayoutFault, ModernLayout, Place, VendorCapability},
    dma::DmaMemory,
    transport::{LegacyTransport, ModernTransport, Msix, PciTransport},
};
use alloc::{boxed::Box, format, rc::Rc, vec::Vec};
use capnp::Error;
use device::{MmioRegisters, PortRegisters, Registers};
use rt::{
    Ports,
    memory::{Mapping, Protection},
};
use schema::{
    device_capnp::{BarKind, dma_pool, pci_function, pci_function_info},
    memory_capnp::memory_object,
};
use virtio_drivers::transport::DeviceType;

/// Vendor of all virtio devices [VIRTIO-1.2 4.1.2].
const VENDOR: u16 = 0x1af4;

/// Device ids of modern devices count from here, by device type.
const MODERN_DEVICE: u16 = 0x1040;

/// PCI capability ids.
const CAPABILITY_VENDOR: u8 = 0x09;
const CAPABILITY_MSIX: u8 = 0x11;

/// MSI-X message control: offset in the capability, and the bit that switches it on.
const MSIX_CONTROL: u16 = 2;
const MSIX_ENABLE: u32 = 1 << 15;

/// The most vendor capabilities that are looked at: configuration space has room for no more.
const MAXIMUM_CAPABILITIES: usize = 48;

/// The legacy registers' BAR.
const LEGACY_BAR: u8 = 0;

/// Which transport to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportChoice {
    /// Modern where the function offers it, else legacy.
    Auto,
    /// Modern or none.
    Modern,
    /// Legacy or none.
    Legacy,
}

/// A kind of virtio device and the PCI ids that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceKind {
    /// Its virtio type.
    pub device_type: DeviceType,
    /// Its PCI device id as a transitional device.
    pub transitional: u16,
}

impl DeviceKind {
    /// Network card [VIRTIO-1.2 5.1.1].
    pub const NETWORK: Self = Self { device_type: DeviceType::Network, transitional: 0x1000 };

    /// Block device [VIRTIO-1.2 5.2.1].
    pub const BLOCK: Self = Self { device_type: DeviceType::Block, transitional: 0x1001 };

    /// SCSI host [VIRTIO-1.2 5.6.1].
    pub const SCSI: Self = Self { device_type: DeviceType::ScsiHost, transitional: 0x1004 };

    fn matches(self, vendor: u16, device: u16) -> bool {
        vendor == VENDOR && (device == self.transitional || device == MODERN_DEVICE + self.device_type as u16)
    }
}

/// Opens the transport of a function of this kind. Its interrupts must be open already: a legacy device has its
/// registers in other places when MSI-X is on.
pub async fn open(
    function: &pci_function::Client,
    kind: DeviceKind,
    choice: TransportChoice,
) -> Result<PciTransport, Error> {
    let (bars, vendor, device): ([BarInfo; 6], u16, u16) = {
        let response = function.info_request().send().promise.await?;
        let info = response.get()?.get_info()?;
        (bars(info)?, info.get_vendor(), info.get_device())
    };
    if !kind.matches(vendor, device) {
        return Err(Error::failed(format!("{vendor:04x}:{device:04x} is no virtio {:?}", kind.device_type)));
    }
    if choice != TransportChoice::Legacy {
        let capabilities = vendor_capabilities(function).await?;
        match open_modern(function, kind, &bars, capabilities).await? {
            Ok(transport) => return Ok(PciTransport::Modern(transport)),
            // A legacy device has no such capabilities; anything else wrong with them is a broken device.
            Err(LayoutFault::Missing("common")) if choice == TransportChoice::Auto => {}
            Err(fault) => return Err(Error::failed(format!("{fault}"))),
        }
    }
    open_legacy(function, kind, &bars).await.map(PciTransport::Legacy)
}

/// Opens memory of `pages` pages that the device reaches, for buffers.
pub async fn buffers(
    pool: &dma_pool::Client,
    pages: u32,
) -> Result<(DmaMemory, memory_object::Client), Error> {
    let (memory, mapping, bus) = allocate(pool, pages).await?;
    let dma =
        DmaMemory::new(mapping, bus).map_err(|error| Error::failed(format!("DMA memory: {error:?}")))?;
    Ok((dma, memory))
}

/// Opens `pages` pages for queues, for as long as the process lives.
pub async fn arena(pool: &dma_pool::Client, pages: u32) -> Result<(), Error> {
    let (_, mapping, bus) = allocate(pool, pages).await?;
    crate::dma::add_arena(mapping, bus).map_err(|error| Error::failed(format!("DMA memory: {error:?}")))
}

async fn allocate(
    pool: &dma_pool::Client,
    pages: u32,
) -> Result<(memory_object::Client, Mapping, u64), Error> {
    let mut request = pool.allocate_request();
    request.get().set_pages(pages);
    let response = request.send().promise.await?;
    let result = response.get()?;
    let memory = result.get_memory()?;
    let mapping = Mapping::new(&memory, 0, pages, Protection::ReadWrite).await?;
    Ok((memory, mapping, result.get_bus_address()))
}

/// One BAR of the function.
#[derive(Clone, Copy)]
struct BarInfo {
    kind: BarKind,
    address: u64,
    size: u64,
}

fn bars(info: pci_function_info::Reader<'_>) -> Result<[BarInfo; 6], Error> {
    let mut bars = [BarInfo { kind: BarKind::None, address: 0, size: 0 }; 6];
    for (place, bar) in bars.iter_mut().zip(info.get_bars()?) {
        *place = BarInfo { kind: bar.get_kind()?, address: bar.get_address(), size: bar.get_size() };
    }
    Ok(bars)
}

async fn read_config(function: &pci_function::Client, offset: u16, width: u8) -> Result<u32, Error> {
    let mut request = function.read_config_request();
    request.get().set_offset(offset);
    request.get().set_width(width);
    Ok(request.send().promise.await?.get()?.get_value())
}

async fn find_capability(function: &pci_function::Client, id: u8, start: u16) -> Result<u16, Error> {
    let mut request = function.capability_request();
    request.get().set_id(id);
    request.get().set_start(start);
    Ok(request.send().promise.await?.get()?.get_offset())
}

async fn vendor_capabilities(function: &pci_function::Client) -> Result<Vec<VendorCapability>, Error> {
    let mut found = Vec::new();
    let mut offset = 0;
    for _ in 0..MAXIMUM_CAPABILITIES {
        offset = find_capability(function, CAPABILITY_VENDOR, offset).await?;
        if offset == 0 {
            break;
        }
        let mut bytes = [0; CAPABILITY_BYTES];
        for (index, word) in bytes.chunks_exact_mut(4).enumerate() {
            // The last capability may be shorter than the largest and end at the end of the space.
            let place = offset.saturating_add(4 * index as u16);
            if place < 256 {
                word.copy_from_slice(&read_config(function, place, 4).await?.to_le_bytes());
            }
        }
        found.extend(VendorCapability::parse(&bytes));
    }
    Ok(found)
}

async fn open_modern(
    function: &pci_function::Client,
    kind: DeviceKind,
    bars: &[BarInfo; 6],
    capabilities: Vec<VendorCapability>,
) -> Result<Result<ModernTransport, LayoutFault>, Error> {
    let sizes = bars.map(|bar| match bar.kind {
        BarKind::Memory32 | BarKind::Memory64 => bar.size,
        BarKind::None | BarKind::Io => 0,
    });
    let layout = match ModernLayout::new(capabilities, &sizes) {
        Ok(layout) => layout,
        Err(fault) => return Ok(Err(fault)),
    };
    let mut mapped = Mapped { function, bars, mapped: [const { None }; 6] };
    let common = mapped.block(layout.common).await?;
    let notify = mapped.block(layout.notify).await?;
    let isr = mapped.block(layout.isr).await?;
    let device = match layout.device {
        Some(place) => Some(mapped.block(place).await?),
        None => None,
    };
    Ok(Ok(ModernTransport::new(kind.device_type, common, notify, layout.notify_multiplier, isr, device)))
}

async fn open_legacy(
    function: &pci_function::Client,
    kind: DeviceKind,
    bars: &[BarInfo; 6],
) -> Result<LegacyTransport, Error> {
    let [BarInfo { kind: BarKind::Io, size, .. }, ..] = *bars else {
        return Err(Error::failed("the device has no legacy registers".into()));
    };
    let mut request = function.ports_request();
    request.get().set_index(LEGACY_BAR);
    let ports = Ports::new(request.send().promise.await?.get()?.get_ports()?);
    let msix = match find_capability(function, CAPABILITY_MSIX, 0).await? {
        0 => Msix::Off,
        offset if read_config(function, offset.saturating_add(MSIX_CONTROL), 2).await? & MSIX_ENABLE != 0 => {
            Msix::On
        }
        _ => Msix::Off,
    };
    let size = u32::try_from(size).unwrap_or(u32::MAX);
    Ok(LegacyTransport::new(kind.device_type, Box::new(PortRegisters::new(ports, size)), msix))
}

/// The BARs of a function, each mapped when it is first needed.
struct Mapped<'a> {
    function: &'a pci_function::Client,
    bars: &'a [BarInfo; 6],
    mapped: [Option<MappedBar>; 6],
}

/// What can be mapped of a BAR: the pages with an interrupt table are not, and it may start behind them.
#[derive(Clone)]
struct MappedBar {
    mapping: Rc<Mapping>,
    /// Byte of the BAR that is the first of the mapping.
    start: u32,
}

impl Mapped<'_> {
    async fn block(&mut self, place: Place) -> Result<Box<dyn Registers>, Error> {
        let outside = || {
            Error::failed(format!(
                "{} bytes at {:#x} of BAR {} cannot be reached",
                place.length, place.offset, place.bar
            ))
        };
        let bar = self.bars.get(usize::from(place.bar)).ok_or_else(outside)?;
        let slot = self.mapped.get_mut(usize::from(place.bar)).ok_or_else(outside)?;
        let MappedBar { mapping, start } = match slot {
            Some(mapped) => mapped.clone(),
            None => {
                let mut request = self.function.bar_request();
                request.get().set_index(place.bar);
                let mmio = request.send().promise.await?.get()?.get_mmio()?;
                let address = mmio.info_request().send().promise.await?.get()?.get_physical_address();
                let start = address.checked_sub(bar.address).and_then(|start| u32::try_from(start).ok());
                let mapping = Rc::new(Mapping::device(&mmio).await?);
                slot.insert(MappedBar { mapping, start: start.ok_or_else(outside)? }).clone()
            }
        };
        let offset = place.offset.checked_sub(start).ok_or_else(outside)?;
        let registers = MmioRegisters::new(&mapping, offset, place.length).ok_or_else(outside)?;
        Ok(Box::new(registers))
    }
}
