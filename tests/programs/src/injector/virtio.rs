//! What can be spoiled of a virtio device.

use alloc::{boxed::Box, format, rc::Rc, string::String, vec::Vec};
use capnp::Error;
use device::{DmaRegion, MmioRegisters, PortRegisters, Registers};
use rt::{Ports, memory::Mapping};
use schema::device_capnp::{BarKind, pci_function};
use virtio::{ModernLayout, VendorCapability};

use super::{Kind, nowhere, read_u16, write_u16};
use crate::blocks::Random;

/// PCI capability id of a vendor's own.
const VENDOR_CAPABILITY: u8 = 9;

/// Where things are in `virtio_pci_common_cfg` [VIRTIO-1.2 4.1.4.3], and its size, by which it is told from the legacy ports.
mod common {
    pub(super) const CONFIG_VECTOR: u32 = 16;
    pub(super) const QUEUES: u32 = 18;
    pub(super) const STATUS: u32 = 20;
    pub(super) const QUEUE_SELECT: u32 = 22;
    pub(super) const QUEUE_SIZE: u32 = 24;
    pub(super) const QUEUE_VECTOR: u32 = 26;
    pub(super) const QUEUE_ENABLE: u32 = 28;
    pub(super) const QUEUE_DESCRIPTORS: u32 = 32;
    pub(super) const QUEUE_DRIVER: u32 = 40;
    pub(super) const QUEUE_DEVICE: u32 = 48;
    pub(super) const LENGTH: u32 = 56;
}

/// Where things are in the legacy ports [VIRTIO-1.2 4.1.4.10].
mod legacy {
    pub(super) const QUEUE_ADDRESS: u32 = 8;
    pub(super) const QUEUE_SIZE: u32 = 12;
    pub(super) const QUEUE_SELECT: u32 = 14;
    pub(super) const STATUS: u32 = 18;
    pub(super) const QUEUE_VECTOR: u32 = 22;
    /// Ports, as this program opens them.
    pub(super) const LENGTH: u32 = 24;
    /// The most queues that are looked for.
    pub(super) const QUEUES: u16 = 8;
    /// Bytes to which the used ring is aligned.
    pub(super) const ALIGNMENT: u32 = 4096;
}

/// Bytes of a descriptor, and where its parts are [VIRTIO-1.2 2.7.5].
const DESCRIPTOR: u32 = 16;
const LENGTH: u32 = 8;
const FLAGS: u32 = 12;
const NEXT: u32 = 14;
/// Where the index and the entries of both rings are [VIRTIO-1.2 2.7.6, 2.7.8].
const INDEX: u32 = 2;
const ENTRIES: u32 = 4;
/// Bytes of an entry of the used ring.
const USED: u32 = 8;

/// Opens the device's common configuration, or its legacy ports.
pub(super) async fn map(function: &pci_function::Client) -> Result<Rc<dyn Registers>, Error> {
    let mut capabilities = Vec::new();
    let mut offset = 0;
    loop {
        let mut request = function.capability_request();
        request.get().set_id(VENDOR_CAPABILITY);
        request.get().set_start(offset);
        offset = request.send().promise.await?.get()?.get_offset();
        if offset == 0 || capabilities.len() > 16 {
            break;
        }
        let mut bytes = [0; 20];
        for (place, word) in (offset..).step_by(4).zip(bytes.chunks_exact_mut(4)) {
            let mut request = function.read_config_request();
            request.get().set_offset(place);
            request.get().set_width(4);
            word.copy_from_slice(&request.send().promise.await?.get()?.get_value().to_le_bytes());
        }
        capabilities.extend(VendorCapability::parse(&bytes));
    }
    let response = function.info_request().send().promise.await?;
    let mut sizes = [0; 6];
    for (size, bar) in sizes.iter_mut().zip(response.get()?.get_info()?.get_bars()?) {
        if matches!(bar.get_kind()?, BarKind::Memory32 | BarKind::Memory64) {
            *size = bar.get_size();
        }
    }
    let Ok(layout) = ModernLayout::new(capabilities, &sizes) else {
        let ports = function.ports_request().send().promise.await?.get()?.get_ports()?;
        return Ok(Rc::new(PortRegisters::new(Ports::new(ports), legacy::LENGTH)));
    };
    let mut request = function.bar_request();
    request.get().set_index(layout.common.bar);
    let mmio = request.send().promise.await?.get()?.get_mmio()?;
    let mapping = Rc::new(Mapping::device(&mmio).await?);
    let registers = MmioRegisters::new(&mapping, layout.common.offset, common::LENGTH);
    let registers = registers.ok_or_else(|| Error::failed("the common configuration is elsewhere".into()))?;
    Ok(Rc::new(registers))
}

