//! Virtio 0.9.5 over PCI: one I/O BAR.
//!
//! [VIRTIO-1.2 4.1.4.10]

use super::{NO_VECTOR, TransportFault};
use alloc::boxed::Box;
use device::Registers;
use virtio_drivers::{
    PhysAddr,
    transport::{DeviceStatus, DeviceType, InterruptStatus},
};

const DEVICE_FEATURES: u32 = 0;
const DRIVER_FEATURES: u32 = 4;
const QUEUE_ADDRESS: u32 = 8;
const QUEUE_SIZE: u32 = 12;
const QUEUE_SELECT: u32 = 14;
const QUEUE_NOTIFY: u32 = 16;
const DEVICE_STATUS: u32 = 18;
const ISR_STATUS: u32 = 19;
/// Only there while MSI-X is on.
const CONFIG_MSIX_VECTOR: u32 = 20;
const QUEUE_MSIX_VECTOR: u32 = 22;
/// Device-specific configuration, without and with the two vector registers.
const CONFIG_WITHOUT_MSIX: u32 = 20;
const CONFIG_WITH_MSIX: u32 = 24;

/// Queue addresses are given in units of 4096 bytes.
const QUEUE_ADDRESS_SHIFT: u32 = 12;

/// Whether MSI-X is switched on in the function's configuration space, which moves the legacy registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Msix {
    /// On: vector registers are there.
    On,
    /// Off, or not offered.
    Off,
}

/// The registers of a legacy device.
pub struct LegacyTransport {
    device_type: DeviceType,
    registers: Box<dyn Registers>,
    msix: Msix,
    fault: Option<TransportFault>,
}

impl LegacyTransport {
    /// A device whose MSI-X does not change any more while the transport lives.
    pub fn new(device_type: DeviceType, registers: Box<dyn Registers>, msix: Msix) -> Self {
        Self { device_type, registers, msix, fault: None }
    }

    pub(super) fn prepare_queue(&mut self, queue: u16, vector: u16) -> Result<u16, TransportFault> {
        self.registers.write_u16(QUEUE_SELECT, queue);
        let size = self.registers.read_u16(QUEUE_SIZE);
        self.set_vector(QUEUE_MSIX_VECTOR, vector)?;
        Ok(size)
    }

    pub(super) fn set_config_vector(&mut self, vector: u16) -> Result<(), TransportFault> {
        self.set_vector(CONFIG_MSIX_VECTOR, vector)
    }

    fn set_vector(&mut self, register: u32, vector: u16) -> Result<(), TransportFault> {
        match self.msix {
            Msix::Off if vector == NO_VECTOR => return Ok(()),
            Msix::Off => return Err(TransportFault::Vector(vector)),
            Msix::On => {}
        }
        self.registers.write_u16(register, vector);
        if vector != NO_VECTOR && self.registers.read_u16(register) != vector {
            return Err(TransportFault::Vector(vector));
        }
        Ok(())
    }

    pub(super) fn fault(&self) -> Option<TransportFault> {
        self.fault
    }

    /// The register at `offset` of the device-specific configuration.
    fn config(&self, offset: u32, bytes: u32) -> Option<u32> {
        let base = match self.msix {
            Msix::On => CONFIG_WITH_MSIX,
            Msix::Off => CONFIG_WITHOUT_MSIX,
        };
        let register = base.checked_add(offset)?;
        (register.checked_add(bytes)? <= self.registers.size()).then_some(register)
    }

    pub(super) fn config_u8(&self, offset: u32) -> Option<u8> {
        self.config(offset, 1).map(|register| self.registers.read_u8(register))
    }

    pub(super) fn config_u16(&self, offset: u32) -> Option<u16> {
        // In the byte order of the guest, which on x86 is little-endian [VIRTIO-1.2 4.1.4.10.1].
        self.config(offset, 2).map(|register| self.registers.read_u16(register))
    }

    pub(super) fn device_type(&self) -> DeviceType {
        self.device_type
    }

    pub(super) fn read_device_features(&mut self) -> u64 {
        u64::from(self.registers.read_u32(DEVICE_FEATURES))
    }

    pub(super) fn write_driver_features(&mut self, driver_features: u64) {
        // A legacy device has 32 feature bits, so no more were offered, nor accepted.
        self.registers.write_u32(DRIVER_FEATURES, driver_features as u32);
    }

    pub(super) fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.registers.write_u16(QUEUE_SELECT, queue);
        u32::from(self.registers.read_u16(QUEUE_SIZE))
    }

    pub(super) fn notify(&mut self, queue: u16) {
        self.registers.write_u16(QUEUE_NOTIFY, queue);
    }

    pub(super) fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(u32::from(self.registers.read_u8(DEVICE_STATUS)))
    }

    pub(super) fn set_status(&mut self, status: DeviceStatus) {
        // The status register has 8 bits.
        self.registers.write_u8(DEVICE_STATUS, status.bits() as u8);
    }

    pub(super) fn queue_set(
        &mut self,
        queue: u16,
        _size: u32,
        descriptors: PhysAddr,
        _driver: PhysAddr,
        _device: PhysAddr,
    ) {
        // The device derives the other two addresses from its own size and the alignment of 4096 [VIRTIO-1.2 2.7.2].
        let Ok(number) = u32::try_from(descriptors >> QUEUE_ADDRESS_SHIFT) else {
            self.fault = Some(TransportFault::QueueAddress(descriptors));
            return;
        };
        self.registers.write_u16(QUEUE_SELECT, queue);
        self.registers.write_u32(QUEUE_ADDRESS, number);
    }

    pub(super) fn queue_unset(&mut self, queue: u16) {
        self.registers.write_u16(QUEUE_SELECT, queue);
        self.registers.write_u32(QUEUE_ADDRESS, 0);
    }

    pub(super) fn queue_used(&mut self, queue: u16) -> bool {
        self.registers.write_u16(QUEUE_SELECT, queue);
        self.registers.read_u32(QUEUE_ADDRESS) != 0
    }

    pub(super) fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::from_bits_truncate(u32::from(self.registers.read_u8(ISR_STATUS)))
    }

    pub(super) fn read_config_generation(&self) -> u32 {
        // There is none: see `crate::read_stable`.
        0
    }
}