/// A queue that the device was told of: its number, its entries, and where its parts are in the memory.
#[derive(Clone, Copy, Debug)]
struct Queue {
    number: u16,
    size: u16,
    descriptors: u32,
    available: u32,
    used: u32,
}

fn is_modern(registers: &dyn Registers) -> bool {
    registers.size() == common::LENGTH
}

/// The queues as the device knows them. No driver selects queues while its device works.
fn queues(memory: &DmaRegion, registers: &dyn Registers) -> Vec<Queue> {
    let offset = |address: u64| {
        let offset = address.checked_sub(memory.bus())?;
        u32::try_from(offset).ok().filter(|offset| *offset < memory.size())
    };
    let modern = |number: u16| {
        registers.write_u16(common::QUEUE_SELECT, number);
        let address = |register: u32| {
            let (low, high) = (registers.read_u32(register), registers.read_u32(register + 4));
            offset(u64::from(high) << 32 | u64::from(low))
        };
        Some(Queue {
            number,
            size: registers.read_u16(common::QUEUE_SIZE),
            descriptors: address(common::QUEUE_DESCRIPTORS)?,
            available: address(common::QUEUE_DRIVER)?,
            used: address(common::QUEUE_DEVICE)?,
        })
    };
    let old = |number: u16| {
        registers.write_u16(legacy::QUEUE_SELECT, number);
        let size = registers.read_u16(legacy::QUEUE_SIZE);
        let page = registers.read_u32(legacy::QUEUE_ADDRESS);
        let descriptors = offset(u64::from(page) << 12)?;
        let available = descriptors + DESCRIPTOR * u32::from(size);
        // [VIRTIO-1.2 2.7.2]
        let end = available + 6 + 2 * u32::from(size);
        let used = end.next_multiple_of(legacy::ALIGNMENT);
        Some(Queue { number, size, descriptors, available, used })
    };
    let found: Vec<Queue> = if is_modern(registers) {
        (0..registers.read_u16(common::QUEUES)).filter_map(modern).collect()
    } else {
        (0..legacy::QUEUES).filter_map(old).collect()
    };
    found.into_iter().filter(|queue| queue.size.is_power_of_two()).collect()
}

fn pick<'a, T>(of: &'a [T], random: &mut Random) -> Result<&'a T, Error> {
    let length = of.len().max(1) as u64;
    // Below the length.
    let index = (random.number() % length) as usize;
    of.get(index).ok_or_else(|| Error::failed("the device has no queue".into()))
}

/// Spoils the newest completion of a queue, before the driver has seen it.
pub(super) fn completion(
    memory: &DmaRegion,
    registers: &dyn Registers,
    random: &mut Random,
) -> Result<String, Error> {
    let queues = queues(memory, registers);
    let queue = pick(&queues, random)?;
    let index = read_u16(memory, queue.used + INDEX);
    let newest = u32::from(index.wrapping_sub(1) % queue.size);
    let entry = queue.used + ENTRIES + newest * USED;
    // Any values.
    let value = random.number() as u32;
    let number = queue.number;
    Ok(match random.number() % 4 {
        0 => {
            memory.write_u32(entry, value);
            format!("queue {number}: used id {value:#x}")
        }
        1 => {
            let id = value % u32::from(queue.size);
            memory.write_u32(entry, id);
            format!("queue {number}: used id {id}")
        }
        2 => {
            memory.write_u32(entry + 4, value);
            format!("queue {number}: used length {value:#x}")
        }
        _ => {
            let wrong = index.wrapping_add(1 + (value % 0xfffe) as u16);
            write_u16(memory, queue.used + INDEX, wrong);
            format!("queue {number}: used index {index} to {wrong}")
        }
    })
}

/// Spoils what the device is to read.
pub(super) fn submission(
    memory: &DmaRegion,
    registers: &dyn Registers,
    kind: Kind,
    random: &mut Random,
) -> Result<String, Error> {
    let queues = queues(memory, registers);
    let queue = pick(&queues, random)?;
    let used: Vec<u32> = (0..u32::from(queue.size))
        .map(|index| queue.descriptors + index * DESCRIPTOR)
        .filter(|descriptor| memory.read_u32(descriptor + LENGTH) != 0)
        .collect();
    let descriptor = *pick(&used, random)?;
    let index = read_u16(memory, queue.available + INDEX);
    let next = queue.available + ENTRIES + 2 * u32::from(index % queue.size);
    let value = random.number();
    let number = queue.number;
    // What a disk would obey is left alone.
    let choices = if kind == Kind::VirtioNet { 6 } else { 3 };
    Ok(match random.number() % choices {
        0 => {
            let address = nowhere(random);
            memory.write_u64(descriptor, address);
            format!("queue {number}: descriptor address {address:#x}")
        }
        1 => {
            let head = queue.size | value as u16;
            write_u16(memory, next, head);
            format!("queue {number}: available entry {head}")
        }
        2 => {
            let wrong = index.wrapping_add(queue.size + 1 + (value % 0x4000) as u16);
            write_u16(memory, queue.available + INDEX, wrong);
            format!("queue {number}: available index {index} to {wrong}")
        }
        3 => {
            memory.write_u32(descriptor + LENGTH, value as u32);
            format!("queue {number}: descriptor length {:#x}", value as u32)
        }
        4 => {
            write_u16(memory, descriptor + FLAGS, value as u16);
            format!("queue {number}: descriptor flags {:#x}", value as u16)
        }
        _ => {
            write_u16(memory, descriptor + NEXT, value as u16);
            format!("queue {number}: next descriptor {}", value as u16)
        }
    })
}

/// Writes a wrong value to a register.
pub(super) fn register(registers: &dyn Registers, kind: Kind, random: &mut Random) -> Result<String, Error> {
    let queue = (random.number() % 2) as u16;
    // Disks have their only queue, or that for requests, as the last.
    let queue = if kind == Kind::VirtioNet || !is_modern(registers) {
        queue
    } else {
        registers.read_u16(common::QUEUES).saturating_sub(1).min(2)
    };
    let value = random.number();
    let write: Box<dyn Fn(u32, u16)> = Box::new(|offset, value| registers.write_u16(offset, value));
    Ok(if is_modern(registers) {
        registers.write_u16(common::QUEUE_SELECT, queue);
        match random.number() % 7 {
            0 => {
                registers.write_u8(common::STATUS, 0);
                "register status: 0".into()
            }
            1 => {
                registers.write_u8(common::STATUS, value as u8);
                format!("register status: {:#x}", value as u8)
            }
            2 => {
                write(common::QUEUE_VECTOR, u16::MAX);
                format!("register vector of queue {queue}: none")
            }
            3 => {
                write(common::CONFIG_VECTOR, value as u16);
                format!("register vector of changes: {:#x}", value as u16)
            }
            4 => {
                write(common::QUEUE_ENABLE, 0);
                format!("register enable of queue {queue}: 0")
            }
            5 if kind == Kind::VirtioNet => {
                write(common::QUEUE_SIZE, 2);
                format!("register size of queue {queue}: 2")
            }
            _ => {
                registers.write_u32(common::QUEUE_DESCRIPTORS + 4, value as u32);
                format!("register descriptors of queue {queue}: {:#x}", value as u32)
            }
        }
    } else {
        registers.write_u16(legacy::QUEUE_SELECT, queue);
        match random.number() % 4 {
            0 => {
                registers.write_u8(legacy::STATUS, 0);
                "register status: 0".into()
            }
            1 => {
                registers.write_u8(legacy::STATUS, value as u8);
                format!("register status: {:#x}", value as u8)
            }
            2 => {
                write(legacy::QUEUE_VECTOR, u16::MAX);
                format!("register vector of queue {queue}: none")
            }
            _ => {
                registers.write_u32(legacy::QUEUE_ADDRESS, 0);
                format!("register address of queue {queue}: 0")
            }
        }
    })
}
